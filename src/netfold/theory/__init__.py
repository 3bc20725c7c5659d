"""Theory of random networks: mean field, growth of curves, expected transitions, bounds on regions.

`diagnose` and `bounds.of` read a given network; `compare` puts theory beside what was measured.
"""

import importlib
from typing import Any

from netfold.theory.activations import (
    Activation,
    Custom,
    PiecewiseLinear,
    as_activation,
    hard_tanh,
    leaky_relu,
)
from netfold.theory.criticality import critical_sigma_w
from netfold.theory.crossings import (
    CrossingRate,
    angular_length,
    crossing_rate,
    expected_sign_transitions,
    kac_rice,
)
from netfold.theory.curvature import CurvatureGrowth, curvature_growth
from netfold.theory.diagnose import diagnose
from netfold.theory.diagnosis import Diagnosis, LayerDiagnosis
from netfold.theory.ensemble import Scale, WeightStatistics
from netfold.theory.fixed_points import Phase, Status
from netfold.theory.growth import LengthGrowth, Method, length_growth
from netfold.theory.mean_field import MeanField, mean_field
from netfold.theory.phase_diagram import PhaseDiagram, phase_diagram
from netfold.theory.published_growth import hanin2022, price_tanner2019, raghu2017_growth

__all__ = [
    "Activation",
    "ComparedNumber",
    "Comparison",
    "CrossingRate",
    "CurvatureGrowth",
    "Custom",
    "Diagnosis",
    "Expectation",
    "Law",
    "LayerDiagnosis",
    "LengthGrowth",
    "MeanField",
    "Method",
    "Phase",
    "PhaseDiagram",
    "PiecewiseLinear",
    "Scale",
    "Status",
    "WeightStatistics",
    "angular_length",
    "as_activation",
    "bounds",
    "compare",
    "critical_sigma_w",
    "crossing_rate",
    "curvature_growth",
    "diagnose",
    "expect",
    "expected_sign_transitions",
    "hanin2022",
    "hard_tanh",
    "kac_rice",
    "leaky_relu",
    "length_growth",
    "mean_field",
    "phase_diagram",
    "price_tanner2019",
    "raghu2017_growth",
]

_COMPARISON = {
    "columns": ("ComparedNumber",),
    "compare": ("Comparison", "compare"),
    "expectation": ("Expectation", "Law", "expect"),
}
"""Promised here, at home in `netfold.comparison`, which stands above results and theory alike: found by name."""


def __getattr__(name: str) -> Any:
    """A promised name of another room, or a module of this one."""
    for module, names in _COMPARISON.items():
        if name in names:
            return getattr(importlib.import_module(f"netfold.comparison.{module}"), name)
    if name == "bounds":
        return importlib.import_module("netfold.theory.bounds")
    raise AttributeError(f"module 'netfold.theory' has no attribute {name!r}")
