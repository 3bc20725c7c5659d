"""Pictures of a partition: regions by class, layer, area, output or density. They take results, never models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm, to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.plots.axes import axes_or_new, caption
from netfold.plots.themes import DENSITY, LIGHT, MORE_CLASSES, RAMP, Theme
from netfold.plots.traces import MOST_DRAWN
from netfold.results.base import counted
from netfold.results.partition import Partition, Polygons, coordinates

Color = Literal["class", "layer", "area", "output", "density"]
COLORS = get_args(Color)

BINS = 128
"""Cells along the longer side of a picture of density."""

IN_WINDOW = 12
"""Regions that the window of a picture of density should hold on average."""


RULE = "connected, of positive area, every unit in one state"
"""What is counted, in captions."""


@checked
def plot(
    part: Partition,
    color: Color = "class",
    ax: Axes | None = None,
    *,
    layers: int | None = None,
    output: int = 0,
    points: Any = None,
    labels: Sequence[str] = (),
    classes: Sequence[str] = (),
    theme: Theme = LIGHT,
    legend: bool = True,
) -> Axes:
    """Draw a partition in the coordinates (a, b) of its plane.

    Args:
        part: the result.
        color: what the colours show. ``class``: the largest output, with the decision boundary; ``layer``: borders by
            the layer that made them; ``area``: area of each region; ``output``: one output's value, exact at
            every point; ``density``: regions per area, in square bins, by their centroids.
        ax: where to draw; a new figure by default.
        layers: draw the regions of the first so many layers; all by default.
        output: which output, for ``output``.
        points: points (a, b) to mark, for example `Plane.coordinates` of inputs, with ``labels`` beside them.
        classes: names of the classes; their numbers by default.
        theme: colours.
        legend: whether to say what the colours mean.

    Returns:
        The axes.

    Raises:
        InvalidInputError: there is no such colouring, layer or output.
    """
    if color not in COLORS:
        raise InvalidInputError(f"color must be one of {', '.join(COLORS)}, got {color!r}")
    shown = len(part.layers) if layers is None else layers
    if not 0 <= shown <= len(part.layers):
        raise InvalidInputError(f"layers must be from 0 to {len(part.layers)}, got {layers}")
    if not 0 <= output < part.outputs:
        raise InvalidInputError(f"output must be from 0 to {part.outputs - 1}, got {output}")
    ax = axes_or_new(ax)
    if color == "class":
        _classes(part, ax, classes, theme, legend)
    elif color == "area":
        _areas(part, ax, shown, legend)
    elif color == "output":
        _output(part, ax, output, legend)
    elif color == "density":
        _density(part, ax, legend)
    if color != "density":
        _borders(part, ax, shown, theme, by_layer=color == "layer", legend=legend and color == "layer")
    if color == "class":
        _boundary(part, ax, theme)
    if points is not None:
        mark(ax, coordinates(points), labels, theme)
    _frame(part, ax, theme)
    regions = part.layers[shown - 1].regions if shown else 1
    kind = "" if part.uncertain == 0 else ", up to the tolerance"
    where = "" if shown == len(part.layers) else f" of the first {counted(shown, 'layer')}"
    caption(ax, f"{counted(regions, 'activation region')}{where}{kind}: {RULE}", 56)
    return ax


@checked
def plot_layers(part: Partition, *, theme: Theme = LIGHT, most: int = 4) -> NDArray[Any]:
    """Draw the borders of layer 1, of layers 1 and 2, and so on: lines that bend, cells that nest.

    What figure 1 of Raghu et al. (2017) sketches, for any network: the first layer cuts the plane along straight
    lines; those of later layers bend where they cross earlier ones, and every cell stays convex.

    Args:
        part: the result.
        theme: colours.
        most: panels at most; of more layers, evenly spread ones and the last are shown.

    Returns:
        The axes, one a panel.
    """
    import matplotlib.pyplot as plt

    count = max(1, len(part.layers))
    columns = min(count, most, 2)
    chosen = sorted({round(i) for i in np.linspace(1, count, min(most, count))})
    with mpl.rc_context(theme.settings):  # pyright: ignore[reportArgumentType]
        rows = -(-len(chosen) // columns)
        size = (3.4 * columns + 1.6, 3.4 * rows + 0.3)
        figure, grid = plt.subplots(rows, columns, figsize=size, layout="compressed", squeeze=False)
        figure.suptitle(f"activation regions: {RULE}", fontsize="small")
        axes = grid.ravel()[: len(chosen)]
        for ax in grid.ravel()[len(chosen) :]:
            ax.set_axis_off()
        for ax, shown in zip(axes, chosen, strict=True):
            shown = min(shown, len(part.layers))
            plot(part, "layer", ax, layers=shown, theme=theme, legend=shown == chosen[-1] and shown > 1)
            regions = part.layers[shown - 1].regions if shown else 1
            ax.set_title(f"layer{'s 1–' if shown > 1 else ' '}{shown}: {regions:,} regions")
            ax.locator_params(nbins=5, prune="both")  # ticks at the corners of neighbours would touch
            ax.label_outer()
    return axes


def layer_colours(count: int, theme: Theme = LIGHT) -> list[str]:
    """One colour a layer, dark to light (light to dark on a dark page), told apart by colour-blind readers too."""
    first, last = (0.0, 0.78) if theme.name == "light" else (1.0, 0.2)
    ramp = mpl.colormaps["plasma"](np.linspace(first, last, max(count, 1)))
    return [to_hex(colour) for colour in ramp]


def class_palette(classes: Sequence[int], theme: Theme = LIGHT) -> dict[int, str]:
    """A colour for every class, beyond the theme's own from a larger qualitative map: each class its own, and the same
    in every picture but where another class of the picture has it, or there are more classes than colours."""
    more = [to_hex(colour) for colour in mpl.colormaps["tab20"].colors]  # pyright: ignore[reportAttributeAccessIssue]
    colours = [*theme.classes, *MORE_CLASSES, *more]
    palette: dict[int, str] = {}
    for label in sorted(classes):
        ahead = [*colours[label % len(colours) :], *colours]
        palette[label] = next((colour for colour in ahead if colour not in palette.values()), ahead[0])
    return palette


def faded(colour: str, theme: Theme) -> str:
    """A colour, pale enough on the theme's paper for lines to stand on it."""
    r, g, b = (0.45 * x + 0.55 * y for x, y in zip(to_rgb(colour), to_rgb(theme.paper), strict=True))
    return to_hex((r, g, b))


