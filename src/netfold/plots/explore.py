"""The interactive page of a partition: one file that needs no network and no other file."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.files import write_atomically
from netfold.plots.pages import templates
from netfold.plots.partitions import class_palette, faded, layer_colours
from netfold.plots.themes import DARK, LIGHT, RAMP, Theme
from netfold.results.base import counted

if TYPE_CHECKING:
    from netfold.results.partition import Partition

MOST_STATES = 32 * 2**20
"""Bytes of patterns that a page may hold; beyond them it says that it leaves them out."""

SIDE, CLASS = 255, 254
"""Layers of edges that no layer made: the rectangle's sides, and changes of class."""


@checked
def write(part: Partition, path: str | os.PathLike[str] = "partition.html", classes: tuple[str, ...] = ()) -> None:
    """Write the page of a partition: pan, zoom, hover, pattern differences, layers switched on and off.

    Args:
        part: the result.
        path: the page.
        classes: names of the classes; their numbers by default.

    Raises:
        InvalidInputError: the folder does not exist, or the network has more layers than the page can tell apart.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", seed=0)
        >>> part = nf.partition_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(part, Path(folder) / "plane.html")
        ...     "<canvas" in (Path(folder) / "plane.html").read_text()
        True
    """
    page = render(part, classes)
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(part: Partition, classes: tuple[str, ...] = ()) -> str:
    """The page as one HTML text."""
    from markupsafe import Markup

    if len(part.layers) >= CLASS:
        raise InvalidInputError(f"the page tells at most {CLASS - 1} layers apart, this network has {len(part.layers)}")
    light, dark = layer_colours(len(part.layers), LIGHT), layer_colours(len(part.layers), DARK)
    layers = [
        {"name": layer.label, "regions": f"{layer.regions:,}", "light": light[i], "dark": dark[i]}
        for i, layer in enumerate(part.layers)
    ]
    # "<" inside JSON could end the script element early
    data = json.dumps(page_data(part, classes), separators=(",", ":")).replace("<", "\\u003c")
    page = templates("netfold.plots").get_template("explore.html.j2")
    return page.render(
        title=f"{part.provenance.get('model', 'Network')} on a plane",
        summary=f"{counted(part.regions, 'activation region')}, {_classes(len(part.class_areas))}; {part.status}.",
        layers=layers,
        rule=f"Counted: {part.counting_rule}.",
        how=f"{part.method.capitalize()}. Closest decision: {part.margin:.2g} of the scale of its layer.",
        data=Markup(data),
    )


def page_data(part: Partition, classes: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the page holds: the mesh as base64 arrays, colours and names."""
    mesh = part.mesh
    layer = mesh.edge_layers
    layer = np.where(layer < 0, SIDE, np.where(layer >= len(part.layers), CLASS, layer))
    first = np.searchsorted(part.region_of_piece, np.arange(part.regions))
    own = sum(record.planes * -(-record.units // 64) for record in part.layers)
    states = mesh.states[first, :own]
    frame = part.plane.frame
    return {
        "bounds": list(part.bounds),
        "aspect": float(np.hypot(*frame[:, 1]) / frame[0, 0]),
        "xy": _packed(mesh.xy, np.float64),
        "start": _packed(mesh.start, np.uint32),
        "loop": _packed(mesh.loop, np.uint32),
        "layer": _packed(layer, np.uint8),
        "unit": _packed(np.maximum(mesh.edge_units, 0), np.uint32),
        "beside": _packed(mesh.twins(), np.int32),
        "region": _packed(part.region_of_piece, np.uint32),
        "classes": _packed(part.classes, np.uint16),
        "area": _packed(part.areas, np.float64),
        "states": _packed(states, np.int64) if states.nbytes <= MOST_STATES else None,
        "layers": [
            {"name": x.label, "units": x.units, "planes": x.planes, "words": 2 * x.planes * -(-x.units // 64)}
            for x in part.layers
        ],
        "class_names": list(classes),
        "colours": {"light": _colours(part, LIGHT), "dark": _colours(part, DARK)},
        "ramp": [to_hex(colour) for colour in mpl.colormaps[RAMP](np.linspace(0, 1, 24))],
    }


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _packed(array: NDArray[Any], dtype: type[np.generic]) -> str:
    little = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def _colours(part: Partition, theme: Theme) -> dict[str, Any]:
    palette = class_palette([*part.class_areas], theme)
    most = max(palette) + 1
    fills = [faded(palette.get(i, theme.muted), theme) for i in range(most)]
    return {
        "classes": fills,
        "layers": layer_colours(len(part.layers), theme),
        "ink": theme.ink,
        "muted": theme.muted,
        "pinned": theme.other,
        "hovered": theme.main,
    }
