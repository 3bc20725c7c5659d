"""The skip form of a program: every pre-activation and output in terms of the point and the outputs of earlier units.

All affine operations between two nonlinearities compose into one sparse matrix over *slots*: the coordinates of the
point, then every unit of the network. Where an operation only copies, reorders or joins entries the stored weights
stay as they are; elsewhere (batch normalisation after a convolution, average pooling, two linear maps in a row)
products are taken in rational arithmetic and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from netfold.arrays import Floats
from netfold.capture.activations import Elementwise, Selection
from netfold.capture.program import Layer, Node, NodeKind, Operation
from netfold.exact.matrices.coefficients import Coefficients, Fractions, Step, fractions, objects, split
from netfold.exact.matrices.explicit import ExplicitProgram

ExactRow = tuple[dict[int, Fraction], Fraction]
"""The coefficients of a row by slot, and its constant."""


@dataclass(frozen=True)
class Rows:
    """Affine functions of the slots, one a row.

    Attributes:
        matrix: ``(rows, slots)`` in float64, without stored zeros.
        constant: constants as fractions.
        true: the entries of ``matrix`` as fractions, in its order; ``None`` where float64 holds them.
    """

    matrix: csr_array
    constant: Fractions
    true: Fractions | None = None

    def __len__(self) -> int:
        return len(self.constant)

    @cached_property
    def constants(self) -> Floats:
        """Constants, rounded to float64."""
        return split(self.constant)[0]

    @cached_property
    def exact(self) -> NDArray[np.bool_]:
        """Whether float64 holds all numbers of a row."""
        exact = self.constant == fractions(self.constants)
        if self.true is not None:
            off = np.flatnonzero(self.true != fractions(self.matrix.data))
            exact[np.searchsorted(self.begin, off, side="right") - 1] = False
        return np.asarray(exact, np.bool_)

    @cached_property
    def copies(self) -> NDArray[np.int64] | None:
        """The slot or row that every row copies, -1 for zero rows; ``None`` where a row does more."""
        return None if any(self.constant != 0) else _copies(Coefficients(self.matrix, None, self.true))

    @property
    def begin(self) -> NDArray[np.int64]:
        """Where the entries of every row begin in ``matrix``, and where the last ends."""
        return np.asarray(self.matrix.indptr, np.int64)

    def row(self, r: int) -> ExactRow:
        """One row, exactly."""
        begin, end = int(self.begin[r]), int(self.begin[r + 1])
        slots = self.matrix.indices[begin:end].tolist()
        values = fractions(self.matrix.data[begin:end]) if self.true is None else self.true[begin:end]
        return dict(zip(slots, values.tolist(), strict=True)), self.constant[r]

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Some rows; -1 takes a row of zeros."""
        if (rows < 0).any():
            return _from_exact([self.row(r) if r >= 0 else ({}, Fraction(0)) for r in rows.tolist()], self.slots)
        begin, counts = self.begin[rows], np.diff(self.begin)[rows]
        ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        order = np.repeat(begin - ptr[:-1], counts) + np.arange(ptr[-1])
        matrix = csr_array((self.matrix.data[order], self.matrix.indices[order], ptr), (len(rows), self.slots))
        return Rows(matrix, self.constant[rows], None if self.true is None else self.true[order])

    @property
    def slots(self) -> int:
        """Number of slots."""
        return int(self.matrix.shape[1])  # type: ignore[index]

    def only(self, slots: NDArray[np.int64]) -> Rows:
        """The same rows over some of the slots, renumbered; entries in other slots are left out."""
        number = np.full(self.slots, -1)
        number[slots] = np.arange(len(slots))
        kept = number[self.matrix.indices] >= 0
        ptr = np.concatenate([[0], np.cumsum(kept)])[self.begin]
        data, col = self.matrix.data[kept], number[self.matrix.indices[kept]]
        matrix = csr_array((data, col, ptr), (len(self), len(slots)))
        return Rows(matrix, self.constant, None if self.true is None else self.true[kept])


