"""`sample_plane`: a picture of any network on a plane, at the points of a grid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch

from netfold.arguments import Positive, PositiveInt, checked
from netfold.arrays import Ints
from netfold.capture import Model, Program, capture
from netfold.errors import InvalidInputError
from netfold.measures.states import rows_together
from netfold.paths import Plane, rectangle
from netfold.progress import Budget, progress_bar, stoppable
from netfold.results.plane_sample import PlaneSample
from netfold.results.provenance import provenance
from netfold.results.status import Certainty

FIRST = 8
"""Points along each side of the grid that is made whatever the budget."""

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@checked
def sample_plane(
    model: Model,
    plane: Plane,
    bounds: tuple[float, float, float, float] | None = None,
    *,
    resolution: PositiveInt = 128,
    seconds: Positive | None = None,
    progress: bool | None = None,
) -> PlaneSample:
    """Look what class a network gives at the points of a grid on a rectangle of a plane.

    It takes any network, smooth ones too. What is smaller than the grid is not seen: `partition_plane` cuts the plane
    exactly where the network is piecewise linear.

    Args:
        model: a module in evaluation mode, or a captured program.
        plane: origin + a u + b v; ``Plane.through(x, y, z)`` for three inputs.
        bounds: the rectangle (a from, a to, b from, b to); the plane's own by default.
        resolution: points along each side.
        seconds: how long it may take: grids are made twice as fine as long as there is time, and Ctrl-C keeps the last.
        progress: show a bar; by default only in a terminal.

    Returns:
        The picture, which says how fine it is.

    Raises:
        InvalidInputError: the plane does not fit the model, or the rectangle is empty.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.Tanh())
        >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0, 0.0]]))
        >>> plane = nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], (-1, 1, -1, 1))
        >>> sample_plane(net, plane, resolution=4).classes[0].tolist()
        [0, 0, 1, 1]
    """
    if not isinstance(plane, Plane):
        raise InvalidInputError(f"sample_plane takes a Plane, got {type(plane).__name__}; see nf.Plane.through")
    budget = Budget(seconds)
    program = capture(model, shape=plane.shape)
    chosen = rectangle(plane.bounds if bounds is None else bounds)
    wanted = [n for n in FIRST * 2 ** np.arange(32) if n < resolution] if budget.limited else []
    found: Ints | None = None
    with (
        stoppable(budget) if budget.limited else nullcontext(),
        progress_bar(resolution**2, "sampling", "point", progress, bar_format=BAR, delay=1.0) as bar,
    ):
        for n in [*wanted, resolution]:
            pace = budget.elapsed / budget.spent if budget.spent else 0.0
            if found is not None and (budget.stopped or budget.left(max(pace, 1e-9)) < n * n):
                break
            bar.reset()
            made = _grid(program, plane, chosen, int(n), budget, bar.update if n == resolution else lambda _: None)
            found = made if made is not None else found
            budget.spent += int(n) ** 2
    if found is None:
        raise KeyboardInterrupt
    side = len(found)
    left, right, bottom, top = chosen
    (along, _), (_, across) = plane.frame
    steps = (right - left) / side * along, (top - bottom) / side * float(np.hypot(across, plane.frame[0, 1]))
    coarser = "" if side == resolution else f", not {resolution} x {resolution}: {budget.end}"
    return PlaneSample(
        bounds=chosen,
        classes=found,
        spacing=(float(steps[0]), float(steps[1])),
        evaluations=budget.spent,
        method=f"forward passes at {side} x {side} points",
        status=Certainty.SAMPLED.text(f" at {side} x {side} points{coarser}"),
        counting_rule=(
            "the largest output (of a single one, whether it is above 0) at the middles of the squares of a grid; what "
            "is smaller than its squares is not seen, and borders of regions are not looked for"
        ),
        provenance=provenance(program, seconds=budget.elapsed),
    )


def _grid(
    program: Program,
    plane: Plane,
    bounds: tuple[float, float, float, float],
    n: int,
    budget: Budget,
    told: Callable[[int], object],
) -> Ints | None:
    """Classes at the middles of n x n squares; ``None`` after Ctrl-C."""
    left, right, bottom, top = bounds
    at = (np.arange(n) + 0.5) / n
    a, b = np.meshgrid(left + (right - left) * at, bottom + (top - bottom) * at)
    a, b = a.ravel(), b.ravel()
    rows, found = max(1, min(rows_together(program), 256)), np.empty(n * n, np.int64)
    with torch.no_grad():
        for begin in range(0, n * n, rows):
            if budget.stopped:
                return None
            some = slice(begin, begin + rows)
            outputs = program(program.points(plane(a[some], b[some]), "the plane")).flatten(1)
            labels = (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)
            found[some] = labels.cpu().numpy()
            told(len(labels))
    return found.reshape(n, n)
