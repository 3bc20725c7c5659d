"""The figures of Raghu et al. 2017 and the corrections of later work, measured again.

Each experiment states its claims, measures them and lets the numbers decide. `experiments` lists all in the order of
the paper; `netfold reproduce` runs them and writes a page.
"""

from __future__ import annotations

from importlib import import_module

from netfold.reproduce.figure import Claim, Drawing, Experiment, Finding, Made, Settings, Verdict

__all__ = ["Claim", "Drawing", "Experiment", "Finding", "Made", "Settings", "Verdict", "experiments"]

MODULES: tuple[str, ...] = (
    "regions_plane",
    "depth_chain",
    "transitions_depth",
    "circle",
    "growth",
    "pooling",
    "transitions_length",
    "noise",
    "single_layer",
    "training",
    "batch_norm",
    "regularization",
    "dichotomies",
    "length_he",
    "regions_line",
)
"""Modules of this package in the order of the paper; each has one experiment or several."""


def experiments() -> dict[str, Experiment]:
    """Every experiment by name, in the order of the paper."""
    parts = [part for module in MODULES for part in vars(import_module(f"{__name__}.{module}")).values()]
    return {part.name: part for part in parts if isinstance(part, Experiment)}
