"""The picture of a plane that was sampled on a grid, drawn in squares so that nobody takes it for an exact one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from netfold.arguments import checked
from netfold.plots.axes import axes_or_new, caption
from netfold.plots.partitions import class_palette, faded, mark
from netfold.plots.themes import LIGHT, Theme
from netfold.results.partition import coordinates
from netfold.results.plane_sample import PlaneSample


@checked
def plot(
    sample: PlaneSample,
    ax: Axes | None = None,
    *,
    points: Any = None,
    labels: Sequence[str] = (),
    classes: Sequence[str] = (),
    theme: Theme = LIGHT,
    legend: bool = True,
) -> Axes:
    """Draw the classes of a sampled plane, one square a point of the grid.

    Args:
        sample: the result.
        ax: where to draw; a new figure by default.
        points: points (a, b) to mark, with ``labels`` beside them.
        labels: of the points.
        classes: names of the classes; their numbers by default.
        theme: colours.
        legend: whether to say what the colours mean.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    found = sorted(sample.class_shares)
    palette = class_palette(found, theme)
    image = np.zeros((*sample.classes.shape, 3))
    for label in found:
        image[sample.classes == label] = to_rgb(faded(palette[label], theme))
    ax.imshow(image, origin="lower", extent=sample.bounds, interpolation="nearest", aspect="equal")
    if points is not None:
        mark(ax, coordinates(points), labels, theme)
    rows, columns = sample.classes.shape
    caption(ax, f"class (largest output), sampled at {columns} x {rows} points", 56)
    ax.set_xlabel("a")
    ax.set_ylabel("b")
    if legend:
        names = [classes[c] if c < len(classes) else str(c) for c in found]
        handles = [Patch(color=faded(palette[c], theme), label=n) for c, n in zip(found[:12], names, strict=False)]
        ax.legend(handles=handles, title="class", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax
