"""Layer sensitivity: what happens to a network when the weights of one layer alone are perturbed."""

from netfold.sensitivity.layers import WeightLayer, weight_layers
from netfold.sensitivity.measure import layer_sensitivity
from netfold.sensitivity.metrics import METRICS, Metric
from netfold.sensitivity.perturbations import (
    GaussianNoise,
    Perturbation,
    Prune,
    Quantise,
    Quantize,
    Reinitialise,
    Reinitialize,
    Rerandomise,
    Rerandomize,
    Weight,
    Zero,
)
from netfold.sensitivity.result import Effect, PerturbedLayer, Sensitivity

__all__ = [
    "METRICS",
    "Effect",
    "GaussianNoise",
    "Metric",
    "Perturbation",
    "PerturbedLayer",
    "Prune",
    "Quantise",
    "Quantize",
    "Reinitialise",
    "Reinitialize",
    "Rerandomise",
    "Rerandomize",
    "Sensitivity",
    "Weight",
    "WeightLayer",
    "Zero",
    "layer_sensitivity",
    "weight_layers",
]
