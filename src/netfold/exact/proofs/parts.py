"""What is written of a proof while it is made: the lines below each cell of the first layer, in the order they come."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from netfold.errors import CorruptFileError, InvalidInputError, UnwritableFileError
from netfold.files import alone_with

FORMAT = b"netfold-proof parts 1"


class ProofPart(NamedTuple):
    """The lines below one cell of the first layer: the regions there, how many lines, and where they stand."""

    regions: int
    lines: int
    at: int
    size: int
    check: int


class Parts:
    """The file beside a proof that holds its parts; a count that was stopped goes on from it. Made by `opened`.

    A part is a line of numbers and its compressed text. What a killed process left unfinished at the end is cut off.
    """

    def __init__(self, path: Path, file: IO[bytes], key: bytes) -> None:
        self.path, self._file, self.known = path, file, dict[int, ProofPart]()
        head = file.readline(4096)
        if head and not head.startswith(FORMAT):
            raise CorruptFileError(f"{path} holds no parts of a proof, so it is left as it is; name another proof")
        if head.endswith(b"\n") and head != FORMAT + b" " + key + b"\n":
            raise InvalidInputError(
                f"{path} holds parts of another proof, so it is left as it is; remove it, or name another proof"
            )
        end = self._read() if head.endswith(b"\n") else 0
        file.seek(end)
        file.truncate()
        if not end:
            file.write(FORMAT + b" " + key + b"\n")
            file.flush()

    def _read(self) -> int:
        """Remember the parts that are whole; gives where they end."""
        end = self._file.tell()
        while True:
            try:
                place, regions, lines, size, check = map(int, self._file.readline(200).split())
            except ValueError:
                return end
            at = self._file.tell()
            text = self._file.read(size + 1)
            if len(text) != size + 1 or zlib.crc32(text[:-1]) != check or text[-1:] != b"\n":
                return end
            self.known[place] = ProofPart(regions, lines, at, size, check)
            end = self._file.tell()

    def add(self, place: int, regions: int, lines: list[str]) -> None:
        """Keep the lines below the cell at a place."""
        text = zlib.compress("".join(lines).encode("ascii"), 1)
        part = ProofPart(regions, len(lines), 0, len(text), zlib.crc32(text))
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"%d %d %d %d %d\n" % (place, regions, len(lines), len(text), part.check))
        self.known[place] = part._replace(at=self._file.tell())
        self._file.write(text + b"\n")
        self._file.flush()

    def text(self, place: int) -> bytes:
        """The lines below the cell at a place.

        Raises:
            CorruptFileError: the file has changed.
        """
        part = self.known[place]
        self._file.seek(part.at)
        text = self._file.read(part.size)
        if zlib.crc32(text) != part.check:
            raise CorruptFileError(f"{self.path} has changed while the proof was written; write it anew")
        return zlib.decompress(text)


@contextmanager
def opened(path: Path, key: bytes) -> Iterator[Parts]:
    """The file of parts, whose key says what they belong to; nobody else writes to it meanwhile.

    Raises:
        CorruptFileError: a file of this name is something else.
        InvalidInputError: it belongs to another proof.
        UnwritableFileError: another process writes to it, or it cannot be written.
    """
    try:
        with path.open("r+b" if path.exists() else "x+b") as file, alone_with(path):
            yield Parts(path, file, key)
    except (CorruptFileError, UnwritableFileError, InvalidInputError):
        raise
    except OSError as error:
        raise UnwritableFileError(f"{path} could not be written ({error.strerror})") from error
