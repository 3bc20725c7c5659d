"""Partitions as labelled data sets, and the netCDF files that hold them."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import xarray as xr

from netfold.exact.plane_mesh import Mesh
from netfold.files import read_dataset, write_dataset
from netfold.measures.partition import Partition, PartitionLayer
from netfold.paths import Plane

FORMAT = "netfold partition 1"

UNITS = {
    "vertices": ("coordinates (a, b) of every vertex", "1"),
    "made": ("layer that made the vertex, from 0; -1 for a corner", "1"),
    "loop": ("vertices of the polygons, counter-clockwise, one polygon after the other", "1"),
    "corners": ("how many of them each polygon has", "1"),
    "label": ("what made the edge to the next vertex: layer * 2^32 + unit; -1 to -4 for the rectangle's sides", "1"),
    "ancestor": ("number of the region each polygon lies in after every layer; last by class", "1"),
    "states": ("bits of the states of all units, plane by plane", "1"),
    "area": ("area of every region", "squared units of the input space"),
    "region": ("region of every polygon", "1"),
    "class": ("class of every polygon", "1"),
    "regions": ("activation regions of the network cut off after the layer", "1"),
    "edge_length": ("length of the borders that the layer makes", "units of the input space"),
    "plane": ("origin, u and v, flattened", "units of the input space"),
}
"""What every variable means and its unit, for the attributes."""


def dataset(part: Partition) -> xr.Dataset:
    """A partition as a dataset that netCDF can store without loss."""
    mesh = part.mesh
    data: dict[str, tuple[tuple[str, ...], Any]] = {
        "vertices": (("vertex", "coordinate"), mesh.xy),
        "made": (("vertex",), mesh.made),
        "loop": (("edge",), mesh.loop),
        "label": (("edge",), mesh.label),
        "corners": (("polygon",), np.diff(mesh.start)),
        "ancestor": (("polygon", "stage"), mesh.ids),
        "states": (("polygon", "word"), mesh.states),
        "region": (("polygon",), part.region_of_piece),
        "class": (("polygon",), part.classes),
        "area": (("region_number",), part.areas),
        "regions": (("layer",), part.regions_by_layer),
        "edge_length": (("layer",), np.array([layer.edge_length for layer in part.layers], np.float64)),
        "plane": (("direction", "feature"), np.stack([w.ravel() for w in (part.plane.origin, part.plane.u,
                                                                         part.plane.v)])),
    }  # fmt: skip
    found = xr.Dataset(data)
    for name, (meaning, unit) in UNITS.items():
        found[name].attrs.update(long_name=meaning, units=unit)
    layers = [{"name": x.name, "op": x.op, "units": x.units, "planes": x.planes, "selects": x.selects}
              for x in part.layers]  # fmt: skip
    found.attrs.update(
        format=FORMAT,
        bounds=list(part.bounds),
        plane_bounds=list(part.plane.bounds),
        input_shape=list(part.plane.shape),
        outputs=part.outputs,
        layers=json.dumps(layers),
        method=part.method,
        status=part.status,
        uncertain=part.uncertain,
        margin=part.margin,
        counting_rule=part.counting_rule,
        provenance=json.dumps(part.provenance, default=str),
    )
    return found


def write(part: Partition, path: str | os.PathLike[str]) -> None:
    """Write a partition to a netCDF-4 file, whole or not at all."""
    write_dataset(dataset(part), path)


def read(path: str | os.PathLike[str]) -> Partition:
    """The partition in a file."""
    return read_dataset(path, FORMAT, "partition", _partition)


def _partition(found: xr.Dataset) -> Partition:
    words = found.attrs
    shape = tuple(int(n) for n in np.atleast_1d(words["input_shape"]))
    origin, u, v = (row.reshape(shape) for row in found["plane"].values)
    records = json.loads(words["layers"])
    layers = tuple(
        PartitionLayer(**record, regions=int(regions), edge_length=float(length))
        for record, regions, length in zip(records, found["regions"].values, found["edge_length"].values, strict=True)
    )
    mesh = Mesh(
        xy=found["vertices"].values,
        made=found["made"].values,
        start=np.concatenate([[0], np.cumsum(found["corners"].values)]),
        loop=found["loop"].values,
        label=found["label"].values,
        ids=found["ancestor"].values,
        states=found["states"].values,
    )
    _require_sound(mesh, found)
    return Partition(
        plane=Plane(origin, u, v, _four(words["plane_bounds"])),
        bounds=_four(words["bounds"]),
        layers=layers,
        outputs=int(words["outputs"]),
        mesh=mesh,
        method=str(words["method"]),
        uncertain=int(words["uncertain"]),
        margin=float(words["margin"]),
        counting_rule=str(words["counting_rule"]),
        provenance=json.loads(words["provenance"]),
    )


def _require_sound(mesh: Mesh, found: xr.Dataset) -> None:
    """Every number that stands for a place in another array is one: compiled code looks there without asking."""
    stages, pieces = mesh.ids.shape[1], len(mesh.start) - 1
    numbers = [(mesh.loop, len(mesh.xy)), (found["region"].values, found.sizes["region_number"]), (mesh.ids, pieces)]
    inside = all(not array.size or 0 <= array.min() <= array.max() < most for array, most in numbers)
    whole = mesh.start[-1] == len(mesh.loop) and (not pieces or np.diff(mesh.start).min() > 0)
    if not inside or not whole or stages != found.sizes["layer"] + 1:
        raise ValueError("its polygons name vertices or regions that it does not hold")


def _four(values: Any) -> tuple[float, float, float, float]:
    a, b, c, d = (float(x) for x in values)
    return a, b, c, d
