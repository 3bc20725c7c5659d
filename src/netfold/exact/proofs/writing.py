"""Writing the proof of a count: on threads, in parts that are kept, to a file that is there whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from netfold.errors import InvalidInputError
from netfold.exact.lp.rational import interior
from netfold.exact.numerics.threads import aside, side_by_side
from netfold.exact.proofs.cells import CellSplit, ProofCell, below, whole
from netfold.exact.proofs.check_regions import CELLS, LAYERS, LINE_BYTES, STATEMENT_BYTES, Refused, StatedLayer
from netfold.exact.proofs.parts import Parts, opened
from netfold.exact.proofs.search import domain_line
from netfold.exact.proofs.statement import CountStatement
from netfold.files import write_atomically


def write_proof(
    statement: CountStatement,
    path: Path,
    threads: int = 1,
    tick: Callable[[int], object] = lambda regions: None,
) -> int:
    """Write a proof of the number of regions, which is found on the way; compressed where the name ends with ``.gz``.

    What is done is kept in a file beside it, ``path`` + ``.parts``, until the proof is whole: a run that was stopped
    goes on from there. Memory holds the cells of one layer in one cell, and the lines below one cell of the first.

    Args:
        statement: what is proved.
        path: the file.
        threads: how many share the cells of the first layer.
        tick: told how many regions each of these has.

    Returns:
        The number of regions.

    Raises:
        InvalidInputError: the statement is too large for the checker, a cell too thin, or the file cannot be there.
        CorruptFileError: a file that should hold parts of this proof holds something else.
        UnwritableFileError: the disk is full, or another process writes the same proof.
    """
    return aside(_write, statement, path, threads, tick)


def _write(statement: CountStatement, path: Path, threads: int, tick: Callable[[int], object]) -> int:
    if len(statement.data) >= STATEMENT_BYTES:
        raise InvalidInputError(f"the network has {len(statement.data):,} bytes as a statement, which no checker reads")
    try:
        m, layers, walls = statement.parsed
    except Refused as error:
        raise InvalidInputError(f"no proof is written of this network: {error} (at most {LAYERS} layers)") from error
    head, inside = domain_line(m, walls)
    point = interior(walls, m)
    if not inside or point is None:
        return _assemble(statement, path, [head], 0)
    try:
        split = CellSplit.of(whole(m, walls, point), layers)
    except Refused as error:
        raise InvalidInputError(f"no proof is written of this network: {error} (at most {CELLS:,})") from error
    first = [head, *([split.text] if split.text else [])]
    if len(layers) == 1:
        return _assemble(statement, path, first, len(split.codes))
    key = hashlib.sha256(statement.data + "".join(first).encode("ascii")).hexdigest().encode("ascii")
    beside = path.with_name(path.name + ".parts")
    with opened(beside, key) as parts:
        for part in parts.known.values():
            tick(part.regions)
        _fill(split, layers, parts, threads, tick)
        regions = sum(part.regions for part in parts.known.values())
        _assemble(statement, path, first, regions, parts)
    beside.unlink(missing_ok=True)
    return regions


def _fill(
    split: CellSplit, layers: list[StatedLayer], parts: Parts, threads: int, tick: Callable[[int], object]
) -> None:
    """Write the parts that are missing."""
    missing = [place for place in range(len(split.codes)) if place not in parts.known]
    cells, lock = zip(missing, split.parts(missing), strict=True), threading.Lock()

    def upcoming() -> tuple[int, ProofCell] | None:
        with lock:
            return next(cells, None)

    def work() -> None:
        while item := upcoming():
            place, cell = item
            lines: list[str] = []
            regions = below(cell, layers, lines)
            with lock:
                parts.add(place, regions, lines)
                tick(regions)

    if missing:
        side_by_side([work] * min(threads, len(missing)), min(threads, len(missing)))


def _assemble(statement: CountStatement, path: Path, first: list[str], regions: int, parts: Parts | None = None) -> int:
    """Write the whole proof."""
    digest = hashlib.sha256(statement.data).hexdigest()
    with write_atomically(path) as temporary, temporary.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                _lines_to(packed, f"netfold-proof 1 {digest} {regions}\n", first, parts)
        else:
            _lines_to(raw, f"netfold-proof 1 {digest} {regions}\n", first, parts)
    return regions


def _lines_to(file: IO[bytes] | gzip.GzipFile, head: str, first: list[str], parts: Parts | None) -> None:
    for line in [head, *first]:
        if len(line) >= LINE_BYTES:
            raise InvalidInputError("a line of the proof is longer than a checker reads: too many cells in one layer")
        file.write(line.encode("ascii"))
    for text in _texts(parts) if parts else ():
        file.write(text)


def _texts(parts: Parts) -> Iterator[bytes]:
    for place in sorted(parts.known):
        part = parts.known[place]
        yield b"= %d %d\n" % (part.regions, part.lines)
        yield parts.text(place)
