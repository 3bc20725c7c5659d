"""netfold: measure how expressive a neural network is.

A network folds its input space. netfold sweeps a path through a PyTorch model and measures, exactly where the
model is piecewise linear, the activation regions the path crosses, the transitions of every layer and the length
of the path's image layer by layer (Raghu et al., "On the Expressive Power of Deep Neural Networks", ICML 2017).
"""

import importlib
from typing import TYPE_CHECKING, Any

from netfold.capture import Program, capture
from netfold.errors import (
    CaptureError,
    CorruptFileError,
    InvalidInputError,
    NetfoldError,
    NotExplicitError,
    NotPiecewiseLinearError,
    UntrustedFileError,
)
from netfold.measures.tracing import trace_path, trace_paths

if TYPE_CHECKING:
    from netfold.domains import Box, Polytope
    from netfold.measures.cell_counts import CountInterrupted
    from netfold.measures.complexity import local_complexity
    from netfold.measures.counts import count_regions
    from netfold.measures.ensembles import trace_ensemble
    from netfold.measures.estimates import RegionEstimate, estimate_regions
    from netfold.measures.partitioning import partition_plane
    from netfold.measures.patterns import PatternCount, SaturationWarning, count_patterns
    from netfold.measures.region_graph import RegionGraph, region_graph
    from netfold.measures.regions import Region, enumerate_regions
    from netfold.networks import random_network
    from netfold.paths import Arc, Circle, Curve, Line, Plane, Polyline
    from netfold.ranking import rank_correlation, score
    from netfold.reporting.page import report
    from netfold.results.complexity import LocalComplexity
    from netfold.results.counts import CountResult
    from netfold.results.partition import Partition
    from netfold.results.trace import Trace
    from netfold.results.traces import Traces
    from netfold.sensitivity import (
        GaussianNoise,
        Prune,
        Quantise,
        Reinitialise,
        Rerandomise,
        Sensitivity,
        Zero,
        layer_sensitivity,
    )
    from netfold.sensitivity.dichotomies import Dichotomies, count_dichotomies
    from netfold.sweep import Sweep
    from netfold.theory import bounds, diagnose
    from netfold.training import SingleLayerTraining, TrajectoryRegularizer, monitors, train_single_layer

__all__ = [
    "Arc",
    "Box",
    "CaptureError",
    "Circle",
    "CorruptFileError",
    "CountInterrupted",
    "CountResult",
    "Curve",
    "Dichotomies",
    "GaussianNoise",
    "InvalidInputError",
    "Line",
    "LocalComplexity",
    "NetfoldError",
    "NotExplicitError",
    "NotPiecewiseLinearError",
    "Partition",
    "PatternCount",
    "Plane",
    "Polyline",
    "Polytope",
    "Program",
    "Prune",
    "Quantise",
    "Region",
    "RegionEstimate",
    "RegionGraph",
    "Reinitialise",
    "Rerandomise",
    "SaturationWarning",
    "Sensitivity",
    "SingleLayerTraining",
    "Sweep",
    "Trace",
    "Traces",
    "TrajectoryRegularizer",
    "UntrustedFileError",
    "Zero",
    "bounds",
    "capture",
    "count_dichotomies",
    "count_patterns",
    "count_regions",
    "diagnose",
    "enumerate_regions",
    "estimate_regions",
    "layer_sensitivity",
    "local_complexity",
    "monitors",
    "partition_plane",
    "random_network",
    "rank_correlation",
    "ranking",
    "region_graph",
    "report",
    "score",
    "theory",
    "trace_ensemble",
    "trace_path",
    "trace_paths",
    "train_single_layer",
]

_HOMES = {
    "netfold.domains": ("Box", "Polytope"),
    "netfold.measures.cell_counts": ("CountInterrupted",),
    "netfold.measures.complexity": ("LocalComplexity", "local_complexity"),
    "netfold.measures.counts": ("CountResult", "count_regions"),
    "netfold.measures.ensembles": ("trace_ensemble",),
    "netfold.measures.estimates": ("RegionEstimate", "estimate_regions"),
    "netfold.results.partition": ("Partition",),
    "netfold.measures.partitioning": ("partition_plane",),
    "netfold.measures.patterns": ("PatternCount", "SaturationWarning", "count_patterns"),
    "netfold.measures.region_graph": ("RegionGraph", "region_graph"),
    "netfold.measures.regions": ("Region", "enumerate_regions"),
    "netfold.results.trace": ("Trace",),
    "netfold.results.traces": ("Traces",),
    "netfold.networks": ("random_network",),
    "netfold.paths": ("Arc", "Circle", "Curve", "Line", "Plane", "Polyline"),
    "netfold.ranking": ("rank_correlation", "score"),
    "netfold.reporting.page": ("report",),
    "netfold.sensitivity": (
        "GaussianNoise",
        "Prune",
        "Quantise",
        "Reinitialise",
        "Rerandomise",
        "Sensitivity",
        "Zero",
        "layer_sensitivity",
    ),
    "netfold.sensitivity.dichotomies": ("Dichotomies", "count_dichotomies"),
    "netfold.sweep": ("Sweep",),
    "netfold.theory": ("bounds", "diagnose"),
    "netfold.training": ("SingleLayerTraining", "TrajectoryRegularizer", "monitors", "train_single_layer"),
}
"""Where the other public names live. They are imported when first asked for, so that a measurement loads what it takes
and not what all others take."""


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name in ("ranking", "theory"):
        return importlib.import_module(f"netfold.{name}")
    for home, names in _HOMES.items():
        if name in names:
            found = getattr(importlib.import_module(home), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module 'netfold' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return __all__
