"""Results as plain numbers and words, without what differs from run to run."""

from __future__ import annotations

import atexit
import dataclasses
import enum
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import Tensor

import netfold as nf

Found = Iterator[tuple[str, Any]]
"""Keys and values; the text of a result has a key that begins with `TEXT`."""

DROPPED = {"provenance", "seconds", "capture_seconds", "time", "runs", "decisions", "resolved_exactly", "program"}
DROPPED |= {"plane", "mesh", "function", "store", "run", "versions", "netfold", "created", "machine"}
"""Fields, columns and attributes that differ from run to run, or that are no numbers."""

DATES = r"\d{4}-\d\d-\d\d[T ][\d:.+]*"
TIMES = r"seconds=[\d.e-]+|\b\d+(?:\.\d+)? ?(?:ms|s|seconds?|minutes?|min)\b"
TIME = re.compile(f"{DATES}|{TIMES}|0x[0-9a-f]{{6,}}")
"""What differs from run to run in words: dates, times, addresses in memory."""
TEXT = "text: "
FOLDER = Path(tempfile.mkdtemp(prefix="numbers-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
SHORT = "transitions sign_transitions lengths growth regions_by_layer"


def plain(value: Any) -> Any:
    """Results as nested dictionaries and lists of numbers and words."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, nf.bounds.Bound | nf.bounds.Expectation):
        number = int(value) if isinstance(value, int) else float(value)
        words = {name: str(getattr(value, name)) for name in ("kind", "counts", "assumes", "source")}
        return {"value": number, "log10": value.log10, **words}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return plain(value.tolist())
    if value is None or value is pd.NA or isinstance(value, bool | int | float):
        return None if value is pd.NA else value
    if isinstance(value, str | Path | Fraction):
        return TIME.sub("TIME", str(value).replace(str(FOLDER), "FOLDER"))
    if isinstance(value, pd.DataFrame):
        return plain({"index": value.index.tolist(), **{str(name): value[name].tolist() for name in value}})
    if isinstance(value, xr.Dataset | xr.DataArray):
        parts = dict(value.variables) if isinstance(value, xr.Dataset) else {"values": value.variable}
        arrays = {str(n): {"dims": v.dims, "values": v.values, "attrs": dict(v.attrs)} for n, v in parts.items()}
        return plain({"attrs": dict(value.attrs), **arrays})
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
        return plain({name: getattr(value, name) for name in names if name not in DROPPED})
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(v) for key, v in value.items() if str(key) not in DROPPED}
    return [plain(v) for v in value]


def told(key: str, result: Any, names: str = "", *, texts: bool = True) -> Found:
    """A result: its fields, further properties by name, and what it prints as."""
    found = plain(result)
    further = {name: plain(getattr(result, name)) for name in names.split()}
    yield key, {**found, **further} if names else found
    if texts:
        yield f"{TEXT}{key} repr", repr(result)
        if type(result).__str__ is not object.__str__:
            yield f"{TEXT}{key} str", str(result)
        if hasattr(result, "_repr_html_"):
            yield f"{TEXT}{key} html", result._repr_html_()


def kept(key: str, result: Any, names: str = "") -> Found:
    """Tables of a result, and whether it survives a file."""
    yield f"{key} dataframe", result.to_dataframe()
    if hasattr(result, "to_xarray"):
        yield f"{key} xarray", result.to_xarray()
    if hasattr(result, "save"):
        result.save(FOLDER / "kept.nc")
        again = type(result).load(FOLDER / "kept.nc")
        shown = [next(told(key, one, names)) for one in (again, result)]
        # Text, because NaN is not equal to itself.
        yield f"{key} loaded is saved", json.dumps(shown[0]) == json.dumps(shown[1])
        yield f"{key} loaded", shown[0][1]


def tried(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A result, or the class of the error where it is refused."""
    try:
        return call(*arguments, **options)
    except nf.NetfoldError as error:
        return type(error).__name__
