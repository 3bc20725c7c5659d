"""Planes on the command line: ``netfold partition``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from netfold.commands.options import (
    AsJson,
    Example,
    Flag,
    Input,
    Inputs,
    Model,
    Output,
    Plot,
    Save,
    Shape,
    Weights,
    answer,
    load_inputs,
    picture_kind,
    row_of,
    write_picture,
)
from netfold.errors import InvalidInputError

if TYPE_CHECKING:
    from netfold.results.partition import Partition

# Commands import what they need when they run, so that --help does not wait for torch.


def partition(
    model: Model,
    /,
    *,
    data: Inputs,
    rows: Annotated[
        tuple[int, int, int], Parameter(help="Rows of the three inputs that the plane goes through, from 0.")
    ] = (0, 1, 2),
    bounds: Annotated[
        tuple[float, float, float, float] | None,
        Parameter(
            help="Rectangle: a from, a to, b from, b to; the first input is at (0, 0), the second at (1, 0). "
            "By default around the three inputs."
        ),
    ] = None,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    count: Annotated[bool, Parameter(help="Count only: faster, and nothing is stored."), Flag] = False,
    sampled: Annotated[
        bool,
        Parameter(help="Look at the points of a grid in place of cutting: any network, however fine its regions."),
        Flag,
    ] = False,
    resolution: Annotated[int, Parameter(help="Points along each side of the grid, with --sampled.")] = 128,
    seconds: Annotated[
        float | None, Parameter(help="How long --sampled may take: the grid is then made no finer than that allows.")
    ] = None,
    plot: Plot = None,
    color: Annotated[
        Literal["class", "layer", "area", "output", "density"], Parameter(help="What its colours show.")
    ] = "class",
    explore: Annotated[Path | None, Parameter(help="Write an interactive page: .html.")] = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Cut the plane through three inputs into the regions of a network, exactly; or look at it on a grid.

    For example:

      netfold partition model.pt2 --data inputs.npy
      netfold partition model.pt2 --data inputs.npy --rows 3 14 15 --plot plane.png --explore plane.html
      netfold partition model.pt2 --data inputs.npy --count --json
      netfold partition vit.pt2 --data images.npy --sampled --seconds 60 --plot plane.png
    """
    from netfold.capture.loading import load_model
    from netfold.measures.counts import count_regions
    from netfold.measures.partitioning import partition_plane
    from netfold.paths import Plane

    if sampled and (explore is not None or count or color != "class"):
        raise InvalidInputError("--sampled knows classes alone: it does not go with --count, --explore or --color")
    wanted = [name for name, value in (("--plot", plot), ("--explore", explore), ("--save", save)) if value]
    if count and wanted:
        raise InvalidInputError(f"--count stores no regions, so it does not go with {' and '.join(wanted)}")
    if plot is not None:
        picture_kind(plot)
    inputs = load_inputs(data, shape)
    points = [row_of(inputs, row) for row in rows]
    plane = Plane.through(*points)
    net = load_model(model, weights, input=input, output=output, example=example)
    if count:
        counted = count_regions(net, plane, bounds)
        answer(as_json, counted.to_dict, f"{int(counted):,} regions ({counted.status})")
        return
    if sampled:
        _sample(net, plane, bounds, (resolution, seconds), plot, save, points, [f"row {row}" for row in rows], as_json)
        return
    found = partition_plane(net, plane, bounds)
    if save is not None:
        found.save(save)
    if explore is not None:
        found.explore(explore)
    if plot is not None:
        labels = [f"row {row}" for row in rows]
        _draw(found, plot, color, plane.coordinates(points), labels)
    answer(as_json, found.to_dict, repr(found))


def _sample(
    net: Any, plane: Any, bounds: Any, how: tuple[int, float | None], plot: Path | None, save: Path | None, points: Any,
    labels: list[str], as_json: bool,
) -> None:  # fmt: skip
    from netfold.measures.plane_samples import sample_plane

    found = sample_plane(net, plane, bounds, resolution=how[0], seconds=how[1])
    if save is not None:
        found.save(save)
    if plot is not None:
        write_picture(found.plot(points=plane.coordinates(points), labels=labels), plot)
    answer(as_json, found.to_dict, repr(found))


def _draw(part: Partition, file: Path, color: Any, points: Any, labels: list[str]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from netfold.plots.themes import LIGHT

    with mpl.rc_context(LIGHT.settings):  # pyright: ignore[reportArgumentType]
        figure = Figure(figsize=(7.0, 5.6))
        part.plot(color, figure.subplots(), points=points, labels=labels)
        write_picture(figure, file)
