"""A network prepared for splitting cells: its skip form on a frame of coordinates, in float64 and exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Bools, Floats, Ints
from netfold.capture.activations import Selection
from netfold.capture.program import Layer, Program
from netfold.domains import Box, Domain
from netfold.exact.cells.frame import Frame, frame_of
from netfold.exact.matrices.coefficients import Pieces
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.matrices.forced import ForcedRows
from netfold.exact.matrices.skip import Rows, SkipForm, joined
from netfold.exact.numerics.threads import beside

States = NDArray[np.int16]
"""States of all units, in network order."""


class Arrays(NamedTuple):
    """A network in skip form: every pre-activation in terms of the frame's coordinates and earlier units.

    Row ``r`` is ``const[r] + sum(val[e] * z[col[e]] for e in range(ptr[r], ptr[r + 1]))``. Slots ``z[0:m]`` hold the
    coordinates of the point, slot ``z[m + u]`` the output of unit ``u``. Units are numbered over the whole network,
    layer by layer.

    Attributes:
        m: number of coordinates.
        ptr: where the entries of every row begin, ``(rows + 1,)``; their slots are ``col`` and their values ``val``.
        const: constant of every row.
        slack: bound on the relative error of a row's stored coefficients; 0 where they are exact.
        full: for every layer whose rows take every unit of the layer before and nothing else, where its matrix begins
            in ``full_values``, transposed: a unit's weights in all rows, then the next unit's; otherwise -1.
        row_begin: first row of every layer, ``(layers + 1,)``, and ``unit_begin`` its first unit.
        selects: whether the units of a layer select one of several rows; otherwise unit ``i`` of a layer applies a
            piecewise-linear function to the layer's row ``i``.
        largest: whether a selecting layer takes the largest row, or the smallest.
        pieces: number of states of every unit.
        knots: knots of elementwise units, ``(units, K)``, increasing, padded with infinity.
        slopes: slope on every piece, ``(units, K + 1)``, padded with 0, and ``offsets`` likewise.
        candidates: rows that a selecting unit chooses from, ``(units, C)``, padded with -1.
        order: the units in the order in which they are decided; layer by layer.
    """

    m: int
    ptr: Ints
    col: Ints
    val: Floats
    const: Floats
    slack: Floats
    full: Ints
    full_values: Floats
    row_begin: Ints
    unit_begin: Ints
    selects: Bools
    largest: Bools
    pieces: Ints
    knots: Floats
    slopes: Floats
    offsets: Floats
    candidates: Ints
    order: Ints


FAR = 256
"""Powers of two within which the numbers of a network are, lest products of a few of them overflow or underflow."""


@dataclass(frozen=True, eq=False)
class CellNetwork:
    """A piecewise-linear network on a domain.

    Attributes:
        arrays: its rows and units on the frame, in float64, for compiled code.
        rows: the pre-activation rows of every layer, over the slots of the frame.
        walls: half-spaces of the domain, ``(walls, m + 1)``: the last entry of a row is its constant, and the domain
            is where every row is at least 0. They are meant exactly.
        frame: the coordinates, and how they stand in input space.
        homogeneous: whether the domain is all of the space and no row has a constant and no knot differs from 0, so
            that every cell is a cone with its tip at the origin.
        form: the skip form over all input coordinates.
        domain: the domain.
    """

    arrays: Arrays
    rows: tuple[Rows, ...]
    walls: Floats
    frame: Frame
    homogeneous: bool
    form: SkipForm
    domain: Domain

    @staticmethod
    @beside
    def of(program: Program, domain: Domain = None) -> CellNetwork:
        """Prepare a program for splitting a domain into its activation regions.

        Raises:
            NotPiecewiseLinearError: the program is not piecewise linear.
            NotExplicitError: an operation has no matrix with known coefficients.
            InvalidInputError: the domain does not fit the input shape.
        """
        return CellNetwork.within(SkipForm.of(ExplicitProgram.of(program)), program.input_shape, domain)

    @staticmethod
    @beside
    def on_plane(program: Program, origin: Floats, directions: Floats, low: Floats, high: Floats) -> CellNetwork:
        """Prepare a program for splitting a rectangle of the plane ``origin + a directions[0] + b directions[1]``.

        Raises:
            NotPiecewiseLinearError: the program is not piecewise linear.
            NotExplicitError: an operation has no matrix with known coefficients.
        """
        form = SkipForm.of(ExplicitProgram.of(program)).along(origin, directions)
        return CellNetwork.within(form, (2,), Box(low, high))

    @staticmethod
    def within(form: SkipForm, shape: tuple[int, ...], domain: Domain) -> CellNetwork:
        """A skip form on a domain."""
        inputs = np.arange(form.inputs)
        if isinstance(domain, Box) and domain.flat:
            low, high = domain.limits(shape)
            form = form.pinned(np.flatnonzero(low == high), low)
        frame, walls = frame_of([rows.only(inputs) for rows in form.rows], shape, domain)
        return CellNetwork.on(form, frame, walls, domain)

    @staticmethod
    def on(form: SkipForm, frame: Frame, walls: Floats, domain: Domain) -> CellNetwork:
        """A skip form on a frame."""
        slots = np.concatenate([frame.coordinates, np.arange(form.inputs, form.output.slots)])
        rows = tuple(r.only(slots) for r in form.rows)
        whole = joined(list(rows)) if rows else form.output.only(slots).take(np.arange(0))
        arrays = _arrays(form.layers, [len(r) for r in rows], whole, frame.m)
        flat = (arrays.const == 0).all() and (~np.isfinite(arrays.knots) | (arrays.knots == 0)).all()
        return CellNetwork(arrays, rows, walls, frame, bool(flat) and domain is None, form, domain)

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.arrays.pieces)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The nonlinearities."""
        return self.form.layers

    @cached_property
    def extreme(self) -> bool:
        """Whether products of its numbers may leave the range in which float64 rounds by a share of them."""
        of = self.arrays
        numbers = (of.val, of.const, of.knots, of.slopes, of.offsets, self.walls)
        exponents = np.concatenate([np.frexp(v[np.isfinite(v) & (v != 0)])[1].ravel() for v in numbers])
        return bool((np.abs(exponents) > FAR).any())

    @property
    def rational(self) -> bool:
        """Whether all coefficients are rational numbers, so that every tie is decided as it stands."""
        return self.form.rational

    def forced_rows(self) -> ForcedRows:
        """The pre-activations on cells, exactly, over the coordinates of the frame."""
        return ForcedRows(self.layers, self.rows, self.frame.m)


