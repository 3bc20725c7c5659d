"""`partition_plane`: the exact partition of a rectangle of a plane into activation regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netfold.arguments import Positive, checked
from netfold.capture import Model, Program, capture
from netfold.capture.activations import Selection
from netfold.capture.splitting import exact_part
from netfold.errors import InvalidInputError
from netfold.exact.numerics.threads import aside
from netfold.exact.plane.mesh import Mesh, border_lengths
from netfold.exact.plane.tracer import PlaneTracer, corners_of, margins
from netfold.measures.counts import PLANE_RULE, part_rule
from netfold.measures.growing import growing
from netfold.measures.plane_proof import doubts_of, prove
from netfold.paths import Plane, rectangle
from netfold.results.partition import Partition, PartitionLayer
from netfold.results.provenance import provenance


@checked
def partition_plane(
    model: Model,
    plane: Plane,
    bounds: tuple[float, float, float, float] | None = None,
    *,
    certify: bool = False,
    seconds: Positive | None = None,
) -> Partition:
    """Cut a rectangle of a plane into the regions on which every unit of a network keeps its state.

    Inside a region every pre-activation is affine, so that units cut convex polygons along straight lines; layer by
    layer, vertices are run through the network and polygons cut where units change state, in float64 and without a
    grid. The polygons are cut along the decision boundary too. Where rounding may have decided something, the patterns
    found are held against those that exact arithmetic finds, if that takes no more than about a second.

    Of a network that is piecewise linear up to its last operations (a softmax, a normalisation of the output) it is the
    part before them that is cut, classes too, and the counting rule says so.

    Args:
        model: a module in evaluation mode, or a captured program; piecewise linear, or up to its last operations.
        plane: origin + a u + b v; ``Plane.through(x, y, z)`` for three inputs.
        bounds: the rectangle (a from, a to, b from, b to); the plane's own by default.
        certify: hold the patterns against those of exact arithmetic in any case, however long that takes.
        seconds: how long it may take, about. Larger and larger rectangles around the middle are then cut, and the last
            one that there is time for comes back, also after Ctrl-C; ``bounds`` and ``status`` say which it is.

    Returns:
        The partition: polygons, areas, neighbours, patterns, output maps, decision boundary.

    Raises:
        InvalidInputError: the plane does not fit the model, or the rectangle is empty.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: a certificate is asked of a network whose operations have no coefficients to read.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
        >>> _ = net[0].weight.data.copy_(torch.eye(2))
        >>> part = nf.partition_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
        >>> part.regions, part.areas.tolist()
        (4, [1.0, 1.0, 1.0, 1.0])
    """
    if not isinstance(plane, Plane):
        raise InvalidInputError(f"partition_plane takes a Plane, got {type(plane).__name__}; see nf.Plane.through")
    network = capture(model, shape=plane.shape)
    program = exact_part(network)
    chosen = rectangle(plane.bounds if bounds is None else bounds)

    def cut(rectangle: tuple[float, float, float, float]) -> Partition:
        return _cut(network, program, plane, rectangle, certify)

    part, found, why = growing(chosen, seconds, cut)
    return replace(part, wanted=chosen, stopped=why) if found != chosen else part


def _cut(
    network: Program, program: Program, plane: Plane, chosen: tuple[float, float, float, float], certify: bool
) -> Partition:
    tracer = PlaneTracer(program, *corners_of(program, plane, chosen), keep=True)
    tracer.run()
    mesh, proof = tracer.sink.mesh(), prove(tracer, plane, chosen, certify)
    part = Partition(
        plane=plane,
        bounds=chosen,
        layers=_records(program, tracer, mesh, plane),
        outputs=int(np.prod(program.output_shape, dtype=np.int64)),
        mesh=mesh,
        method="polygons cut layer by layer in float64",
        uncertain=doubts_of(tracer),
        margin=margins(tracer),
        counting_rule=PLANE_RULE + part_rule(network),
        provenance=provenance(program),
        program=program,
    )
    if proof is None:
        return part
    differ = proof.differ(np.hstack(part.states)) if part.states else 0
    return replace(part, uncertain=differ + proof.uncertain, resolved=proof.doubts)


def _records(program: Program, tracer: PlaneTracer, mesh: Mesh, plane: Plane) -> tuple[PartitionLayer, ...]:
    sides = mesh.xy, mesh.loop, mesh.heads, mesh.label, mesh.edge_layers
    lengths = aside(border_lengths, *sides, plane.frame, len(program.layers) + 1)
    return tuple(
        PartitionLayer(
            name=layer.name,
            op=layer.op,
            units=layer.units,
            label=layer.label,
            planes=tracer.layers[i].planes,
            selects=isinstance(layer.rule, Selection),
            regions=int(tracer.regions[i]),
            edge_length=float(lengths[i]),
        )
        for i, layer in enumerate(program.layers)
    )
