"""Pictures of partitions show what the partition holds."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.plots.partitions import COLORS, class_palette, layer_colours, plot
from tests.exact.plane.cases import AXES, sequential


@pytest.fixture(scope="module")
def part() -> nf.Partition:
    rng = np.random.default_rng(1)
    sizes = [(8, 2), (8, 8), (8, 8), (3, 8)]
    net = sequential([(rng.normal(size=s) / s[1] ** 0.5, rng.normal(size=s[0]) / 2) for s in sizes])
    return nf.partition_plane(net, AXES, (-2.0, 2.0, -1.0, 1.0))


@pytest.fixture(autouse=True)
def close() -> Iterator[None]:
    yield
    plt.close("all")


def lines_of(ax: plt.Axes) -> list[LineCollection]:
    return [c for c in ax.collections if type(c) is LineCollection]


@pytest.mark.parametrize("color", COLORS)
def test_every_colouring_draws(part: nf.Partition, color: str) -> None:
    """Labelled axes over the rectangle, the number of regions in the title, and a picture that is not empty."""
    ax = part.plot(color)  # type: ignore[arg-type]
    ax.figure.canvas.draw()
    assert ax.get_title().startswith(f"{part.regions:,} activation regions")
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2.0, 2.0), (-1.0, 1.0))
    picture = np.asarray(ax.figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 20


def test_borders_by_layer(part: nf.Partition) -> None:
    """Every border is drawn once, in the colour of its layer, and their lengths are the layers'."""
    drawn = {tuple(c.get_color()[0]): c.get_segments() for c in lines_of(part.plot("layer"))}  # type: ignore[index]
    assert len(drawn) == 3
    for record, colour in zip(part.layers, layer_colours(3), strict=True):
        segments = drawn[tuple(plt.matplotlib.colors.to_rgba(colour))]
        length = sum(np.linalg.norm(s[1] - s[0]) for s in segments)
        assert length == pytest.approx(record.edge_length)


def test_classes_fill_the_rectangle(part: nf.Partition) -> None:
    """One polygon a piece, coloured by its class; every class met stands in the legend."""
    ax = part.plot("class")
    filled = next(c for c in ax.collections if isinstance(c, PolyCollection))
    assert len(filled.get_paths()) == len(part.classes)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [str(c) for c in sorted(part.class_areas)]
    boundary = lines_of(ax)[-1].get_segments()
    assert len(boundary) == len(part.decision_boundary().segments)


def test_figure_1_in_one_line(part: nf.Partition) -> None:
    """Layers 1, 1-2, 1-3: each panel draws the borders of its layers and counts its regions."""
    axes = part.plot_layers()
    assert len(axes) == 3
    for shown, (ax, record) in enumerate(zip(axes, part.layers, strict=True), 1):
        assert len(lines_of(ax)) == shown
        assert f"{record.regions:,} regions" in ax.get_title(loc="left")


def test_marked_points(part: nf.Partition) -> None:
    """Points are drawn where they are, with their labels."""
    ax = part.plot("area", points=[[0.5, 0.2], [-1.0, 0.0]], labels=["first", "second"])
    assert ax.lines[-1].get_xydata() == pytest.approx(np.array([[0.5, 0.2], [-1.0, 0.0]]))
    assert [t.get_text() for t in ax.texts] == ["first", "second"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"color": "red"}, "color must be"),
        ({"layers": 9}, "layers must be"),
        ({"color": "output", "output": 3}, "output"),
    ],
)
def test_bad_arguments(part: nf.Partition, arguments: dict[str, object], says: str) -> None:
    """One error that names the choices."""
    with pytest.raises(InvalidInputError, match=says):
        plot(part, **arguments)  # type: ignore[arg-type]


def test_colours_are_told_apart() -> None:
    """Layers and classes get distinct colours."""
    assert len(set(layer_colours(8))) == 8
    assert len(set(class_palette(range(20)).values())) == 20
    assert len(set(class_palette(range(1, 1000, 40)).values())) == 25
