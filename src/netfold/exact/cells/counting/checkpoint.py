"""A count in a file: what is summed up, and the items that are not; written whole, at most every few seconds."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.errors import CorruptFileError, InvalidInputError
from netfold.exact.cells.counting.queue import Sums, Work
from netfold.exact.cells.engine import Prefix
from netfold.files import remove_leftovers, require_file, write_atomically

FORMAT = "netfold count 1"

EVERY = 3.0
"""Least seconds between two writings."""

Fingerprint = dict[str, str]
"""What a count belongs to: digests of the domain and the network, and the counting rule."""


@dataclass
class Checkpoint:
    """The file of one count.

    Attributes:
        path: the file.
        fingerprint: what is counted; a file with another one is refused and left as it is.
        pieces: how many states every unit has, in decision order; items of other states are refused.
    """

    path: Path
    fingerprint: Fingerprint
    pieces: NDArray[np.int64] | None = field(default=None, repr=False)
    written: float = field(default=-np.inf, repr=False)
    seen: tuple[int, int] | None = field(default=None, repr=False)

    def load(self) -> Work | None:
        """What the file holds; ``None`` where there is none yet.

        Raises:
            CorruptFileError: it is damaged or something else.
            InvalidInputError: it belongs to another count, or is a folder, a device or a pipe.
        """
        if self.path.is_dir():
            raise InvalidInputError(f"the checkpoint {self.path} is a folder; name a file")
        try:
            require_file(self.path, "checkpoint")
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        work = self._read(text)
        self.seen = self._state()
        remove_leftovers(self.path)
        return work

    def save(self, work: Work) -> None:
        """Write where the count stands; the old file stays until the new one is whole.

        Raises:
            InvalidInputError: the folder does not exist, or another process has written the file meanwhile.
        """
        self._require_unchanged()
        sums, items = work.snapshot()
        body = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "sums": {**asdict(sums), "smallest_inradius": float(sums.smallest_inradius).hex()},
            "pending": [_packed(item) for item in items],
        }
        with write_atomically(self.path) as temporary:
            temporary.write_text(json.dumps({**body, "checksum": _checksum(body)}, indent=1), encoding="utf-8")
            self._require_unchanged()
        self.seen, self.written = self._state(), time.monotonic()

    def _require_unchanged(self) -> None:
        if self._state() != self.seen:
            raise InvalidInputError(
                f"the checkpoint {self.path} has changed while this count was running, so it is left as it is: does "
                "another count write to it? Give each its own file"
            )

    def save_if_due(self, work: Work) -> None:
        """Write, unless that was done a moment ago."""
        if time.monotonic() - self.written >= EVERY:
            self.save(work)

    def _state(self) -> tuple[int, int] | None:
        """Which file stands there now."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _read(self, text: bytes) -> Work:
        try:
            told: Any = json.loads(text)
            ours = isinstance(told, dict) and str(told.get("format", "")).startswith("netfold count")
        except (ValueError, RecursionError) as error:
            ours, told = FORMAT.encode() in text[:100], ValueError(error)
        if not ours:
            what = "is no checkpoint of a count" if text else "is empty"
            raise CorruptFileError(f"{self.path} {what}, so it is left as it is; name another file for the checkpoint")
        if isinstance(told, dict) and told["format"] != FORMAT:
            raise InvalidInputError(
                f"the checkpoint {self.path} has the format {told['format']!r}, expected {FORMAT!r}"
            )
        try:
            if isinstance(told, ValueError):
                raise told
            if told.pop("checksum") != _checksum(told):
                raise ValueError("its checksum does not fit")
            found = told["fingerprint"]
            sums = _sums(told["sums"])
            items = [_unpacked(packed) for packed in told["pending"]]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise CorruptFileError(
                f"the checkpoint {self.path} is damaged ({type(error).__name__}: {error}), so it is left as it is; "
                "name another file to count from the start"
            ) from error
        self._require_ours(found)
        if not all(map(self._possible, items)):
            raise CorruptFileError(
                f"the checkpoint {self.path} names states that units of this network do not have, so it is left as it "
                "is; name another file to count from the start"
            )
        return Work(items, sums)

    def _possible(self, item: Prefix) -> bool:
        """Whether the states exist: compiled code looks up knots and candidates by them, and trusts them."""
        if self.pieces is None:
            return True
        return len(item) <= len(self.pieces) and bool(((item >= 0) & (item < self.pieces[: len(item)])).all())

    def _require_ours(self, fingerprint: Fingerprint) -> None:
        for what in ("domain", "network", "rule"):
            if fingerprint.get(what) != self.fingerprint[what]:
                whose = "follows another counting rule" if what == "rule" else f"belongs to another {what}"
                raise InvalidInputError(
                    f"the checkpoint {self.path} {whose}, so it is left as it is; name another file for this count"
                )


def digest(*parts: Any) -> str:
    """A digest of arrays and texts, with their types and shapes."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            array = np.ascontiguousarray(part)
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(array.tobytes())
        else:
            found.update(f"{type(part).__name__} {part}".encode())
        found.update(b"\0")
    return found.hexdigest()


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sums(told: dict[str, Any]) -> Sums:
    counts = ("regions", "decisions", "resolved", "uncertain")
    if any(type(told[name]) is not int or told[name] < 0 for name in counts):
        raise ValueError("a count is no whole number")
    return Sums(
        **{name: told[name] for name in counts},
        smallest_inradius=float.fromhex(told["smallest_inradius"]),
        seconds=float(told["seconds"]),
    )


def _packed(prefix: Prefix) -> str:
    return base64.b64encode(prefix.astype("<i2").tobytes()).decode("ascii")


def _unpacked(packed: str) -> Prefix:
    return np.frombuffer(base64.b64decode(packed, validate=True), "<i2").astype(np.int16)
