"""Measures of a user, which workers import by name."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from torch import nn

import netfold as nf
from netfold.paths import Path
from netfold.results.trace import Trace


def start_norm(network: nn.Module, path: Path, trace: Trace) -> float:
    """Norm of the output where the path starts, by a plain forward pass."""
    start = torch.tensor(path(0.0), dtype=torch.float32)
    return float(network(start[None]).detach().norm())


def widths(network: nn.Module, path: Path, trace: Trace) -> list[int]:
    """One number a layer."""
    return [layer.units for layer in trace.layers]


def words(network: nn.Module, path: Path, trace: Trace) -> Any:
    """No number."""
    return "many"


def fails_on_five(network: nn.Module, path: Path, trace: Trace) -> int:
    """An error on one width."""
    if trace.layers[0].units == 5:
        raise RuntimeError("five is\nright out")
    return 1


def kills_on_five(network: nn.Module, path: Path, trace: Trace) -> int:
    """What the kernel does to a process that takes too much memory, on one width."""
    if trace.layers[0].units == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


if "NETFOLD_TEST_WARM" in os.environ:
    # In a process that others are forked from: one trace loads everything they need.
    nf.trace_path(nf.random_network(inputs=2, width=2, depth=1), nf.Line([0.0, 1.0], [1.0, 0.0]))
