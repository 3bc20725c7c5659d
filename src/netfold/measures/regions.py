"""`enumerate_regions`: the regions of R^m, a box or a polytope, one after the other; geometry when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import checked
from netfold.arrays import Floats, Ints
from netfold.capture import Model, Program
from netfold.domains import Box, Domain, Polytope
from netfold.errors import InvalidInputError
from netfold.exact.cells.choice import engine_for
from netfold.exact.cells.engine import Engine, all_cells
from netfold.exact.cells.network import CellNetwork
from netfold.exact.regions import geometry
from netfold.exact.regions.faces import Reduced, Sides, faces_of, reduced, sides_of, walls
from netfold.exact.regions.maps import RegionMaps
from netfold.results.base import Record, measured

BLOCK = 1 << 14
"""Decisions after which found regions are handed out."""


@dataclass(frozen=True, eq=False)
class RegionSource:
    """What the regions of one network in one domain share."""

    program: Program
    domain: Domain
    network: CellNetwork
    engine: Engine
    walls: Sides

    @staticmethod
    def of(program: Program, domain: Domain) -> RegionSource:
        """Prepare a network and a domain."""
        network = CellNetwork.of(program, domain)
        return RegionSource(program, domain, network, engine_for(network), walls(domain, program.input_shape))

    def __iter__(self) -> Iterator[Region]:
        """All regions; those found together are handed out together, so memory stays flat."""
        for found in all_cells(self.engine, BLOCK):
            assert found.cells is not None
            points = self.network.frame.lift(found.cells.points)
            for states, point in zip(found.cells.states, points, strict=True):
                yield Region(states, point, self)


class HalfSpaces(Record):
    """The half-spaces that bound a region, ``normals @ x <= offsets``, none of them implied by the others.

    ``nf.Polytope(h.normals, h.offsets)`` is the region's closure.
    """

    normals: Floats = measured("outward unit normals, of the model's input shape", ("halfspace", "..."))
    offsets: Floats = measured("largest ``normals @ x`` on the region", ("halfspace",), "units of the input space")
    layers: Ints = measured(
        "the layer, from 0, of the unit whose state ends there; -1 for the domain's own half-spaces", ("halfspace",)
    )
    units: Ints = measured("that unit", ("halfspace",))
    beyond: Ints = measured("the state of that unit on the other side", ("halfspace",))
    together: tuple[tuple[tuple[int, int], ...], ...] = measured(
        "for each half-space all pairs (layer, unit) that end there: more than one where units coincide"
    )

    def __len__(self) -> int:
        return len(self.offsets)


class Region(Record):
    """A full-dimensional activation region; what is not stored is worked out when it is first asked for."""

    states: NDArray[np.int16] = measured("the states of all units, layer by layer", ("unit",))
    interior_point: Floats = measured("a point strictly inside, of the model's input shape", ("...",))
    source: RegionSource = field(repr=False, compare=False)

    @cached_property
    def pattern(self) -> tuple[NDArray[np.int16], ...]:
        """The activation pattern: the states of the units, one array a layer.

        An elementwise unit's state is the number of knots below its pre-activation (ReLU: 0 off, 1 on), that of a
        unit that selects is the place of the entry that wins.
        """
        ends = self.source.network.arrays.unit_begin
        return tuple(self.states[a:b] for a, b in pairwise(ends))

    @property
    def uncertain(self) -> bool:
        """Whether the network's numbers are so large or small that products may leave the range of error bounds."""
        return self.source.network.extreme

    @cached_property
    def maps(self) -> RegionMaps:
        """Every pre-activation as an affine function of the input."""
        return RegionMaps(self.source.network.form, self.states)

    @property
    def weight(self) -> Floats:
        """The network on the region is ``weight @ x + bias``: ``(*output_shape, *input_shape)``."""
        program = self.source.program
        return self.maps.output.weight.reshape(*program.output_shape, *program.input_shape)

    @property
    def bias(self) -> Floats:
        """The constant of the network on the region, ``output_shape``."""
        return self.maps.output.bias.reshape(self.source.program.output_shape)

    @cached_property
    def sides(self) -> Sides:
        """All half-spaces that hold on the region, also those that others imply."""
        return sides_of(self.source.network.form, self.maps, self.source.walls)

    @cached_property
    def around(self) -> Reduced:
        """The half-spaces in the coordinates that they depend on, seen from the point inside."""
        return reduced(self.sides, self.interior_point.reshape(-1))

    @cached_property
    def halfspaces(self) -> HalfSpaces:
        """The half-spaces that bound the region, without those that the others imply."""
        faces = faces_of(self.maps, self.sides, self.around)
        kept = self.sides.take(faces.leaders)
        length = np.linalg.norm(kept.normals, axis=1)
        return HalfSpaces(
            normals=(-kept.normals / length[:, None]).reshape(len(kept), *self.interior_point.shape),
            offsets=kept.offsets / length,
            layers=kept.layers,
            units=kept.units,
            beyond=kept.rivals,
            together=tuple(
                tuple((int(self.sides.layers[i]), int(self.sides.units[i])) for i in group) for group in faces.groups
            ),
        )

    @cached_property
    def radius(self) -> float:
        """Inradius: the radius of the largest ball inside, in input space; infinite where there is none."""
        return geometry.inradius(self.maps, self.sides, self.around)

    @cached_property
    def bounded(self) -> bool:
        """Whether the region is bounded."""
        domain = self.source.domain
        if isinstance(domain, Box) and np.isfinite(domain.low).all() and np.isfinite(domain.high).all():
            return True
        return geometry.bounded(self.maps, self.sides, self.around)

    def volume(self) -> float:
        """Volume in input space; infinite where the region is not bounded, 0 where it is thinner than rounding.

        Raises:
            InvalidInputError: the input has more than `geometry.MOST` coordinates: volumes are found from corners,
                whose number grows with the power of the dimension.
        """
        if self.interior_point.size > geometry.MOST:
            raise InvalidInputError(
                f"volumes are worked out in up to {geometry.MOST} dimensions, this input has "
                f"{self.interior_point.size}; radius is there in any"
            )
        if not self.bounded:
            return math.inf
        h = self.halfspaces
        return geometry.volume(h.normals.reshape(len(h), -1), h.offsets, self.interior_point.reshape(-1))

    def polytope(self) -> Polytope:
        """The region as a domain."""
        return Polytope(self.halfspaces.normals, self.halfspaces.offsets)

    def __repr__(self) -> str:
        point = np.array2string(self.interior_point.reshape(-1)[:4], precision=3, separator=", ")
        return f"<region around {point}{' ...' if self.interior_point.size > 4 else ''}>"


