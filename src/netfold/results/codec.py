"""Traces as labelled tables and arrays, and the netCDF files that hold them."""

from __future__ import annotations

import html as escaping
import json
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from netfold.files import read_dataset
from netfold.results.trace import LayerRecord, OutputRecord, Trace

COUNTS = ("transitions", "sign_transitions", "saturation_passages")
MAGNITUDES = ("length", "growth", "angular_length", "turning")
CERTIFIED = ("doubtful", "resolved", "uncertain")
WORDS = ("method", "status", "counting_rule", "provenance")

UNITS = {
    "transitions": ("state switches, summed over units", "1"),
    "sign_transitions": ("pre-activations crossing 0, summed over units", "1"),
    "saturation_passages": ("passages from one saturated state to the other", "1"),
    "length": ("Euclidean length of the image after the layer", "units of the layer's space"),
    "growth": ("length over the length before the layer", "1"),
    "angular_length": ("length of the image on the unit sphere", "rad"),
    "turning": ("total absolute turning angle of the image", "rad"),
    "regions": ("activation regions crossed", "1"),
    "patterns": ("distinct activation patterns met", "1"),
    "linear_pieces": ("maximal pieces with one affine (on arcs: harmonic) output", "1"),
    "breakpoints": ("path parameter t where a unit changes its state", "1"),
    "breakpoint_layers": ("first layer in which a unit changes there, from 0", "1"),
    "input_length": ("Euclidean length of the path", "units of the input space"),
    "output_length": ("Euclidean length of the output's image", "units of the output space"),
    "output_angular_length": ("length of the output's image on the unit sphere", "rad"),
    "output_turning": ("total absolute turning angle of the output's image", "rad"),
    "class_changes": ("path parameter t where the class changes", "1"),
    "classes": ("class on each stretch between class changes", "1"),
    "sign_changes": ("sign changes of each output", "1"),
    "error": ("estimated absolute error of each length", "units of the stage's space"),
    "margin": ("closest sign decision, relative to its own scale", "1"),
    "doubtful": ("places that float64 leaves undecided; -1 where not certified", "1"),
    "resolved": ("those decided in higher precision or rational arithmetic; -1 where not certified", "1"),
    "uncertain": ("those that stay undecided; -1 where not certified", "1"),
}
"""What every variable means and its unit, for the attributes of datasets."""

FORMAT = "netfold traces 1"


def table(trace: Trace) -> pd.DataFrame:
    """A trace as a table: input, layers, output."""
    names = ["input", *(layer.name for layer in trace.layers), "output"]
    ops = ["", *(layer.op for layer in trace.layers), ""]
    frame = pd.DataFrame({"layer": range(len(names)), "name": names, "op": ops})
    frame["units"] = _whole([None, *(layer.units for layer in trace.layers), trace.output.size])
    for count in COUNTS:
        last = int(trace.output.sign_changes.sum()) if count == "sign_transitions" else None
        frame[count] = _whole([None, *(getattr(layer, count) for layer in trace.layers), last])
    frame["regions"] = _whole([None, *trace.regions_by_layer.tolist(), None])
    frame["length"] = trace.lengths
    frame["error"] = trace.error
    with np.errstate(divide="ignore", invalid="ignore"):
        frame["growth"] = np.concatenate([[np.nan], trace.lengths[1:] / trace.lengths[:-1]])
    for angle in ("angular_length", "turning"):
        frame[angle] = [
            np.nan,
            *(getattr(layer, angle) for layer in trace.layers),
            getattr(trace.output, angle),
        ]
    return frame


def dataset(trace: Trace) -> xr.Dataset:
    """A trace as a dataset without a path dimension; its words are attributes."""
    stacked = stack([trace]).squeeze("path")
    attributes = {word: str(stacked[word].values) for word in WORDS}
    whose = [name for name in stacked.variables if str(name).endswith("_path")]
    return stacked.drop_vars([*WORDS, *whose]).assign_attrs(attributes)


def stack(traces: Sequence[Trace]) -> xr.Dataset:
    """Traces of one network as one dataset; breakpoints and class changes of all paths follow each other."""
    first = traces[0]
    data: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name in ("regions", "patterns", "linear_pieces"):
        data[name] = (("path",), np.array([getattr(t, name) for t in traces], np.int64))
    data["input_length"] = (("path",), np.array([t.input_length for t in traces]))
    data["margin"] = (("path",), np.array([t.margin for t in traces]))
    for name in CERTIFIED:
        known = [getattr(t, name) for t in traces]
        data[name] = (("path",), np.array([-1 if value is None else value for value in known], np.int64))
    for name in COUNTS:
        data[name] = (("path", "layer"), _by_layer(traces, name, np.int64))
    for name in MAGNITUDES:
        data[name] = (("path", "layer"), _by_layer(traces, name, np.float64))
        if name != "growth":
            data[f"output_{name}"] = (("path",), np.array([getattr(t.output, name) for t in traces]))
    data["error"] = (("path", "stage"), np.stack([t.error for t in traces]))
    data["sign_changes"] = (("path", "output"), np.stack([t.output.sign_changes for t in traces]))
    data |= _ragged("breakpoint", {name: [getattr(t, name) for t in traces] for name in _BREAKPOINTS})
    data |= _ragged("class_change", {"class_changes": [t.output.class_changes for t in traces]})
    data |= _ragged("stretch", {"classes": [t.output.classes for t in traces]})
    for word in ("method", "status", "counting_rule"):
        data[word] = (("path",), _text([getattr(t, word) for t in traces]))
    data["provenance"] = (("path",), _text([json.dumps(t.provenance, default=_plain) for t in traces]))
    found = xr.Dataset(data, coords=_coordinates(first), attrs={"format": FORMAT})
    for name, (meaning, unit) in UNITS.items():
        found[name].attrs.update(long_name=meaning, units=unit)
    return found


