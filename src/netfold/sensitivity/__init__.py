"""Layer sensitivity: what happens to a network when the weights of one layer alone are perturbed."""

from netfold.sensitivity.layers import WeightLayer, weight_layers
from netfold.sensitivity.measure import layer_sensitivity
from netfold.sensitivity.metrics import METRICS, Metric
from netfold.sensitivity.perturbations import (
    GaussianNoise,
    Perturbation,
    Prune,
    Quantise,
    QuantiseActivations,
    Quantize,
    QuantizeActivations,
    Reinitialise,
    Reinitialize,
    Rerandomise,
    Rerandomize,
    Weight,
    Zero,
)
from netfold.sensitivity.planned import BitPlan, PlannedLayer
from netfold.sensitivity.planning import bit_plan
from netfold.sensitivity.result import Effect, PerturbedLayer, Sensitivity

__all__ = [
    "METRICS",
    "BitPlan",
    "Effect",
    "GaussianNoise",
    "Metric",
    "Perturbation",
    "PerturbedLayer",
    "PlannedLayer",
    "Prune",
    "Quantise",
    "QuantiseActivations",
    "Quantize",
    "QuantizeActivations",
    "Reinitialise",
    "Reinitialize",
    "Rerandomise",
    "Rerandomize",
    "Sensitivity",
    "Weight",
    "WeightLayer",
    "Zero",
    "bit_plan",
    "layer_sensitivity",
    "weight_layers",
]
