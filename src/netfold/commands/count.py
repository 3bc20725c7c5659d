"""Regions of all of R^m or a box on the command line: ``netfold count``."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from netfold.commands.options import AsJson, Example, Flag, Input, Model, Output, Save, Shape, Weights, answer
from netfold.errors import InvalidInputError

if TYPE_CHECKING:
    from netfold.domains import Box
    from netfold.measures.cell_counts import CountInterrupted
    from netfold.results.counts import CountResult

# Commands import what they need when they run, so that --help does not wait for torch.


def count(
    model: Model,
    /,
    *,
    box: Annotated[
        tuple[float, float] | None,
        Parameter(help="Count in the box LOW <= x <= HIGH, in every entry of the input; in all of R^m by default."),
    ] = None,
    domain: Annotated[
        Path | None,
        Parameter(help="Count in the box of a VNN-LIB file, as prop_3.vnnlib; inputs with equal limits stand still."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        Parameter(
            help="File that keeps the count, written every few seconds. Where it exists, the count goes on from there."
        ),
    ] = None,
    threads: Annotated[int | None, Parameter(help="Threads; all cores by default.")] = None,
    proof: Annotated[
        Path | None,
        Parameter(help="Also write a proof of the count, as count.nfp.gz, that `netfold check` accepts."),
    ] = None,
    statement: Annotated[
        Path | None,
        Parameter(help="What the proof is about; by default count.statement.json beside count.nfp.gz."),
    ] = None,
    inradius: Annotated[bool, Parameter(help="Also find the smallest inradius of all regions."), Flag] = False,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Count the activation regions of a network in all of R^m or in a box, exactly.

    The number does not depend on threads or interruptions. Ctrl-C leaves a file from which the count goes on, and
    says how.

    For example:

      netfold count model.pt2
      netfold count model.pt2 --box -1 1 --json
      netfold count model.pt2 --checkpoint count.json --threads 8
      netfold count model.pt2 --proof count.nfp.gz
      netfold count model.onnx --domain prop_3.vnnlib
      netfold count shop.nets:make --weights new.safetensors
    """
    from netfold.capture.loading import load_model
    from netfold.domains import Box
    from netfold.measures.cell_counts import CountInterrupted
    from netfold.measures.counts import count_regions

    if box is not None and domain is not None:
        raise InvalidInputError("a count is made in one domain: give either --box or --domain")
    where = Box(*box) if box is not None else None
    net = load_model(model, weights, input=input, output=output, example=example)
    if domain is not None:
        net, where = _within(net, domain, shape)
    try:
        found = count_regions(
            net,
            where,
            shape=shape,
            threads=threads,
            checkpoint=checkpoint,
            inradius=inradius,
            proof=proof,
            statement=statement,
        )
    except CountInterrupted as stopped:
        options = {"box": box, "threads": threads, "weights": weights, "shape": shape, "input": input, "output": output}
        options |= {"domain": domain, "proof": proof, "statement": statement, "save": save}
        raise KeyboardInterrupt(_how_to_go_on(stopped, model, options, inradius)) from stopped
    if save is not None:
        found.save(save)
    answer(as_json, found.to_dict, lambda: _words(found, inradius) + _written(proof, statement))


def _within(net: Any, file: Path, shape: list[int] | None) -> tuple[Any, Box]:
    """The model, captured, and the box of a file in the shape of its input."""
    from netfold.capture.vnnlib import read_box
    from netfold.domains import Box
    from netfold.measures.counts import program_on

    flat = read_box(file)
    program = program_on(net, flat, shape)
    if flat.low.size != math.prod(program.input_shape):
        raise InvalidInputError(
            f"{file}: a box of {flat.low.size} inputs, and the model takes points of shape {program.input_shape}"
        )
    return program, Box(flat.low.reshape(program.input_shape), flat.high.reshape(program.input_shape))


def check(
    statement: Annotated[Path, Parameter(help="The file that says what is proved.")],
    proof: Annotated[Path, Parameter(help="The proof.")],
    /,
) -> int:
    """Check a proof of a count, in integers only: exit code 0 if it is accepted, 1 if it is refused.

    The checker is one file of Python's standard library that needs nothing else of netfold; where it is
    installed is said with the answer, and it runs alone.

    For example:

      netfold check count.statement.json count.nfp.gz
    """
    from netfold.exact.proofs import check_regions
    from netfold.measures.proofs import check_proof

    accepted, words = check_proof(statement, proof)
    print(f"{words}\nchecked by {check_regions.__file__}")
    return 0 if accepted else 1


def _written(proof: Path | None, statement: Path | None) -> str:
    """Where proof and statement are, in words."""
    from netfold.measures.proofs import beside

    if proof is None:
        return f"\nstatement: {statement}" if statement else ""
    told = shlex.join(["netfold", "check", str(statement or beside(proof)), str(proof)])
    return f"\nproof: {proof} ({proof.stat().st_size:,} bytes); check it with: {told}"


def _how_to_go_on(stopped: CountInterrupted, model: str, options: dict[str, Any], inradius: bool) -> str:
    """Where the count is kept, and the command that goes on."""
    file = stopped.checkpoint
    if file is None:
        file = Path(f"netfold-count-{stopped.job.fingerprint['network'][:8]}.json")
        try:
            stopped.save(file)
        except (InvalidInputError, OSError) as error:
            return f"{stopped.regions:,} regions were counted so far, and could not be kept: {error}"
    words = ["netfold", "count", model, "--checkpoint", str(file), *(["--inradius"] if inradius else [])]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, tuple | list) else [value])]
    return f"{stopped.regions:,} regions counted so far are kept in {file}; go on with: {shlex.join(words)}"


def _words(count: CountResult, inradius: bool) -> str:
    lines = [
        f"{int(count):,} regions in {count.domain} ({count.status})",
        f"{count.decisions or 0:,} decisions, {count.resolved_exactly or 0:,} of them in rational arithmetic",
    ]
    if inradius:
        lines.append(f"smallest inradius {count.smallest_inradius:.3g}")
    return "\n".join([*lines, f"counted: {count.counting_rule}"])