def _arrays(layers: tuple[Layer, ...], counts: list[int], rows: Rows, m: int) -> Arrays:
    units = np.concatenate([[0], np.cumsum([layer.units for layer in layers])]).astype(np.int64)
    begin = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rules = [layer.rule for layer in layers]
    selections = [isinstance(rule, Selection) for rule in rules]
    pieces = np.zeros(units[-1], np.int64)
    tables = [None if chosen else Pieces.of(layer) for layer, chosen in zip(layers, selections, strict=True)]
    most = max((t.knots.shape[1] for t in tables if t is not None), default=1)
    widest = max((rule.candidates.shape[1] for rule in rules if isinstance(rule, Selection)), default=1)
    knots = np.full((units[-1], most), np.inf)
    slopes, offsets = np.zeros((units[-1], most + 1)), np.zeros((units[-1], most + 1))
    candidates = np.full((units[-1], widest), -1, np.int64)
    for i, (layer, table) in enumerate(zip(layers, tables, strict=True)):
        own = slice(units[i], units[i + 1])
        if table is not None:
            count = table.knots.shape[1]
            pieces[own] = count + 1
            knots[own, :count] = table.knots.astype(np.float64)
            slopes[own, : count + 1] = table.slopes.astype(np.float64)
            offsets[own, : count + 1] = table.offsets.astype(np.float64)
        elif isinstance(layer.rule, Selection):
            chosen = layer.rule.candidates
            pieces[own] = (chosen >= 0).sum(1)
            candidates[own, : chosen.shape[1]] = np.where(chosen >= 0, chosen + begin[i], -1)
    full, full_values = _full_matrices(rows, begin, units, m)
    return Arrays(
        m=m,
        ptr=rows.matrix.indptr.astype(np.int64),
        col=rows.matrix.indices.astype(np.int64),
        val=np.ascontiguousarray(rows.matrix.data, np.float64),
        const=rows.constants,
        slack=np.where(rows.exact, 0.0, 2.0**-53),
        full=full,
        full_values=full_values,
        row_begin=begin,
        unit_begin=units,
        selects=np.array(selections, np.bool_),
        largest=np.array([not isinstance(rule, Selection) or rule.largest for rule in rules], np.bool_),
        pieces=pieces,
        knots=knots,
        slopes=slopes,
        offsets=offsets,
        candidates=candidates,
        order=np.arange(units[-1]),
    )


def _full_matrices(rows: Rows, row_begin: Ints, unit_begin: Ints, m: int) -> tuple[Ints, Floats]:
    """`Arrays.full` and `Arrays.full_values`."""
    begins, parts, length = np.full(len(row_begin) - 1, -1), [np.zeros(0)], 0
    ptr, col = rows.matrix.indptr, rows.matrix.indices
    for layer in range(1, len(begins)):
        slots = m + np.arange(unit_begin[layer - 1], unit_begin[layer])
        own = slice(ptr[row_begin[layer]], ptr[row_begin[layer + 1]])
        count = row_begin[layer + 1] - row_begin[layer]
        if np.array_equal(col[own], np.tile(slots, count)):
            begins[layer] = length
            parts.append(np.asarray(rows.matrix.data[own], np.float64).reshape(count, -1).T.ravel())
            length += len(parts[-1])
    return begins, np.concatenate(parts)
