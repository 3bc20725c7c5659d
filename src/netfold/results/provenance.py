"""Where a number comes from: versions, model, machine and time, kept with every result."""

from __future__ import annotations

import datetime
import os
import platform
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch

from netfold.capture import Program


def provenance(program: Program, **more: Any) -> dict[str, Any]:
    """What made a result: netfold, torch and numpy versions, the model, number type, machine and time."""
    return {
        **surroundings(),
        "model": program.name,
        "parameters": program.parameters,
        "model_dtype": str(program.dtype).removeprefix("torch."),
        "computed_in": "float64",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    } | more


@lru_cache(maxsize=1)
def surroundings() -> dict[str, str]:
    """Versions and machine, read once."""
    return {
        "netfold": version("netfold"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
