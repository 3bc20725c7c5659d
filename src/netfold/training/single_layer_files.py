"""Results of training single layers as tables, datasets and netCDF files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.files import read_dataset, write_dataset

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from netfold.training.single_layer import SingleLayerTraining

FORMAT = "netfold single layer training 1"
NONE = "none"
ARRAYS = {
    "train": ("layer", "seed"),
    "test": ("layer", "seed"),
    "untrained": ("part", "seed"),
    "whole": ("part", "seed"),
}


def table(found: SingleLayerTraining) -> pd.DataFrame:
    """One row a layer and seed, between those of no layer and of all."""
    import pandas as pd

    named = [(NONE, *found.untrained), *zip(found.layers, found.train, found.test, strict=True), ("all", *found.whole)]
    rows = [
        {"layer": name, "seed": seed, "train": a, "test": b}
        for name, train, test in named
        for seed, a, b in zip(found.seeds, train, test, strict=True)
    ]
    return pd.DataFrame(rows)


def dataset(found: SingleLayerTraining) -> xr.Dataset:
    """Everything as a dataset."""
    import xarray as xr

    data = {
        name: (dims, getattr(found, name), {"long_name": "accuracy", "units": "1"}) for name, dims in ARRAYS.items()
    }
    coordinates = {
        "layer": list(found.layers),
        "seed": list(found.seeds),
        "part": ["train", "test"],
        "weights": ("layer", found.weights),
    }
    attributes = {"format": FORMAT, "recipe": found.recipe, "provenance": json.dumps(found.provenance, default=str)}
    return xr.Dataset(data, coordinates, attributes)


def write(found: SingleLayerTraining, path: str | os.PathLike[str]) -> None:
    """Write to a netCDF-4 file, whole or not at all."""
    write_dataset(dataset(found), path)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a saved result.

    Raises:
        FileNotFoundError: there is no such file.
        UntrustedFileError: the file is a pickle.
        CorruptFileError: the file is damaged, or holds something else.
    """
    return read_dataset(path, FORMAT, "training of single layers", _fields)


def _fields(stored: xr.Dataset) -> dict[str, Any]:
    return {
        **{name: stored[name].values.astype(np.float64) for name in ARRAYS},
        "layers": tuple(stored["layer"].values.tolist()),
        "seeds": tuple(stored["seed"].values.tolist()),
        "weights": stored["weights"].values.astype(np.int64),
        "recipe": str(stored.attrs["recipe"]),
        "provenance": json.loads(stored.attrs["provenance"]),
    }
