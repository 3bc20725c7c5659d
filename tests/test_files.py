"""Files are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from netfold.errors import InvalidInputError
from netfold.files import write_atomically


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """After the block the file holds the new content, and nothing else is left in the folder."""
    file = tmp_path / "a.txt"
    file.write_text("old")
    with write_atomically(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupted_write_leaves_no_trace(tmp_path: Path, reason: type[BaseException]) -> None:
    """After any error, Ctrl-C included, the old file stands and no part of the new one does."""
    file = tmp_path / "a.txt"
    file.write_text("old")

    def write() -> None:
        with write_atomically(file) as temporary:
            temporary.write_text("half of the n")
            raise reason

    with pytest.raises(reason):
        write()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions(tmp_path: Path) -> None:
    """A new file gets the permissions any new file gets; a replaced one keeps its own."""
    plain, replaced = tmp_path / "plain", tmp_path / "replaced"
    plain.touch()
    replaced.touch()
    replaced.chmod(0o640)
    for file in (tmp_path / "new", replaced):
        with write_atomically(file) as temporary:
            temporary.write_text("x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(replaced.stat().st_mode) == 0o640


def test_impossible_targets(tmp_path: Path) -> None:
    """A missing folder, and a folder in the place of the file, are named."""
    with (
        pytest.raises(InvalidInputError, match="does not exist"),
        write_atomically(tmp_path / "no" / "a.txt"),
    ):
        pass
    with pytest.raises(InvalidInputError, match="a folder has this name"), write_atomically(tmp_path):
        pass
