"""Sensitivities as tables and arrays, and the netCDF files that hold them."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from netfold.files import read_dataset, write_dataset
from netfold.sensitivity.result import Effect, PerturbedLayer, Sensitivity

FORMAT = "netfold sensitivity 1"

ARRAYS: dict[str, tuple[tuple[str, ...], str]] = {
    "values": (("layer", "strength", "repeat"), "metric with the layer perturbed"),
    "data_error": (("layer", "strength"), "standard error of the mean change over inputs, paired"),
    "output_change": (("layer", "strength"), "RMS change of the outputs over the RMS of the clean outputs"),
    "effect": (("layer", "strength"), "; ".join(f"{e.value}: {e.words}" for e in Effect)),
}
"""Variables with their dimensions and meaning; all without a unit of their own."""

WORDS = ("metric", "perturbation", "counting_rule")
NUMBERS = ("clean", "clean_error", "inputs")
FLAGS = ("higher_is_better", "stronger_upward")


def table(found: Sensitivity) -> pd.DataFrame:
    """One row a layer and strength."""
    loss, half = found.loss, found.interval
    rows = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "weights": layer.weights,
            "strength": strength,
            "mean": found.mean[i, s],
            "loss": loss[i, s],
            "low": loss[i, s] - half[i, s],
            "high": loss[i, s] + half[i, s],
            "output_change": found.output_change[i, s],
            "effect": Effect(found.effect[i, s]).words,
        }
        for i, layer in enumerate(found.layers)
        for s, strength in enumerate(found.strengths)
    ]
    return pd.DataFrame(rows)


def dataset(found: Sensitivity) -> xr.Dataset:
    """Everything as a dataset; words are attributes."""
    data = {
        name: (dims, getattr(found, name), {"long_name": meaning, "units": "1"})
        for name, (dims, meaning) in ARRAYS.items()
    }
    data["loss"] = (("layer", "strength"), found.loss, {"long_name": "how much worse the metric gets", "units": "1"})
    data["interval"] = (("layer", "strength"), found.interval, {"long_name": "half width, 95%", "units": "1"})
    coordinates: dict[str, Any] = {
        "layer": [layer.name for layer in found.layers],
        "kind": ("layer", np.array([layer.kind for layer in found.layers], object)),
        "weights": ("layer", np.array([layer.weights for layer in found.layers], np.int64)),
        "shared_with": ("layer", np.array([json.dumps(layer.shared_with) for layer in found.layers], object)),
        "strength": found.strengths,
    }
    attributes: dict[str, Any] = {"format": FORMAT}
    attributes |= {name: getattr(found, name) for name in (*WORDS, *NUMBERS)}
    attributes |= {name: int(getattr(found, name)) for name in FLAGS}
    attributes["provenance"] = json.dumps(found.provenance, default=str)
    return xr.Dataset(data, coordinates, attributes)


def write(found: Sensitivity, path: str | os.PathLike[str]) -> None:
    """Write to a netCDF-4 file, whole or not at all."""
    write_dataset(dataset(found), path)


def read(path: str | os.PathLike[str]) -> Sensitivity:
    """What `write` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        UntrustedFileError: the file is a pickle.
        CorruptFileError: the file is damaged, or holds something else.
    """
    return read_dataset(path, FORMAT, "sensitivity", _built)


def _built(stored: xr.Dataset) -> Sensitivity:
    columns = [stored[name].values.tolist() for name in ("layer", "kind", "weights", "shared_with")]
    layers = [PerturbedLayer(n, k, w, tuple(json.loads(s))) for n, k, w, s in zip(*columns, strict=True)]
    return Sensitivity(
        metric=str(stored.attrs["metric"]),
        perturbation=str(stored.attrs["perturbation"]),
        counting_rule=str(stored.attrs["counting_rule"]),
        higher_is_better=bool(stored.attrs["higher_is_better"]),
        stronger_upward=bool(stored.attrs["stronger_upward"]),
        values=stored["values"].values,
        data_error=stored["data_error"].values,
        output_change=stored["output_change"].values,
        effect=stored["effect"].values.astype(np.int64),
        clean=float(stored.attrs["clean"]),
        clean_error=float(stored.attrs["clean_error"]),
        inputs=int(stored.attrs["inputs"]),
        strengths=stored["strength"].values.astype(np.float64),
        layers=tuple(layers),
        provenance=json.loads(stored.attrs["provenance"]),
    )
