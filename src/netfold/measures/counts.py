"""`count_regions`: how many activation regions a domain holds, without building them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture import Model, Program, capture
from netfold.errors import InvalidInputError
from netfold.exact.plane import TIE, PlaneTracer
from netfold.measures.provenance import provenance
from netfold.measures.tracing import trace_path
from netfold.paths import Path, Plane, rectangle

PLANE_RULE = (
    "activation regions: maximal connected sets of the rectangle, of positive area, on which every unit of every "
    f"hidden layer keeps its state; a vertex closer to a knot than {TIE:.1e} of the layer's scale counts as on it"
)


@dataclass(frozen=True)
class CountResult:
    """A number of regions, with how it was found; ``int(count)`` is the number.

    Attributes:
        regions: the number.
        by_layer: activation regions of the network cut off after each layer, one entry a layer; empty where the
            method does not find them.
        method: how it was counted, and ``domain`` where.
        uncertain: places where the count rests on the tolerance or on rounding: exact where 0.
        margin: the closest decision, as a share of the scale of the layer's values.
        counting_rule: what was counted.
        provenance: model, versions, number type, time.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", sigma_b=1.0, seed=0)
        >>> count = nf.count_regions(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
        >>> int(count) == count.by_layer[-1], count.status
        (True, 'exact')
    """

    regions: int
    by_layer: tuple[int, ...]
    method: str
    domain: str
    uncertain: int
    margin: float
    counting_rule: str
    provenance: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __int__(self) -> int:
        return self.regions

    def __index__(self) -> int:
        return self.regions

    @property
    def status(self) -> str:
        """``exact``, or what the count rests on."""
        return status_of(self.uncertain)


def status_of(uncertain: int) -> str:
    """``exact``, or how many decisions rest on the tolerance.

    Example:
        >>> status_of(0), status_of(2)
        ('exact', 'exact up to the tolerance, which decided in 2 places')
    """
    places = "1 place" if uncertain == 1 else f"{uncertain:,} places"
    return "exact" if uncertain == 0 else f"exact up to the tolerance, which decided in {places}"


def count_regions(
    model: Model, domain: Plane | Path, bounds: tuple[float, float, float, float] | None = None
) -> CountResult:
    """Count the activation regions that a domain holds, layer by layer, storing none of them.

    On a plane, polygons are cut layer by layer as `partition_plane` does; the last layer is only counted: a convex
    polygon cut by L lines with I crossings inside makes 1 + L + I pieces. On a path, regions are breakpoints + 1.

    Args:
        model: a piecewise-linear module in evaluation mode, or a captured program.
        domain: a `Plane`, or a path (`Line`, `Polyline`, `Arc`, `Circle`).
        bounds: the rectangle of the plane (a from, a to, b from, b to); the plane's own by default.

    Returns:
        The count.

    Raises:
        InvalidInputError: the domain is of another kind, or does not fit the model.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
        >>> _ = net[0].weight.data.copy_(torch.eye(2))
        >>> int(nf.count_regions(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1)))
        4
    """
    if isinstance(domain, Plane):
        return _on_plane(capture(model, shape=domain.shape), domain, rectangle(bounds or domain.bounds))
    if bounds is not None:
        raise InvalidInputError("bounds belong to a Plane; a path brings its own ends")
    if isinstance(domain, Path):
        return _on_path(model, domain)
    raise InvalidInputError(f"regions are counted on a Plane or on a path, got {type(domain).__name__}")


def corners_of(program: Program, plane: Plane, bounds: tuple[float, float, float, float]) -> tuple[torch.Tensor, Any]:
    """The rectangle's corners in input space, counter-clockwise, and their coordinates."""
    left, right, bottom, top = bounds
    xy: NDArray[np.float64] = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    return program.points(plane(xy[:, 0], xy[:, 1]), "the plane's points"), xy


def margins(tracer: PlaneTracer) -> tuple[int, float]:
    """Vertices, layer by layer, where the tolerance or rounding decided; the closest decision relative to its scale."""
    findings = tracer.findings[: len(tracer.regions)]
    uncertain = sum(found.uncertain for found in findings)
    scales = zip(findings, tracer.scales, strict=False)
    closest = [float(f.closest[0]) / scale for f, scale in scales if scale > 0]
    return uncertain, float(min(closest, default=np.inf))


def _on_plane(program: Program, plane: Plane, bounds: tuple[float, float, float, float]) -> CountResult:
    program.require_piecewise_linear()
    tracer = PlaneTracer(program, *corners_of(program, plane, bounds))
    tracer.run()
    uncertain, margin = margins(tracer)
    by_layer = tuple(int(n) for n in tracer.regions)
    return CountResult(
        regions=by_layer[-1] if by_layer else 1,
        by_layer=by_layer,
        method="polygons cut layer by layer in float64; last layer as 1 + lines + interior crossings",
        domain=f"plane, (a, b) in [{bounds[0]:g}, {bounds[1]:g}] x [{bounds[2]:g}, {bounds[3]:g}]",
        uncertain=uncertain,
        margin=margin,
        counting_rule=PLANE_RULE,
        provenance=provenance(program),
    )


def _on_path(model: Model, path: Path) -> CountResult:
    trace = trace_path(model, path, "exact")
    return CountResult(
        regions=trace.regions,
        by_layer=tuple(int(n) for n in trace.regions_by_layer),
        method="breakpoints in closed form + 1",
        domain=type(path).__name__.lower(),
        uncertain=trace.uncertain or 0,
        margin=trace.margin,
        counting_rule=trace.counting_rule,
        provenance=trace.provenance,
    )