def joined(parts: list[Rows]) -> Rows:
    """Rows one after the other."""
    if len(parts) == 1:
        return parts[0]
    matrix = csr_array(vstack([p.matrix for p in parts], format="csr"))
    constant = np.concatenate([p.constant for p in parts])
    if all(p.true is None for p in parts):
        return Rows(matrix, constant)
    true = np.concatenate([fractions(p.matrix.data) if p.true is None else p.true for p in parts])
    return Rows(matrix, constant, true)


def _copies(matrix: Coefficients) -> NDArray[np.int64] | None:
    near = matrix.near
    entries = np.diff(near.indptr)
    if matrix.true is not None or (entries > 1).any() or (near.data != 1.0).any():
        return None
    source = np.full(matrix.shape[0], -1)
    source[entries == 1] = near.indices
    return source


def _from_exact(rows: list[ExactRow], slots: int) -> Rows:
    """Rows from their exact numbers."""
    kept = [[(c, v) for c, v in sorted(row.items()) if v != 0] for row, _ in rows]
    ptr = np.concatenate([[0], np.cumsum([len(row) for row in kept])]).astype(np.int64)
    col = np.array([c for row in kept for c, _ in row], np.int64)
    true = objects([v for row in kept for _, v in row])
    near, rest = split(true)
    matrix = csr_array((near, col, ptr), (len(rows), slots))
    return Rows(matrix, objects([c for _, c in rows]), true if rest.any() or (near == 0).any() else None)


def _composed(matrix: Coefficients, source: Rows) -> Rows:
    """A matrix applied to rows."""
    picked = _copies(matrix)
    if picked is not None:
        return source.take(picked)
    copied = source.copies
    if copied is not None and (copied >= 0).all() and len(set(copied.tolist())) == len(copied):
        near = matrix.near
        renamed = csr_array((near.data, copied[near.indices], near.indptr), (near.shape[0], source.slots))  # type: ignore[index]
        return Rows(renamed, fractions(np.zeros(matrix.shape[0])), matrix.true)
    return _multiplied(Rows(matrix.near, fractions(np.zeros(matrix.shape[0])), matrix.true), source)


def _multiplied(left: Rows, source: Rows) -> Rows:
    """Rows of rows, in rational arithmetic."""
    below = [source.row(r) for r in range(len(source))]
    made: list[ExactRow] = []
    for r in range(len(left)):
        total: dict[int, Fraction] = {}
        constant = Fraction(0)
        for i, w in left.row(r)[0].items():
            entries, own = below[i]
            constant += w * own
            for slot, v in entries.items():
                total[slot] = total.get(slot, Fraction(0)) + w * v
        made.append((total, constant))
    return _from_exact(made, source.slots)


def _added(parts: list[Rows], constant: Fractions) -> Rows:
    """The sum of rows and a constant."""
    total = constant + sum((p.constant for p in parts), objects([Fraction(0)] * len(constant)))
    if not parts:
        raise ValueError("nothing to add")
    if len(parts) == 1:
        return Rows(parts[0].matrix, total, parts[0].true)
    sums: list[ExactRow] = []
    for r in range(len(constant)):
        row: dict[int, Fraction] = {}
        for p in parts:
            for slot, v in p.row(r)[0].items():
                row[slot] = row.get(slot, Fraction(0)) + v
        sums.append((row, total[r]))
    return _from_exact(sums, parts[0].slots)


