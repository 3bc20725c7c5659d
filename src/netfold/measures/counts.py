"""`count_regions`: how many activation regions a domain holds, without keeping them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from netfold.arguments import FileName, Positive, Threads, checked
from netfold.capture import Model, Program, capture
from netfold.capture.splitting import exact_part, split_of
from netfold.domains import Box, Domain, Polytope
from netfold.errors import InvalidInputError
from netfold.exact.cells.counting.queue import Work
from netfold.exact.plane.tracer import TIE, PlaneTracer, corners_of, margins
from netfold.exact.proofs.statement import CountStatement
from netfold.measures.cell_counts import CellJob, count_cells
from netfold.measures.growing import growing
from netfold.measures.plane_proof import doubts_of, prove
from netfold.measures.proofs import (
    FOLDED,
    require_places,
    statement_on_line,
    statement_on_plane,
    write_with_proof,
)
from netfold.measures.tracing import trace_paths
from netfold.paths import Line, Path, Plane, rectangle
from netfold.results.counts import CountResult
from netfold.results.provenance import provenance

PLANE_RULE = (
    "activation regions: maximal connected sets of the rectangle, of positive area, on which every unit of every "
    f"hidden layer keeps its state; a vertex closer to a knot than {TIE:.1e} of the layer's scale counts as on it"
)


def part_rule(network: Program) -> str:
    """What is added to the rule where only a part of a network is exact."""
    split = None if network.piecewise_linear else split_of(network)
    return "" if split is None else f"; of the network {split.where}"


@checked
def count_regions(
    model: Model,
    domain: Domain | Plane | Path = None,
    bounds: tuple[float, float, float, float] | None = None,
    *,
    shape: Sequence[int] | None = None,
    threads: Threads | None = None,
    checkpoint: FileName | None = None,
    progress: bool | None = None,
    client: Any = None,
    inradius: bool = False,
    seconds: Positive | None = None,
    proof: FileName | None = None,
    statement: FileName | None = None,
) -> CountResult:
    """Count the activation regions that a domain holds, storing none of them.

    In all of R^m, a `Box` or a `Polytope` cells are split unit by unit, depth first; every decision is certified, and
    those that float64 cannot certify are taken in rational arithmetic. So the count is exact for the stored weights,
    also with parallel, coincident or opposite hyperplanes, dead units or no biases. Memory does not grow with the
    number of regions, and the result depends neither on threads nor on interruptions.

    On a plane, polygons are cut layer by layer as `partition_plane` does; the last layer is only counted: a convex
    polygon cut by L lines with I crossings inside makes 1 + L + I pieces. On a path, regions are breakpoints + 1.

    Args:
        model: a piecewise-linear module in evaluation mode, or a captured program.
        domain: ``None`` for all of R^m, a `Box`, a `Polytope`, a `Plane`, or a path (`Line`, `Polyline`, `Arc`,
            `Circle`).
        bounds: the rectangle of a plane (a from, a to, b from, b to); the plane's own by default.
        shape: the shape of one input; needed where neither the domain nor the first layer tells it.
        threads: how many; all cores by default.
        checkpoint: a file that keeps the count, written every few seconds and after Ctrl-C. Where it exists already,
            the count goes on from there; when all is counted it holds the result.
        progress: show a bar on stderr; by default in a terminal, and only after a second.
        client: a ``dask.distributed.Client``: the cluster counts, in place of threads. Workers may die meanwhile.
        inradius: find the smallest inradius in the same walk, which takes a few times as long.
        seconds: how long it may take, about. What was counted when the time is over, or Ctrl-C is pressed, is then a
            lower bound, which ``status`` says; of a plane it is that of a rectangle around its middle, of a path that
            of its start. A ``checkpoint`` goes on from there.
        proof: a file for a proof of the count, which `check_proof` or the checker's one file accepts without netfold;
            compressed where its name ends with ``.gz``. For R^m, a `Box`, a `Polytope`, a `Plane` or a `Line`. What
            is written is kept in a file beside it, ``.parts``, until it is whole; a run that was stopped goes on.
        statement: a file for what is counted, network and domain, as a proof needs it; by default
            ``count.statement.json`` beside the proof ``count.nfp.gz``.

    Returns:
        The count.

    Raises:
        InvalidInputError: the domain is of another kind or does not fit the model; the checkpoint belongs to another
            count; an argument is unusable.
        CorruptFileError: the checkpoint is damaged or something else; it is left as it is.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.
        CountInterrupted: Ctrl-C was pressed; it can save what was counted.
        UnwritableFileError: the proof could not be written.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
        >>> _ = net[0].weight.data.copy_(torch.eye(2))
        >>> int(nf.count_regions(net)), int(nf.count_regions(net, nf.Box(1.0, 2.0)))
        (4, 1)
        >>> int(nf.count_regions(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1)))
        4
    """
    files = require_places(proof, statement)
    if any(files) and seconds is not None:
        raise InvalidInputError("a proof is of the whole count, and seconds may leave some of it out: give one of them")
    if domain is None or isinstance(domain, Box | Polytope):
        if bounds is not None:
            raise InvalidInputError("bounds belong to a Plane; for a box give nf.Box(low, high) as the domain")
        network = program_on(model, domain, shape)
        job = CellJob(exact_part(network), domain, inradius)
        found = _on_cells(job, count_cells(job, threads, checkpoint, progress, client, seconds))
        return _told(network, _with_proof(found, files, lambda: CountStatement.of(job.network), threads, progress))
    options = {"shape": shape, "threads": threads, "checkpoint": checkpoint, "client": client}
    given = [name for name, value in {**options, "inradius": inradius or None}.items() if value is not None]
    if given and (isinstance(domain, Plane) or isinstance(domain, Path)):  # noqa: SIM101  a protocol takes no union
        raise InvalidInputError(
            f"{', '.join(given)}: only for all of R^m, a Box or a Polytope, not for a {type(domain).__name__}"
        )
    if isinstance(domain, Plane):
        network = capture(model, shape=domain.shape)
        program, whole = exact_part(network), rectangle(bounds or domain.bounds)
        found, part, why = growing(whole, seconds, lambda part: _on_plane(program, domain, part))
        if part != whole:
            found = replace(found, part=f"that is {found.domain}: {why}")
        state = partial(statement_on_plane, program, domain, whole)
        return _told(network, _with_proof(found, files, state, None, progress))
    if bounds is not None:
        raise InvalidInputError("bounds belong to a Plane; a path brings its own ends")
    if isinstance(domain, Path):
        network = capture(model, shape=domain.shape)
        program = exact_part(network)
        found = _told(network, _on_path(program, domain, seconds))
        if isinstance(domain, Line):
            return _with_proof(found, files, partial(statement_on_line, program, domain), None, progress)
        if any(files):
            raise InvalidInputError(
                "a proof is written for all of R^m (None), a Box, a Polytope, a Plane or a Line, not for a "
                f"{type(domain).__name__}"
            )
        return found
    raise InvalidInputError(
        "regions are counted in all of R^m (None), a Box, a Polytope, on a Plane or on a path, got "
        f"{type(domain).__name__}"
    )


def _told(network: Program, count: CountResult) -> CountResult:
    """The count, which says of which part of a network it is."""
    rule = part_rule(network)
    return replace(count, counting_rule=count.counting_rule + rule) if rule else count


def _with_proof(
    found: CountResult,
    files: tuple[FilePath | None, FilePath | None],
    state: Callable[[], CountStatement],
    threads: int | None,
    progress: bool | None,
) -> CountResult:
    """The count, with statement and proof in their files where these were asked for."""
    if files == (None, None):
        return found
    told = state()
    write_with_proof(told, found.regions, *files, threads, progress)
    return replace(found, counting_rule=found.counting_rule + FOLDED) if told.folded else found


def program_on(model: Model, domain: Domain, shape: Sequence[int] | None = None) -> Program:
    """Capture a model for a domain of its input space, which may tell the shape of the input."""
    from netfold.capture.capture import captured

    told = None
    if isinstance(domain, Box):
        told = next((limit.shape for limit in (domain.low, domain.high) if limit.ndim), None)
    elif isinstance(domain, Polytope):
        told = domain.normals.shape[1:]
    try:
        return captured(model, shape=shape)
    except InvalidInputError:
        if shape is not None or told is None:
            raise
    return captured(model, shape=told)


def _on_cells(job: CellJob, work: Work) -> CountResult:
    sums = work.snapshot()[0]
    return CountResult(
        part="" if work.finished else "that is what was counted in the time that there was",
        regions=sums.regions,
        by_layer=(),
        method=f"cells split unit by unit, {job.engine.name}",
        domain=job.where,
        uncertain=sums.uncertain + job.network.extreme,
        margin=None,
        counting_rule=job.rule,
        decisions=sums.decisions,
        resolved_exactly=sums.resolved,
        provenance=provenance(job.program, core_seconds=sums.seconds),
        _inradius=sums.smallest_inradius if job.inradius else None,
        _rational=job.network.rational,
        _walk=partial(_thinnest, job),
    )


def _thinnest(job: CellJob) -> float | None:
    """The smallest inradius of a count that was made without."""
    return count_cells(replace(job, inradius=True)).sums.smallest_inradius


def _on_plane(program: Program, plane: Plane, bounds: tuple[float, float, float, float]) -> CountResult:
    tracer = PlaneTracer(program, *corners_of(program, plane, bounds))
    tracer.run()
    proof = prove(tracer, plane, bounds, certify=False)
    by_layer = tuple(int(n) for n in tracer.regions) if proof is None else proof.by_layer
    return CountResult(
        regions=by_layer[-1] if by_layer else 1,
        by_layer=by_layer,
        method="polygons cut layer by layer in float64; last layer as 1 + lines + interior crossings",
        domain=f"plane, (a, b) in [{bounds[0]:g}, {bounds[1]:g}] x [{bounds[2]:g}, {bounds[3]:g}]",
        uncertain=doubts_of(tracer) if proof is None else proof.uncertain,
        margin=margins(tracer),
        counting_rule=PLANE_RULE,
        resolved_exactly=None if proof is None else proof.doubts,
        provenance=provenance(program),
    )


def _on_path(program: Program, path: Path, seconds: float | None) -> CountResult:
    trace = trace_paths(program, [path], "exact", seconds=seconds, progress=False)[0]
    return CountResult(
        regions=trace.regions,
        by_layer=tuple(int(n) for n in trace.regions_by_layer),
        method="breakpoints in closed form + 1",
        domain=type(path).__name__.lower(),
        uncertain=trace.uncertain or 0,
        margin=trace.margin,
        counting_rule=trace.counting_rule,
        provenance=trace.provenance,
        part="" if trace.covered == 1.0 else f"that is t up to {trace.covered:.6g}",
    )
