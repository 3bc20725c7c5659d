"""Zip archives that a user gives: every byte is accounted for before any member is read.

Readers of zip archives disagree about damaged and hostile ones: which of two members of one name counts, which of two
directories, what a size in a header means. An archive is opened here only if there is one way to read it: its members
lie end to end from its first byte to its only directory, and every header agrees with the directory.
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import require_room
from netfold.errors import CorruptFileError, NetfoldError, UntrustedFileError

PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".dill"}
"""Suffixes that usually mean a pickle."""

SAFE_WAYS = (
    "save the model with torch.export.save(torch.export.export(model.eval(), (x,), "
    "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), 'model.pt2'), or its "
    "weights with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors') to give them with "
    "'module:factory'; save data with numpy.savez('data.npz', x=x, y=y)"
)

UNPACKED = 2**30
"""Bytes that the compressed members of an archive may take at most, if that is more than twenty times its size."""

PIECE = 2**20

UTF8, DESCRIPTOR, LEVEL = 0x800, 0x8, 0x6
"""Flags of a member that say how its name is written, that sizes follow the content, and how hard it was packed."""

LOCAL = struct.Struct("<4s3H2H4x2L2H")
"""A member's header: signature, version, flags, method, time, packed size, size, lengths of name and extra field."""

END = struct.Struct("<4s16xH")
"""The end of the directory; the last number is the length of a comment."""

DESCRIPTORS = (12, 16, 20, 24)
"""Lengths of the sizes that follow a content."""

ELSEWHERE = 0xFFFFFFFF
"""A size that stands in the extra field."""


def refuse_pickle(path: Path) -> None:
    """Refuse a file that is a pickle by its suffix, or by its content under whatever suffix.

    Raises:
        UntrustedFileError: it is one.
        CorruptFileError: it is a damaged zip archive.
    """
    if path.suffix.lower() in PICKLES or _holds_pickle(path):
        raise UntrustedFileError(
            f"{path} is a pickle: opening it could run any code, so netfold does not open it; {SAFE_WAYS}"
        )


def _holds_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and 2 <= ord(head[1:2] or b"\0") <= pickle.HIGHEST_PROTOCOL:
        return True
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/")[-1] == "data.pkl" for name in archive.namelist())
    except DAMAGE as error:
        raise CorruptFileError(f"{path} is damaged: {error}") from error


DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError, OverflowError)
"""What Python raises for a damaged archive."""


class Archive:
    """A zip archive that can be read in one way only. Use as a context manager.

    Args:
        path: the file.
        packed: whether members may be compressed.

    Attributes:
        sizes: the size of every member in bytes, by name.

    Raises:
        CorruptFileError: it is no zip archive, damaged, or can be read in several ways.
        InvalidInputError: its content is larger than this machine's memory.
    """

    def __init__(self, path: Path, packed: bool = False) -> None:
        self.path = path
        self._what = f"{path} is not a {path.suffix} file, or is damaged"
        with ExitStack() as opened:
            try:
                self._zip = opened.enter_context(zipfile.ZipFile(path))
                self.sizes = self._checked(packed)
            except NetfoldError:
                raise
            except DAMAGE as error:
                raise CorruptFileError(f"{self._what}: {error}") from error
            self._opened = opened.pop_all()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def read(self, name: str) -> NDArray[np.uint8]:
        """The content of a member.

        Raises:
            CorruptFileError: it is damaged.
        """
        content = np.empty(self.sizes[name], np.uint8)
        try:
            with self._zip.open(name) as member:
                at = 0
                while piece := member.read(PIECE):  # the last, empty piece is where the checksum is compared
                    content[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                    at += len(piece)
            if at != len(content):
                raise ValueError(f"{at} bytes of {len(content)}")
        except DAMAGE as error:
            raise CorruptFileError(f"{self._what}: its member '{name}' ({error})") from error
        return content

    def _checked(self, packed: bool) -> dict[str, int]:
        found = sorted(self._zip.infolist(), key=lambda member: member.header_offset)
        sizes: dict[str, int] = {}
        for member in found:
            if member.filename in sizes:
                raise CorruptFileError(f"{self._what}: it holds two members named '{member.filename}'")
            if member.filename != member.orig_filename or "\\" in member.filename:
                raise CorruptFileError(f"{self._what}: a member is named {member.orig_filename!r}")
            self._require_plain(member, packed)
            sizes[member.filename] = member.file_size
        self._require_unpackable(found)
        self._require_end_to_end(found)
        return sizes

    def _require_plain(self, member: zipfile.ZipInfo, packed: bool) -> None:
        stored = member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size
        deflated = packed and member.compress_type == zipfile.ZIP_DEFLATED
        if not (stored or deflated) or member.flag_bits & ~(UTF8 | DESCRIPTOR | (LEVEL if deflated else 0)):
            expected = "stored as it is" + (" or deflated" if packed else "")
            raise CorruptFileError(f"{self._what}: its member '{member.filename}' must be {expected}, not encrypted")

    def _require_unpackable(self, members: list[zipfile.ZipInfo]) -> None:
        size = self.path.stat().st_size
        deflated = sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)
        if deflated > max(UNPACKED, 20 * size):
            raise CorruptFileError(
                f"{self._what}: {size:,} bytes that unpack to {deflated:,}; save it uncompressed (numpy.savez) if this "
                "is what it should hold"
            )
        require_room(self.path, sum(member.file_size for member in members))

    def _require_end_to_end(self, members: list[zipfile.ZipInfo]) -> None:
        """Every byte before the directory belongs to one member, and the directory's end is the file's."""
        starts = [*(member.header_offset for member in members), self._zip.start_dir]
        with self.path.open("rb") as file:
            file.seek(-END.size, os.SEEK_END)
            *_, comment = END.unpack(file.read(END.size))
            joined = starts[0] == 0 and comment == 0
            for member, after in zip(members, starts[1:], strict=True):
                file.seek(member.header_offset)
                length = _length(member, file.read(LOCAL.size))
                joined = joined and after - member.header_offset - length in (
                    DESCRIPTORS if member.flag_bits & DESCRIPTOR else (0,)
                )
        if not joined:
            raise CorruptFileError(
                f"{self._what}: its members do not lie end to end between its first byte and its only directory, so "
                "it could be read in several ways"
            )


def _length(member: zipfile.ZipInfo, header: bytes) -> int:
    """Bytes from a member's own header to the end of its content; -1 if the header says what the directory does not."""
    if len(header) < LOCAL.size:
        return -1
    signature, _, flags, method, _, _, packed, size, name, extra = LOCAL.unpack(header)
    told = {packed, size} <= {member.compress_size, member.file_size, ELSEWHERE}
    if signature != b"PK\3\4" or (flags, method) != (member.flag_bits, member.compress_type):
        return -1
    return LOCAL.size + name + extra + member.compress_size if told or flags & DESCRIPTOR else -1