def _classes(part: Partition, ax: Axes, names: Sequence[str], theme: Theme, legend: bool) -> None:
    palette = class_palette([*part.class_areas], theme)
    fills = {label: faded(colour, theme) for label, colour in palette.items()}
    # without antialiasing, neighbours of one class show no seam
    faces = [fills[int(label)] for label in part.classes]
    _fill(ax, _pieces(part), facecolors=faces)
    if legend:
        shown = list(part.class_areas)[:12]
        handles = [Patch(color=fills[label], label=str(names[label] if label < len(names) else label))
                   for label in sorted(shown)]  # fmt: skip
        ax.legend(handles=handles, title="class", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def _areas(part: Partition, ax: Axes, shown: int, legend: bool) -> None:
    polygons = part.polygons_after(shown - 1)
    areas = np.bincount(part.ancestors(shown - 1), part.areas, len(polygons))
    low, high = areas[areas > 0].min(initial=np.inf), areas.max()
    low = max(low, high * 1e-8)
    norm = LogNorm(low, high if high > low else 2 * low)
    _colour_bar(ax, _fill(ax, polygons, array=np.maximum(areas, low), norm=norm, cmap=RAMP), legend,
                "area of the region, in input space")  # fmt: skip


def _output(part: Partition, ax: Axes, output: int, legend: bool) -> None:
    polygons, (slope, offset) = part.polygons, part.output_maps
    corners = polygons.xy[polygons.loop]
    sides = np.diff(polygons.start)
    owner = np.repeat(np.arange(len(sides)), sides)
    value = offset[owner, output] + (slope[owner, output] * corners).sum(1)
    # a fan of triangles fills a convex polygon; a linear ramp on each triangle is the affine map itself
    position = np.arange(len(corners)) - polygons.start[owner]
    inner = np.flatnonzero((position > 0) & (position < sides[owner] - 1))
    triangles = np.stack([polygons.start[owner[inner]], inner, inner + 1], 1)
    drawn = ax.tripcolor(corners[:, 0], corners[:, 1], value, triangles=triangles, shading="gouraud", cmap=RAMP)
    drawn.set_rasterized(True)
    _colour_bar(ax, drawn, legend, f"output {output}")


def _density(part: Partition, ax: Axes, legend: bool) -> None:
    left, right, bottom, top = part.bounds
    frame = part.plane.frame
    width, height = (right - left) * frame[0, 0], (top - bottom) * float(np.hypot(*frame[:, 1]))
    bins = [max(2, round(BINS * side / max(width, height))) for side in (width, height)]
    counts, xs, ys = np.histogram2d(*part.centroids.T, bins=bins, range=((left, right), (bottom, top)))
    area = (right - left) * (top - bottom) * abs(float(np.linalg.det(frame))) / (bins[0] * bins[1])
    # a window of standard deviation s weighs as many centres as lie in an area of 4 pi s^2
    spread = max(1.0, (IN_WINDOW / max(part.regions, 1) * bins[0] * bins[1] / (4 * np.pi)) ** 0.5)
    inside = gaussian_filter(np.ones_like(counts), spread, mode="constant")
    density = gaussian_filter(counts, spread, mode="constant") / inside / area
    drawn = ax.pcolormesh(xs, ys, density.T, cmap=DENSITY, rasterized=True, vmin=0)
    window = spread * max(width, height) / BINS
    _colour_bar(
        ax, drawn, legend, f"regions, by centroid, per area of input space\n(in a Gaussian window of {window:.2g})"
    )


def _borders(part: Partition, ax: Axes, shown: int, theme: Theme, *, by_layer: bool, legend: bool) -> None:
    segments, layer = part.outline_edges
    colours = layer_colours(len(part.layers), theme)
    crowd = min(1.0, (2000 / max(len(segments), 1)) ** 0.5)
    for i in range(shown - 1, -1, -1):
        chosen = segments[layer == i]
        width = (1.6 - 0.9 * i / max(1, len(part.layers) - 1)) if by_layer else 0.5
        lines = LineCollection(
            list(chosen),
            colors=colours[i] if by_layer else theme.ink,
            linewidths=max(0.12, width * max(crowd, 0.2)),
            alpha=1.0 if by_layer else 0.15 + 0.5 * crowd,
            rasterized=len(chosen) > MOST_DRAWN,
            capstyle="round",
        )
        ax.add_collection(lines)
    if legend and shown:
        names = [layer.label for layer in part.layers[:shown]]
        handles = [Line2D([], [], color=colours[i], linewidth=2.0) for i in range(shown)]
        ax.legend(handles, names, title="layer", loc="upper left", bbox_to_anchor=(1.01, 1.0),
                  borderaxespad=0.0)  # fmt: skip


def _boundary(part: Partition, ax: Axes, theme: Theme) -> None:
    segments = part.decision_boundary().segments
    ax.add_collection(LineCollection(list(segments), colors=theme.ink, linewidths=1.4, capstyle="round",
                                     rasterized=len(segments) > MOST_DRAWN))  # fmt: skip


def mark(ax: Axes, points: NDArray[np.float64], labels: Sequence[str], theme: Theme) -> None:
    """Mark points (a, b), with labels beside them."""
    ax.plot(*points.T, "o", color=theme.paper, markeredgecolor=theme.ink, markersize=7, markeredgewidth=1.4, zorder=5)
    for point, label in zip(points, labels, strict=False):
        ax.annotate(label, (point[0], point[1]), (7, 5), textcoords="offset points", color=theme.ink, zorder=6,
                    bbox={"facecolor": theme.paper, "alpha": 0.75, "edgecolor": "none", "pad": 1.5})  # fmt: skip


def _pieces(part: Partition) -> Polygons:
    from netfold.results.partition import Polygons

    return Polygons(part.mesh.xy, part.mesh.start, part.mesh.loop)


def _fill(ax: Axes, polygons: Polygons, **options: Any) -> PolyCollection:
    made = PolyCollection(list(polygons), edgecolors="none", antialiaseds=False, **options)
    made.set_rasterized(len(polygons) > MOST_DRAWN)
    ax.add_collection(made)
    return made


def _colour_bar(ax: Axes, drawn: Any, legend: bool, label: str) -> None:
    if legend:
        figure = ax.get_figure()
        assert figure is not None
        figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), label=label)


def _frame(part: Partition, ax: Axes, theme: Theme) -> None:
    left, right, bottom, top = part.bounds
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    frame = part.plane.frame
    ax.set_aspect(float(np.hypot(*frame[:, 1])) / float(frame[0, 0]))
    ax.set_xlabel("a, along u")
    ax.set_ylabel("b, along v")
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(True)
        ax.spines[side].set_color(theme.muted)
