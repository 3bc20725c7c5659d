"""The file of a count: what goes in comes out, and what is not ours is refused and left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from netfold import files
from netfold.errors import CorruptFileError, InvalidInputError
from netfold.exact.cells.counting import checkpoint
from netfold.exact.cells.counting.checkpoint import Checkpoint, digest
from netfold.exact.cells.counting.queue import Sums, Work
from netfold.exact.cells.engine import whole

OURS = {"domain": "d", "network": "n", "rule": "r"}
SUMS = Sums(10**20, 7, 2, 1, 0.1, 1.5)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A checkpoint of a count under way."""
    path = tmp_path / "count.json"
    work = Work([np.array([0, 1, 2], np.int16), np.array([-1, 300], np.int16)], SUMS)
    work.take(1)
    Checkpoint(path, OURS).save(work)
    return path


def test_round_trip(written: Path) -> None:
    """Sums and items come back bit for bit; what was under way waits again."""
    work = Checkpoint(written, OURS).load()
    assert work is not None
    assert work.sums == SUMS
    assert sorted(item.tolist() for item in work.waiting) == [[-1, 300], [0, 1, 2]]
    assert all(item.dtype == np.int16 for item in work.waiting)
    assert not work.under_way


def test_infinite_inradius(tmp_path: Path) -> None:
    """The file is plain JSON also where no region is bounded."""
    path = tmp_path / "count.json"
    Checkpoint(path, OURS).save(Work())
    json.loads(path.read_text(), parse_constant=pytest.fail)
    work = Checkpoint(path, OURS).load()
    assert work is not None
    assert work.sums.smallest_inradius == np.inf
    assert [len(item) for item in work.waiting] == [0]


def test_no_file_yet(tmp_path: Path) -> None:
    """A count starts from the beginning where there is no file."""
    assert Checkpoint(tmp_path / "none", OURS).load() is None


@pytest.mark.parametrize("what", ["domain", "network", "rule"])
def test_another_count(written: Path, what: str) -> None:
    """A file of another network, domain or rule is refused by name and left as it is."""
    before = written.read_bytes()
    other = Checkpoint(written, OURS | {what: "other"})
    with pytest.raises(InvalidInputError, match=what) as error:
        other.load()
    assert str(written) in str(error.value)
    assert written.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"\x80\x04K\x01.", b"PK\x03\x04", b'{"format": "x"}', b"1"])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    """What is no checkpoint is refused and left as it is."""
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="left as it is"):
        Checkpoint(path, OURS).load()
    assert path.read_bytes() == content


def test_damage(written: Path) -> None:
    """A file cut short anywhere, or with a digit changed, is refused and left as it is."""
    whole_text = written.read_bytes()
    damaged = [whole_text[:n] for n in range(0, len(whole_text) - 1, 37)]
    damaged += [whole_text.replace(b"100000000000000000000", b"100000000000000000001")]
    damaged += [whole_text.replace(b'"decisions": 7', b'"decisions": 8')]
    for content in damaged:
        written.write_bytes(content)
        with pytest.raises(CorruptFileError):
            Checkpoint(written, OURS).load()
        assert written.read_bytes() == content


def test_folders(tmp_path: Path) -> None:
    """A folder is no file; a folder that is missing is named."""
    with pytest.raises(InvalidInputError, match="folder"):
        Checkpoint(tmp_path, OURS).load()
    with pytest.raises(InvalidInputError, match="does not exist"):
        Checkpoint(tmp_path / "none" / "count", OURS).save(Work())


def test_a_file_that_appears_or_changes_is_not_overwritten(written: Path) -> None:
    """Two counts with one file: the second to write finds out, and what is there stays."""
    first, second = Checkpoint(written, OURS), Checkpoint(written, OURS)
    assert first.load() is not None
    assert second.load() is not None
    first.save(Work([], SUMS))
    kept = written.read_bytes()
    with pytest.raises(InvalidInputError, match="another count"):
        second.save(Work([whole()]))
    assert written.read_bytes() == kept
    with pytest.raises(InvalidInputError, match="another count"):
        Checkpoint(written, OURS).save(Work([whole()]))
    assert written.read_bytes() == kept


def test_torn_files_are_cleared_away(written: Path) -> None:
    """What a kill in the middle of writing leaves is removed by the next count, and nothing else is."""
    ended = 2**22 + 1  # a number that no process of this system has
    torn = written.with_name(f".count.json.{files._machine()}-{ended}.abc.part")
    other = written.with_name(".other.json.abc.part")
    torn.write_text("{")
    other.write_text("{")
    assert Checkpoint(written, OURS).load() is not None
    assert sorted(os.listdir(written.parent)) == [".other.json.abc.part", "count.json"]


def test_written_at_most_every_few_seconds(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two writings passes some time."""
    file, now = Checkpoint(written, OURS), [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    work = file.load()
    assert work is not None
    writings = 0
    for _ in range(10):
        before = file.written
        file.save_if_due(work)
        writings += file.written != before
        now[0] += 1.0
    assert writings == 4


def test_digests_tell_types_and_shapes_apart() -> None:
    """Equal bytes of another type or shape are something else; equal arrays are not."""
    a = np.arange(6.0)
    assert digest(a) == digest(a.copy())
    others = [a.reshape(2, 3), a.view(np.int64), a + 1, a.tolist()]
    assert len({digest(a), *(digest(x) for x in others)}) == 5
    assert digest("ab", "c") != digest("a", "bc")