_BREAKPOINTS = ("breakpoints", "breakpoint_layers")
_RAGGED_ROWS = dict.fromkeys(_BREAKPOINTS, "breakpoint") | {
    "class_changes": "class_change",
    "classes": "stretch",
}


def unstack(found: xr.Dataset) -> list[Trace]:
    """The traces that `stack` made a dataset of."""
    ragged = {name: _rows(found, name, dim) for name, dim in _RAGGED_ROWS.items()}
    return [
        _trace(found.isel(path=p), {name: rows[p] for name, rows in ragged.items()}) for p in range(found.sizes["path"])
    ]


def _trace(one: xr.Dataset, ragged: dict[str, NDArray[Any]]) -> Trace:
    """A trace from its slice of the dataset, and its own rows of the variables that differ in length."""
    output = OutputRecord(
        size=one.sizes["output"],
        length=float(one["output_length"]),
        angular_length=float(one["output_angular_length"]),
        turning=float(one["output_turning"]),
        class_changes=ragged["class_changes"],
        classes=ragged["classes"],
        sign_changes=one["sign_changes"].values.astype(np.int64),
    )
    return Trace(
        regions=int(one["regions"]),
        patterns=int(one["patterns"]),
        linear_pieces=int(one["linear_pieces"]),
        breakpoints=ragged["breakpoints"],
        breakpoint_layers=ragged["breakpoint_layers"],
        layers=_records(one),
        output=output,
        input_length=float(one["input_length"]),
        method=str(one["method"].values),
        error=one["error"].values.astype(np.float64),
        status=str(one["status"].values),
        margin=float(one["margin"]),
        counting_rule=str(one["counting_rule"].values),
        **{name: int(one[name]) if one[name] >= 0 else None for name in CERTIFIED},
        provenance=json.loads(str(one["provenance"].values)),
    )


def _records(one: xr.Dataset) -> tuple[LayerRecord, ...]:
    names = [f.name for f in fields(LayerRecord)]
    columns = [one[name].values.tolist() for name in names]
    return tuple(LayerRecord(*row) for row in zip(*columns, strict=True))


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """The one trace in a file."""
    return read_dataset(path, FORMAT, "trace", _single)


def read_traces(path: str | os.PathLike[str], group: str | None = None) -> list[Trace]:
    """The traces in a file, or in one of its groups."""
    return read_dataset(path, FORMAT, "trace", _several, group)


def html(title: str, frame: pd.DataFrame, note: str) -> str:
    """A table with a title and a note, for notebooks."""
    body = frame.to_html(index=False, float_format=lambda v: f"{v:.4g}", na_rep="", border=0, max_rows=40)
    title, note = escaping.escape(title, quote=False), escaping.escape(note, quote=False)
    return f"<p><strong>{title}</strong></p>{body}<p><small>{note}</small></p>"


def _single(found: xr.Dataset) -> Trace:
    if "path" in found.dims:
        raise KeyError("it holds many traces: use Traces.load")
    words = {word: ((), found.attrs[word]) for word in WORDS}
    paths = {
        f"{dim}_path": ((dim,), np.zeros(found.sizes[dim], np.int64)) for dim in dict.fromkeys(_RAGGED_ROWS.values())
    }
    whole = found.assign(words).map(lambda v: v if v.name in _RAGGED_ROWS else v.expand_dims("path"))
    return unstack(whole.assign(paths))[0]


def _several(found: xr.Dataset) -> list[Trace]:
    if "path" not in found.dims:
        raise KeyError("it holds a single trace: use Trace.load")
    return unstack(found)


def _ragged(dim: str, rows: dict[str, list[NDArray[Any]]]) -> dict[str, tuple[tuple[str, ...], Any]]:
    sizes = [len(row) for row in next(iter(rows.values()))]
    joined = {name: ((dim,), np.concatenate(values)) for name, values in rows.items()}
    return {**joined, f"{dim}_path": ((dim,), np.repeat(np.arange(len(sizes)), sizes))}


def _rows(found: xr.Dataset, name: str, dim: str) -> list[NDArray[Any]]:
    sizes = np.bincount(found[f"{dim}_path"].values.astype(np.int64), minlength=found.sizes["path"])
    return np.split(found[name].values, np.cumsum(sizes)[:-1])


def _by_layer(traces: Sequence[Trace], name: str, dtype: type) -> NDArray[Any]:
    values = [[getattr(layer, name) for layer in trace.layers] for trace in traces]
    return np.array(values, dtype).reshape(len(traces), len(traces[0].layers))


def _coordinates(trace: Trace) -> dict[str, tuple[str, Any]]:
    stages = ["input", *(layer.name for layer in trace.layers), "output"]
    return {
        "layer": ("layer", np.arange(1, len(trace.layers) + 1)),
        "name": ("layer", _text([layer.name for layer in trace.layers])),
        "op": ("layer", _text([layer.op for layer in trace.layers])),
        "units": ("layer", np.array([layer.units for layer in trace.layers], np.int64)),
        "stage_name": ("stage", _text(stages)),
    }


def _text(words: list[str]) -> NDArray[Any]:
    return np.array(words, dtype=object) if words else np.array([], dtype="U1")


def _whole(values: Sequence[int | None]) -> pd.Series:
    return pd.Series(list(values), dtype="Int64")


def _plain(value: Any) -> Any:
    """What JSON has no form for: numpy numbers and arrays become numbers, anything else text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