@checked
def enumerate_regions(model: Model, domain: Domain = None, *, shape: Sequence[int] | None = None) -> Iterator[Region]:
    """Walk through all activation regions of R^m, a box or a polytope, in an order that never changes.

    Regions are found as `count_regions` finds them, every decision certified; memory does not grow with their number.
    Each knows its pattern and a point inside; half-spaces, inradius, volume and the output's affine map are worked
    out for the regions that are asked for them.

    Args:
        model: a piecewise-linear module in evaluation mode, or a captured program.
        domain: ``None`` for all of R^m, a `Box` or a `Polytope`.
        shape: the shape of one input; needed where neither the domain nor the first layer tells it.

    Returns:
        An iterator of `Region`.

    Raises:
        InvalidInputError: the domain is of another kind or does not fit the model.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> _ = net[0].weight.data.copy_(torch.eye(2))
        >>> regions = list(nf.enumerate_regions(net, nf.Box(-1.0, 2.0)))
        >>> sorted((r.pattern[0].tolist(), round(r.volume(), 6), len(r.halfspaces)) for r in regions)
        [([0, 0], 1.0, 4), ([0, 1], 2.0, 4), ([1, 0], 2.0, 4), ([1, 1], 4.0, 4)]
    """
    from netfold.measures.counts import program_on

    require_cells(domain, "regions are enumerated")
    return iter(RegionSource.of(program_on(model, domain, shape), domain))


def require_cells(domain: Domain, what: str) -> None:
    """Refuse a domain that is not full-dimensional.

    Raises:
        InvalidInputError: it is neither ``None`` nor a `Box` nor a `Polytope`.
    """
    if isinstance(domain, Box) and domain.flat:
        raise InvalidInputError("in a slice, a box with low = high in some entry, regions are counted, not handed out")
    if not (domain is None or isinstance(domain, Box | Polytope)):
        raise InvalidInputError(f"{what} in all of R^m (None), a Box or a Polytope, got {type(domain).__name__}")
