"""The plane through three inputs, for the report: chosen, cut into regions, drawn and put in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from netfold.capture import Program
from netfold.capture.splitting import split_of
from netfold.errors import InvalidInputError
from netfold.measures.many_lines import Lines, regions_of
from netfold.measures.partitioning import partition_plane
from netfold.measures.plane_samples import sample_plane
from netfold.paths import Plane
from netfold.plots.partitions import plot
from netfold.plots.themes import Theme
from netfold.results.partition import Partition
from netfold.results.plane_sample import PlaneSample

RESOLUTION = 128
"""Points along each side of a plane that is sampled, at most."""

MOST_ON_LINE = 400
"""Regions crossed by a line, on average, beyond which a report cuts no plane: it would hold about their square."""


@dataclass(frozen=True)
class Slice:
    """The plane through three inputs.

    Attributes:
        rows: the three rows of the data, and ``labels`` their classes where labels are given.
        labels: their classes, or nothing.
        where: their coordinates on the plane, ``(3, 2)``.
        trained: the partition by the network, and ``initial`` by the network before training, if there is one.
        initial: the same before training, or ``None``.
        why: the plane was sampled and not cut; empty where it was cut.
    """

    rows: tuple[int, int, int]
    labels: tuple[int, ...]
    where: NDArray[np.float64]
    trained: Partition | PlaneSample
    initial: Partition | PlaneSample | None
    why: str = ""


def slice_through(
    program: Program,
    before: Program | None,
    points: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
    traces: list[Lines],
    seed: int,
    seconds: float | None = None,
) -> Slice | str:
    """Cut the plane through three inputs, of three classes where there are labels; sample it where it cannot be cut.

    Args:
        program: the network, and ``before`` the network before training.
        before: the same with the weights it started from, or ``None``.
        points: the data, and ``labels`` their classes.
        labels: one a row, or ``None``.
        traces: lines through the networks, which tell whether a plane would hold too many regions to draw.
        seed: of the choice of inputs.
        seconds: how long a plane may be sampled.

    Returns:
        The slice; or why there is none: no three inputs span a plane.
    """
    why = ""
    if not program.piecewise_linear and split_of(program) is None:
        why = "the network is not piecewise linear"
    elif any(np.mean(regions_of(group)) > MOST_ON_LINE for group in traces):
        why = f"lines cross more than {MOST_ON_LINE:,} regions on average, so that a plane holds too many to draw"
    found = _choose(points, labels, seed)
    if found is None:
        return "no three of the inputs that were tried span a plane"
    rows, plane = found
    share = None if seconds is None else seconds / (1 if before is None else 2)

    def look(network: Program) -> Partition | PlaneSample:
        if not why:
            return partition_plane(network, plane)
        return sample_plane(network, plane, resolution=RESOLUTION, seconds=share, progress=False)

    return Slice(
        rows=rows,
        labels=() if labels is None else tuple(int(labels[row]) for row in rows),
        where=plane.coordinates(points[list(rows)]),
        trained=look(program),
        initial=None if before is None else look(before),
        why=why,
    )


def draw(shown: Slice, width: float, theme: Theme, classes: tuple[str, ...] = ()) -> Figure:
    """Regions, classes and decision boundary on the plane, before training beside after."""
    parts = [("after training" if shown.initial else "", shown.trained)]
    if shown.initial is not None:
        parts.insert(0, ("before training", shown.initial))
    left, right, bottom, top = shown.trained.bounds
    tall = (top - bottom) / (right - left)
    panel = 0.42 * width if len(parts) == 2 else 0.62 * width
    figure = Figure(figsize=(width, min(panel * tall, 1.3 * width) + 1.25))
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    together = sorted({c for _, part in parts for c in _classes(part)})
    for ax, (when, part) in zip(axes, parts, strict=True):
        labels = [_name(label, classes) for label in shown.labels] or [f"row {row}" for row in shown.rows]
        if isinstance(part, PlaneSample):
            part.plot(ax, points=shown.where, labels=labels, theme=theme, legend=False)
            title = f"{len(part.classes)} x {len(part.classes)} points"
        else:
            plot(part, "class", ax, points=shown.where, labels=labels, theme=theme, legend=False)
            title = f"{part.regions:,} regions"
            for drawn in ax.collections:
                # many thin lines weigh less as pixels, and the page holds them twice, light and dark
                drawn.set_rasterized(part.regions > 200)
        ax.set_title(f"{when}{': ' if when else ''}{title}")
        if ax is not axes[0]:
            ax.set_ylabel("")
    _legend(figure, together, classes, theme)
    return figure


def _classes(part: Partition | PlaneSample) -> list[int]:
    return list(part.class_shares if isinstance(part, PlaneSample) else part.class_areas)


def sentence(shown: Slice, inputs: str) -> str:
    """What the slice shows, in a sentence."""
    after = shown.trained
    if isinstance(after, PlaneSample) or isinstance(shown.initial, PlaneSample):
        side = len(after.classes)
        shares = after.class_shares if isinstance(after, PlaneSample) else {}
        most, share = next(iter(shares.items()))
        return (
            f"Seen at {side} x {side} points, since {shown.why}: the plane through three {inputs}s holds "
            f"{len(shares)} {'class' if len(shares) == 1 else 'classes'}, of which {most} takes the most, {share:.0%}."
        )
    text = f"The plane through three {inputs}s holds {after.regions:,} activation regions"
    if shown.initial is not None:
        text += f", where the same plane held {shown.initial.regions:,} before training"
    edge = after.decision_boundary()
    count = len(edge.region_areas)
    if count == 1:
        return f"{text}; the network gives one class to all of it."
    return f"{text}; the decision boundary parts it into {count} areas of {len(after.class_areas)} classes."


def numbers(shown: Slice) -> dict[str, Any]:
    """The slice as numbers."""
    parts = {"trained": shown.trained, "initial": shown.initial}
    return {
        "rows": list(shown.rows),
        "bounds": list(shown.trained.bounds),
        **{
            name: None if part is None else part.to_dict() if isinstance(part, PlaneSample) else {
                "regions_by_layer": part.regions_by_layer.tolist(),
                "status": part.status,
                "margin": part.margin,
                "class_areas": {str(label): area for label, area in part.class_areas.items()},
                "distance_to_boundary": [x if np.isfinite(x) else None
                                         for x in part.decision_boundary().distance(shown.where).tolist()],
            }
            for name, part in parts.items()
        },
    }  # fmt: skip


def _choose(
    points: NDArray[np.float64], labels: NDArray[np.int64] | None, seed: int
) -> tuple[tuple[int, int, int], Plane] | None:
    """Three rows that span a plane, of different classes as far as there are."""
    order = np.random.default_rng(seed).permutation(len(points))
    if labels is not None:
        _, first = np.unique(labels[order], return_index=True)
        ahead = np.sort(first)
        order = np.concatenate([order[ahead], np.delete(order, ahead)])
    for third in order[2:22]:
        rows = (int(order[0]), int(order[1]), int(third))
        try:
            return rows, Plane.through(*points[list(rows)])
        except InvalidInputError:
            continue
    return None


def _name(label: int, classes: tuple[str, ...]) -> str:
    return classes[label] if label < len(classes) else str(label)


def _legend(figure: Figure, labels: list[int], classes: tuple[str, ...], theme: Theme) -> None:
    from matplotlib.patches import Patch

    from netfold.plots.partitions import class_palette, faded

    palette = class_palette(labels, theme)
    handles = [Patch(color=faded(palette[c], theme), label=_name(c, classes)) for c in labels[:12]]
    # as many side by side as fit on the page, in ems: a patch with its gaps, and some 0.6 a letter
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(min(int(50 / (4.0 + 0.6 * longest)), len(handles)), 1)
    figure.legend(handles=handles, title="class", loc="outside lower center", ncols=columns, columnspacing=1.2)
