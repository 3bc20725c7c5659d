"""Counts that carry their proof: the statement, the proof, and that both say what was counted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from joblib import cpu_count

from netfold.arguments import FileName, checked
from netfold.capture import Model, Program, capture
from netfold.errors import InvalidInputError
from netfold.exact.matrices.coefficients import fractions
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.matrices.skip import SkipForm
from netfold.exact.proofs.statement import CountStatement
from netfold.files import temporary_beside, write_atomically
from netfold.paths import Line, Plane
from netfold.progress import progress_bar

FOLDED = (
    "; the proof is about the folded network: batch normalisation divides by square roots, and its coefficients are "
    "rounded to float64 there"
)
"""What a count says whose statement is not about the very numbers of the model."""


def beside(proof: Path) -> Path:
    """Where the statement of a proof is written by default: ``count.nfp.gz`` is about ``count.statement.json``."""
    name = proof.name
    for ending in (".gz", ".nfp"):
        name = name.removesuffix(ending) or name
    return proof.with_name(f"{name}.statement.json")


def statement_on_line(model: Model, line: Line) -> CountStatement:
    """The statement about a network on a segment, whose parameter is the input: ``0 < t < 1``."""
    program = capture(model, shape=line.shape)
    start, end = (fractions(np.asarray(v, np.float64).reshape(-1)) for v in (line.x0, line.x1))
    form = SkipForm.of(ExplicitProgram.of(program))
    walls = [[Fraction(1), Fraction(0)], [Fraction(-1), Fraction(1)]]
    return CountStatement.on(form, start, [list(end - start)], walls)


def statement_on_plane(program: Program, plane: Plane, bounds: tuple[float, float, float, float]) -> CountStatement:
    """The statement about a network on a rectangle of a plane, whose coordinates are the inputs."""
    origin, u, v = (fractions(np.asarray(x, np.float64).reshape(-1)) for x in (plane.origin, plane.u, plane.v))
    left, right, bottom, top = map(Fraction, bounds)
    one, no = Fraction(1), Fraction(0)
    walls = [[one, no, -left], [-one, no, right], [no, one, -bottom], [no, -one, top]]
    return CountStatement.on(SkipForm.of(ExplicitProgram.of(program)), origin, [list(u), list(v)], walls)


def require_places(proof: FileName | None, statement: FileName | None) -> tuple[Path | None, Path | None]:
    """Where proof and statement go.

    Raises:
        InvalidInputError: a file cannot be written there, or both are one file.
    """
    proof_file = None if proof is None else Path(proof)
    statement_file = Path(statement) if statement is not None else beside(proof_file) if proof_file else None
    if proof_file is not None and statement_file is not None and proof_file.absolute() == statement_file.absolute():
        raise InvalidInputError(f"the proof and its statement need two files, both are to be {proof_file}")
    for file in (proof_file, statement_file):
        if file is not None:
            temporary_beside(file).unlink()  # what cannot be written is said before hours of counting
    return proof_file, statement_file


def write_with_proof(
    statement: CountStatement,
    regions: int,
    proof: Path | None,
    statement_file: Path | None,
    threads: int | None,
    progress: bool | None,
) -> None:
    """Write the statement and a proof that it has just so many regions.

    Raises:
        InvalidInputError: the proof finds another number: the statement holds rounded coefficients, or the count was
            made with a tolerance.
    """
    if statement_file is not None:
        with write_atomically(statement_file) as temporary:
            temporary.write_bytes(statement.data)
    if proof is None:
        return
    from netfold.exact.proofs.writing import write_proof

    with progress_bar(regions, "proving", " regions", progress, unit_scale=True, delay=1.0) as bar:
        hands = cpu_count() if threads is None else threads
        found = write_proof(statement, proof, hands, bar.update)
    if found != regions:
        why = (
            "batch normalisation divides by square roots, and the statement holds rounded coefficients; fold it into "
            "the layer before it and count that network"
            if statement.folded
            else "the count rests on a tolerance"
        )
        raise InvalidInputError(f"{proof} proves {found:,} regions, {regions:,} were counted: {why}")


@checked
def check_proof(statement: FileName, proof: FileName) -> tuple[bool, str]:
    """Check a proof of a count with the checker that netfold ships, in integers only.

    Args:
        statement: the file that says what is proved, and ``proof``: the proof.

    Returns:
        Whether the proof is accepted, and why, in words.

    Raises:
        InvalidInputError: a file cannot be read.

    Example:
        >>> import tempfile, netfold as nf
        >>> net = nf.random_network(inputs=2, width=3, depth=2, outputs=1, activation="relu", sigma_b=1.0, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     count = nf.count_regions(net, proof=f"{folder}/count.nfp.gz")
        ...     accepted, words = nf.check_proof(f"{folder}/count.statement.json", f"{folder}/count.nfp.gz")
        >>> accepted, words == f"accepted: exactly {int(count)} activation regions"
        (True, True)
    """
    from netfold.exact.proofs.check_regions import verdict

    status, words = verdict(Path(statement), Path(proof))
    if status == 2:
        raise InvalidInputError(words)
    return status == 0, words