@dataclass(frozen=True)
class SkipForm:
    """A program in skip form, over the coordinates of its input and then all its units.

    Attributes:
        inputs: number of input coordinates.
        layers: its nonlinearities.
        rows: the rows that each nonlinearity reads, and ``output`` those of the output.
        rational: whether all coefficients are rational; ``why`` names the first that is not.
    """

    inputs: int
    layers: tuple[Layer, ...]
    rows: tuple[Rows, ...]
    output: Rows
    rational: bool
    why: str

    @staticmethod
    def of(explicit: ExplicitProgram) -> SkipForm:
        """Compose a program's affine operations."""
        program = explicit.program
        inputs = int(np.prod(program.input_shape, dtype=np.int64))
        slots = inputs + sum(layer.units for layer in program.layers)
        values, first, read = {0: _slots(0, inputs, slots)}, inputs, []
        for stage, steps in zip(program.stages, explicit.steps, strict=True):
            for step in steps:
                values[step.node.index] = _stepped(step, values, slots)
            read.append(joined([values[i] for i in stage.inputs]))
            if stage.layer is not None:
                values = {i: values[i] for i in stage.alive}
                values[stage.layer.node.index] = _slots(first, stage.layer.units, slots)
                first += stage.layer.units
        return SkipForm(inputs, program.layers, tuple(read[:-1]), read[-1], explicit.rational, explicit.why)

    def along(self, origin: Floats, directions: Floats) -> SkipForm:
        """The form on the points ``origin + sum_k x[k] directions[k]``, over the coordinates x, without rounding.

        Args:
            origin: a flattened point.
            directions: flattened, one a row.
        """
        size, units = len(directions), self.output.slots - self.inputs
        steps, base = fractions(directions), fractions(origin)
        points: list[ExactRow] = [(dict(enumerate(steps[:, j])), base[j]) for j in range(self.inputs)]
        whole = joined([_from_exact(points, size + units), _slots(size, units, size + units)])
        rows = [self._moved(rows, whole, size) for rows in (*self.rows, self.output)]
        return replace(self, inputs=size, rows=tuple(rows[:-1]), output=rows[-1])

    def pinned(self, places: NDArray[np.int64], point: Floats) -> SkipForm:
        """The form where some coordinates stand still, without rounding; no row reads them then."""
        still = dict(zip(places.tolist(), fractions(point[places]).tolist(), strict=True))
        rows = [_pinned(rows, still) for rows in (*self.rows, self.output)]
        return replace(self, rows=tuple(rows[:-1]), output=rows[-1])

    def classified(self) -> SkipForm:
        """The form with one layer more, whose one unit has the class for its state.

        That is the largest output, of equal ones the first; or whether a single output is above 0.
        """
        count = len(self.output)
        sign = Elementwise(np.zeros((1, 1)), np.ones((1, 2)), np.zeros((1, 2)), (0, 1))
        rule = sign if count == 1 else Selection(np.arange(count)[None], True)
        node = Node(-1, "class", Operation("class"), (), {}, (), "", "", "", NodeKind.PIECEWISE_LINEAR)
        layers = (*self.layers, Layer("class", "class", 1, (1,), rule, node))
        rows = [_widened(rows) for rows in (*self.rows, self.output)]
        return replace(self, layers=layers, rows=tuple(rows), output=rows[-1])

    def _moved(self, rows: Rows, whole: Rows, size: int) -> Rows:
        """Rows over other coordinates; those that read none only have their slots renumbered."""
        if (rows.matrix.indices < self.inputs).any():
            moved = _multiplied(rows, whole)
            return replace(moved, constant=moved.constant + rows.constant)
        col = rows.matrix.indices - self.inputs + size
        matrix = csr_array((rows.matrix.data, col, rows.matrix.indptr), (len(rows), whole.slots))
        return replace(rows, matrix=matrix)


def _slots(first: int, count: int, slots: int) -> Rows:
    """Rows that are slots."""
    matrix = csr_array((np.ones(count), np.arange(first, first + count), np.arange(count + 1)), (count, slots))
    return Rows(matrix, fractions(np.zeros(count)))


def _widened(rows: Rows) -> Rows:
    """Rows over one slot more."""
    near = rows.matrix
    return replace(rows, matrix=csr_array((near.data, near.indices, near.indptr), (len(rows), rows.slots + 1)))


def _pinned(rows: Rows, still: dict[int, Fraction]) -> Rows:
    if not np.isin(rows.matrix.indices, list(still)).any():
        return rows
    made: list[ExactRow] = []
    for r in range(len(rows)):
        row, constant = rows.row(r)
        left = {slot: value for slot, value in row.items() if slot not in still}
        made.append((left, constant + sum(row[slot] * still[slot] for slot in row.keys() & still.keys())))
    return _from_exact(made, rows.slots)


def _stepped(step: Step, values: dict[int, Rows], slots: int) -> Rows:
    if not step.terms:
        empty = csr_array((len(step.constant), slots), dtype=np.float64)
        return Rows(empty, step.constant)
    return _added([_composed(term.coefficients, values[term.source]) for term in step.terms], step.constant)
