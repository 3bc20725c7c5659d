"""Results of training single layers as tables, datasets and netCDF files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.errors import CorruptFileError
from netfold.files import require_hdf5, write_atomically

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
    with write_atomically(path) as temporary:
        dataset(found).to_netcdf(temporary, engine="h5netcdf")


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a saved result.

    Raises:
        FileNotFoundError: there is no such file.
        UntrustedFileError: the file is a pickle.
        CorruptFileError: the file is damaged, or holds something else.
    """
    import xarray as xr

    require_hdf5(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            stored = opened.load()
        if stored.attrs.get("format") != FORMAT:
            raise KeyError(f"its format is {stored.attrs.get('format')!r}, not {FORMAT!r}")
        return {
            **{name: stored[name].values.astype(np.float64) for name in ARRAYS},
            "layers": tuple(stored["layer"].values.tolist()),
            "seeds": tuple(stored["seed"].values.tolist()),
            "weights": stored["weights"].values.astype(np.int64),
            "recipe": str(stored.attrs["recipe"]),
            "provenance": json.loads(stored.attrs["provenance"]),
        }
    except Exception as error:
        raise CorruptFileError(
            f"{path} cannot be read as a saved training of single layers ({type(error).__name__}: {error}); it is "
            "damaged or was written by something else: save it again"
        ) from error
