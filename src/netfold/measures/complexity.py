"""Local complexity: how many units change their state in the near neighbourhood of data points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netfold.arguments import Positive, Seed, checked
from netfold.capture import Model, Program, capture
from netfold.capture.data import tensor_of
from netfold.errors import InvalidInputError
from netfold.measures.states import rows_together, states_at
from netfold.progress import Budget, progress_bar, stoppable
from netfold.results.complexity import LocalComplexity, WatchedLayer
from netfold.results.provenance import provenance
from netfold.results.status import Certainty

Count = Literal["state", "sign"]

DIRECTIONS = 25
"""Directions of a cross-polytope, unless the input has fewer entries or the caller says otherwise."""


RULES = {
    "state": "units whose state (the piece of their nonlinearity, the winner of a maximum; the sign of the "
    "pre-activation where it is smooth) differs between vertices of the cross-polytope around the point",
    "sign": "units whose pre-activation has different signs at vertices of the cross-polytope around the point; units "
    "that select one of several entries: whose winner differs",
}


@checked
def local_complexity(
    model: Model,
    points: Any,
    radius: Positive,
    directions: int | Any = None,
    *,
    count: Count = "state",
    seed: Seed = 0,
    seconds: Positive | None = None,
    progress: bool | None = None,
) -> LocalComplexity:
    """Count the units that change their state over the vertices of a small cross-polytope around each point.

    Around a point x stand the vertices ``x +- radius * q_j``, with orthonormal random directions ``q_1 ... q_P``, the
    same for all points. A unit counts where its state is not the same at all of them: its border then passes between
    them, so that the number measures how densely the network is folded near the data (Humayun, Balestriero, Baraniuk:
    "Deep Networks Always Grok and Here is Why", ICML 2024, section 2). It is a count of units, not of regions, and a
    lower bound on the units whose border meets the polytope. It needs forward passes only, so it suits networks of any
    size, smooth ones included.

    Args:
        model: a module in evaluation mode, or a captured program.
        points: the data, ``(points, *input_shape)``.
        radius: distance of the vertices from their point.
        directions: their number P, at most the size of the input; by default 25 or the size of the input. Or the
            directions themselves, ``(P, *input_shape)``, used as they are.
        count: "state" (a hard-tanh unit has three), or "sign" of the pre-activation, which compares networks of
            different nonlinearities.
        seed: of the random directions.
        seconds: how long it may take, capturing included. When the time is over or Ctrl-C is pressed, what comes back
            is of the first points, a batch of them at least, and says so.
        progress: show a bar where the work is long; by default only in a terminal.

    Returns:
        The counts, by point and layer.

    Raises:
        InvalidInputError: points, radius or directions are unusable, or the network has no unit with a state.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
        >>> _ = net[0].weight.data.copy_(torch.eye(2))
        >>> nf.local_complexity(net, [[0.05, 3.0], [2.0, 3.0]], radius=0.1, directions=[[1, 0], [0, 1]]).total.tolist()
        [1, 0]
    """
    budget = Budget(seconds)
    given = tensor_of(points, "points")
    program = capture(model, shape=given.shape[1:])
    where = program.points(given)
    if len(where) == 0:
        raise InvalidInputError("there is no point: the array of points is empty")
    frame = _frame(program, directions, seed)
    with (
        stoppable(budget) if budget.limited else nullcontext(),
        progress_bar(len(where), "looking around points", "point", progress, delay=1.0) as bar,
    ):
        found = switching(program, where, radius * frame, count == "sign", budget, bar.update)
    if not found:
        raise InvalidInputError(f"{program.name} has no nonlinearity whose units have a state of their own")
    layers, counts = program.layers, np.stack(list(found.values()), 1)
    partial = f": the first {len(counts):,} of {len(where):,} points, where {budget.end}"
    return LocalComplexity(
        counts,
        tuple(WatchedLayer(la.name, la.op, la.units, la.label) for la in (layers[i] for i in found)),
        tuple(layer.name for i, layer in enumerate(layers) if i not in found),
        float(radius),
        len(frame),
        RULES[count],
        Certainty.EXACT.text() if len(counts) == len(where) else Certainty.PARTIAL.text(partial),
        provenance(program, seed=seed, seconds=budget.elapsed),
    )


def _frame(program: Program, directions: Any, seed: int) -> Tensor:
    """Directions, ``(P, *input_shape)``."""
    shape = program.input_shape
    size = int(np.prod(shape, dtype=np.int64))
    if directions is None:
        directions = min(DIRECTIONS, size)
    if not isinstance(directions, int | np.integer):
        given = program.points(directions, "directions")
        if len(given) == 0 or bool((given.flatten(1).norm(dim=1) == 0).any()):
            raise InvalidInputError("directions must be at least one, and none of them 0")
        return given
    if not 1 <= directions <= size:
        raise InvalidInputError(f"directions must be from 1 to the size of the input, {size}, got {directions}")
    return orthonormal(shape, int(directions), seed).to(program.device)


def orthonormal(shape: Sequence[int], directions: int, seed: int) -> Tensor:
    """Random orthonormal directions, ``(directions, *shape)``; at most as many as the shape has entries."""
    drawn = np.random.default_rng(seed).standard_normal((int(np.prod(shape, dtype=np.int64)), directions))
    return torch.from_numpy(np.ascontiguousarray(np.linalg.qr(drawn)[0].T)).reshape(directions, *shape)


def switching(
    program: Program,
    points: Tensor,
    frame: Tensor,
    signs: bool,
    budget: Budget | None = None,
    told: Callable[[int], object] = lambda _: None,
) -> dict[int, NDArray[np.int64]]:
    """Units whose state is not the same at all vertices around a point, by layer number: one entry a point.

    Args:
        program: what to run.
        points: ``(points, *input_shape)``.
        frame: vertices stand at each point plus and minus these steps, ``(P, *input_shape)``.
        signs: count by the sign of the pre-activation; units that select one of several entries, by their winner.
        budget: when it is over, what comes back is of the points so far; those of one batch at least.
        told: called with the number of points that were looked around.
    """
    rows = rows_together(program)
    together = max(1, rows // (2 * len(frame)))
    offsets = torch.cat([frame, -frame]).split(max(1, min(rows, 2 * len(frame))))
    parts: list[dict[int, NDArray[np.int64]]] = []
    for few in points.split(together):
        if parts and budget is not None and budget.over:
            break
        parts.append(_around(program, few, offsets, signs))
        told(len(few))
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in parts[0]}


def _around(program: Program, points: Tensor, parts: tuple[Tensor, ...], signs: bool) -> dict[int, NDArray[np.int64]]:
    """The same for a few points; their vertices come in parts where they are too many to run together."""
    low: dict[int, Tensor] = {}
    high: dict[int, Tensor] = {}
    with torch.no_grad():
        for offsets in parts:
            vertices = (points[:, None] + offsets[None]).flatten(0, 1)
            for layer, states in states_at(program, vertices, signs):
                seen = states.reshape(len(points), len(offsets), -1)
                least, most = seen.amin(1), seen.amax(1)
                low[layer] = torch.minimum(low[layer], least) if layer in low else least
                high[layer] = torch.maximum(high[layer], most) if layer in high else most
    return {layer: (low[layer] != high[layer]).sum(1).cpu().numpy().astype(np.int64) for layer in low}
