"""netfold: measure how expressive a neural network is.

A network folds its input space. netfold sweeps a path through a PyTorch model and measures, exactly where the
model is piecewise linear, the activation regions the path crosses, the transitions of every layer and the length
of the path's image layer by layer (Raghu et al., "On the Expressive Power of Deep Neural Networks", ICML 2017).
"""

from typing import TYPE_CHECKING, Any

from netfold import theory
from netfold.capture import Program, capture
from netfold.errors import (
    CaptureError,
    CorruptFileError,
    InvalidInputError,
    NetfoldError,
    NotPiecewiseLinearError,
    UntrustedFileError,
)
from netfold.measures.trace import Trace
from netfold.measures.traces import Traces
from netfold.measures.tracing import trace_path, trace_paths
from netfold.networks import random_network
from netfold.paths import Arc, Circle, Curve, Line, Polyline
from netfold.theory import bounds

if TYPE_CHECKING:
    from netfold.reporting.page import report

__all__ = [
    "Arc",
    "CaptureError",
    "Circle",
    "CorruptFileError",
    "Curve",
    "InvalidInputError",
    "Line",
    "NetfoldError",
    "NotPiecewiseLinearError",
    "Polyline",
    "Program",
    "Trace",
    "Traces",
    "UntrustedFileError",
    "bounds",
    "capture",
    "random_network",
    "report",
    "theory",
    "trace_path",
    "trace_paths",
]


def __getattr__(name: str) -> Any:
    """`report` is imported when it is first asked for: it needs matplotlib, which measurements do not."""
    if name == "report":
        from netfold.reporting.page import report

        return report
    raise AttributeError(f"module 'netfold' has no attribute {name!r}")
