"""netfold: measure how expressive a neural network is.

A network folds its input space. netfold sweeps a path through a PyTorch model and measures, exactly where the
model is piecewise linear, the activation regions the path crosses, the transitions of every layer and the length
of the path's image layer by layer (Raghu et al., "On the Expressive Power of Deep Neural Networks", ICML 2017).
"""

from typing import TYPE_CHECKING, Any

from netfold import ranking, theory
from netfold.capture import Program, capture
from netfold.domains import Box, Polytope
from netfold.errors import (
    CaptureError,
    CorruptFileError,
    InvalidInputError,
    NetfoldError,
    NotExplicitError,
    NotPiecewiseLinearError,
    UntrustedFileError,
)
from netfold.measures.cell_counts import CountInterrupted
from netfold.measures.complexity import LocalComplexity, local_complexity
from netfold.measures.counts import CountResult, count_regions
from netfold.measures.ensembles import trace_ensemble
from netfold.measures.estimates import RegionEstimate, estimate_regions
from netfold.measures.partition import Partition
from netfold.measures.partitioning import partition_plane
from netfold.measures.patterns import PatternCount, SaturationWarning, count_patterns
from netfold.measures.region_graph import RegionGraph, region_graph
from netfold.measures.regions import Region, enumerate_regions
from netfold.measures.trace import Trace
from netfold.measures.traces import Traces
from netfold.measures.tracing import trace_path, trace_paths
from netfold.networks import random_network
from netfold.paths import Arc, Circle, Curve, Line, Plane, Polyline
from netfold.ranking import rank_correlation, score
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
from netfold.theory import bounds, diagnose
from netfold.training import SingleLayerTraining, TrajectoryRegularizer, monitors, train_single_layer

if TYPE_CHECKING:
    from netfold.reporting.page import report
    from netfold.sweep import Sweep

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


def __getattr__(name: str) -> Any:
    """`report` and `Sweep` are imported when first asked for: measurements need neither matplotlib nor joblib."""
    if name == "report":
        from netfold.reporting.page import report

        return report
    if name == "Sweep":
        from netfold.sweep import Sweep

        return Sweep
    raise AttributeError(f"module 'netfold' has no attribute {name!r}")
