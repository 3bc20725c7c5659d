"""A program's affine operations as matrices, with coefficients that are exact or known to any precision.

Every operation of the network is linear in each earlier value that it reads, plus a constant. Its matrices are read
off by applying the operation, without its constants, to unit vectors: every entry of the result is then one stored
weight times one, so float64 does not round it. Where a coefficient is a quotient or holds a square root, so that
float64 cannot store it, its true value stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor
from torch.utils import _pytree as pytree

from netfold.arrays import Floats
from netfold.capture.activations import Elementwise
from netfold.capture.program import Layer, Node

Fractions = NDArray[np.object_]


@dataclass(frozen=True)
class Coefficients:
    """A matrix by rows, ``(outputs, inputs)``: the nearest float64 of every coefficient, and what it leaves out.

    Attributes:
        near: the matrix in float64.
        rest: what has to be added to the entries of ``near``, in float64; ``None`` where nothing has.
        true: the entries themselves as fractions, in the order of ``near.data``; ``None`` where ``near`` is exact.
    """

    near: csr_array
    rest: Floats | None = None
    true: Fractions | None = None

    @staticmethod
    def of(near: csr_array, true: Callable[[float], Fraction]) -> Coefficients:
        """Coefficients whose true values are a function of the nearest ones."""
        values = {v: true(v) for v in np.unique(near.data).tolist()}
        exact = objects([values[v] for v in near.data.tolist()])
        nearest, rest = split(exact)
        return Coefficients(csr_array((nearest, near.indices, near.indptr), near.shape), rest, exact)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of outputs and inputs."""
        outputs, inputs = self.near.shape  # type: ignore[misc]
        return int(outputs), int(inputs)

    @cached_property
    def integers(self) -> tuple[NDArray[np.object_], int]:
        """The entries as integers over one denominator, in the order of ``near.data``."""
        if self.true is not None:
            d = math.lcm(1, *(v.denominator for v in self.true))
            return objects([int(v * d) for v in self.true]), d
        mantissa, exponent = np.frexp(self.near.data)
        whole = (mantissa * 2.0**53).astype(np.int64)
        exponent -= 53
        zeros = np.log2(np.maximum(whole & -whole, 1)).astype(np.int64)
        lowest = min(0, int((exponent + zeros).min(initial=0)))
        shifts = (exponent - lowest).tolist()
        shifted = (w << k if k >= 0 else w >> -k for w, k in zip(whole.tolist(), shifts, strict=True))
        return objects(list(shifted)), 1 << -lowest


@dataclass(frozen=True)
class Term:
    """How one operation depends on one earlier value.

    Attributes:
        source: the earlier value, of ``shape`` at one point.
        linear: the operation without its constants, and ``magnitude`` with all weights replaced by their sizes.
        true: the true coefficient of an entry that float64 rounds; ``None`` where it does not.
        scales: true coefficients of a map that multiplies every entry by its own number.
    """

    source: int
    shape: tuple[int, ...]
    linear: Callable[[Tensor], Tensor]
    magnitude: Callable[[Tensor], Tensor]
    true: Callable[[float], Fraction] | None = None
    scales: Fractions | None = None

    @cached_property
    def coefficients(self) -> Coefficients:
        """The matrix, read off from unit vectors."""
        size = math.prod(self.shape)
        if self.scales is not None:
            return _diagonal(self.scales)
        columns = []
        for begin in range(0, size, 128):
            count = min(128, size - begin)
            units = torch.zeros(count, size, dtype=torch.float64)
            units[torch.arange(count), begin + torch.arange(count)] = 1.0
            made = self.linear(units.reshape(count, *self.shape))
            columns.append(csr_array(made.reshape(count, -1).numpy()))
        near = csr_array(csr_array(vstack(columns)).T)
        near.eliminate_zeros()
        return Coefficients(near) if self.true is None else Coefficients.of(near, self.true)


@dataclass(frozen=True)
class Step:
    """One affine operation: the sum of its terms and a constant.

    Attributes:
        node: the operation in the program.
        shape: shape of its value at one point.
        terms: one for every earlier value that it reads.
        constant: the constant as fractions, and ``size`` an upper bound on what was added up to make it.
        roundings: upper bound on the roundings in one entry when float64 computes it.
    """

    node: Node
    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    constant: Fractions
    size: Floats
    roundings: int

    @cached_property
    def nearest(self) -> tuple[Floats, Floats]:
        """The constant in float64, and what that leaves out."""
        return split(self.constant)

    @cached_property
    def tiniest(self) -> float:
        """The smallest size but zero, 1 at most, of the numbers that the operation multiplies by or adds."""
        leaves = [
            v for v in pytree.tree_leaves((self.node.args, self.node.kwargs)) if isinstance(v, torch.Tensor | float)
        ]
        sizes = np.abs(np.concatenate([[1.0], *(torch.as_tensor(v).reshape(-1).double().numpy() for v in leaves)]))
        return float(sizes.min(initial=1.0, where=sizes > 0.0))


@dataclass(frozen=True)
class Pieces:
    """A piecewise-linear function of every unit in fractions; shapes are those of `Elementwise`.

    The function is continuous: its offsets follow from its knots, its slopes and its value at the first knot.
    """

    knots: Fractions
    slopes: Fractions
    offsets: Fractions

    @staticmethod
    def of(layer: Layer) -> Pieces:
        """The pieces of an elementwise layer, with the slope 1/6 of a hard-sigmoid as it is meant."""
        rule = layer.rule
        assert isinstance(rule, Elementwise)
        knots, slopes = fractions(rule.knots), fractions(rule.slopes)
        if layer.op == "hardsigmoid":
            slopes = np.array([[Fraction(0), Fraction(1, 6), Fraction(0)]], object)
        offsets = fractions(rule.offsets)
        for r in range(knots.shape[1]):
            offsets[:, r + 1] = offsets[:, r] + (slopes[:, r] - slopes[:, r + 1]) * knots[:, r]
        return Pieces(knots, slopes, offsets)


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """A list as an array of Python's own numbers."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fractions(values: Any) -> Fractions:
    """Numbers as fractions, in an array of the same shape."""
    array = np.asarray(values)
    return objects([Fraction(v) for v in array.reshape(-1).tolist()]).reshape(array.shape)


def split(values: Fractions) -> tuple[Floats, Floats]:
    """Fractions as float64, and what that leaves out."""
    near = values.astype(np.float64)
    return near, (values - fractions(near)).astype(np.float64)


def _diagonal(scales: Fractions) -> Coefficients:
    near, rest = split(scales)
    places = np.arange(len(scales) + 1)
    return Coefficients(csr_array((near, places[:-1], places), (len(scales), len(scales))), rest, scales)
