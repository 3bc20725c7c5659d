"""Traces of networks that are piecewise linear up to their last operations: exact up to there, sampled from there on.

A softmax, a sigmoid or a normalisation of the output stands behind all knots. Breakpoints, transitions and lengths of
what is before are exact, and the outputs of that part at its vertices are all there is to know of its image: a
polygonal curve, along which the rest is sampled, which is cheap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netfold.arrays import Floats
from netfold.capture import Program
from netfold.capture.splitting import ExactSplit
from netfold.results.status import Certainty, Standing
from netfold.results.trace import Trace
from netfold.sampled.motion import VertexPath
from netfold.sampled.trace import trace_sampled

NEAR = 1e-10
"""Vertices closer than this are one to the sampled part."""

RULE = (
    "; exact {where}, with the states of its units where it acts on each number alone; lengths from there on, and the "
    "output, by adaptive quadrature"
)


def joined(program: Program, split: ExactSplit, exact: Trace, vertices: list[Floats], tolerance: float) -> Trace:
    """The trace of the whole network.

    Args:
        program: the network, and ``split`` its parts.
        split: its parts.
        exact: the trace of the exact part, and ``vertices`` the parameters of its vertices with the outputs there.
        vertices: parameters, and outputs.
        tolerance: of the lengths behind.

    Returns:
        The trace.
    """
    t, points = _apart(*vertices)
    rest = trace_sampled(split.rest, VertexPath(t / t[-1], points.reshape(-1, *split.rest.input_shape)), tolerance)
    count = len(split.exact.layers)
    lengths = [exact.lengths[count], *rest.lengths[1:-1]]
    layers = [
        replace(layer, length=float(length), growth=float(length / before) if before > 0 else float("nan"))
        for layer, length, before in zip(rest.layers, lengths[1:], lengths, strict=False)
    ]
    # what stands right behind the exact part reads what is known exactly
    names = ("transitions", "sign_transitions")
    first = exact.layers[count] if len(exact.layers) > count else None
    layers[0] = replace(layers[0], **{name: getattr(first, name) if first else 0 for name in names})
    changes = rest.output.class_changes * t[-1]
    return replace(
        exact,
        linear_pieces=0,
        layers=(*exact.layers[:count], *layers),
        output=replace(rest.output, class_changes=changes),
        method="exact, then sampled",
        error=np.concatenate([exact.error[: count + 1], rest.error[1:]]),
        status=_status(exact, rest, split),
        counting_rule=exact.counting_rule + RULE.format(where=split.where),
        provenance={**exact.provenance, "model": program.name, "parameters": program.parameters},
    )


def _status(exact: Trace, rest: Trace, split: ExactSplit) -> Standing:
    if not rest.status.kind.reached:
        return rest.status
    return Certainty.CONVERGED.text(f"; {exact.status} {split.where}")


def _apart(t: Floats, points: Floats) -> tuple[Floats, Floats]:
    """The vertices, each once, and the first of those that are too close; the last one stays."""
    chosen, last = [0], len(t) - 1
    keep = np.append(True, np.diff(t) > 0)
    for i in np.flatnonzero(keep).tolist()[1:]:
        if t[i] - t[chosen[-1]] > NEAR:
            chosen.append(i)
    if chosen[-1] != last and t[last] > t[chosen[-1]]:
        chosen[-1] = last
    return t[chosen], points[chosen]
