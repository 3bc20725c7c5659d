"""Error bounds hold against fractions, and double-double arithmetic is as good as it says."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import netfold as nf
from netfold.exact.certificate.rational import RationalTracer
from netfold.exact.certificate.rational_layers import AffineValues, joined, law_of
from netfold.exact.certificate.rounding import Bounded, Evaluation
from netfold.exact.matrices.coefficients import fractions
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.numerics import double_double
from tests.models import random_model

NUMBERS = st.floats(-(2.0**60), 2.0**60).filter(lambda v: v == 0 or abs(v) > 2.0**-300)
PAIRS = st.tuples(NUMBERS, st.floats(-1, 1)).map(lambda p: double_double.two_sum(p[0], p[0] * p[1] * 2.0**-53))


@given(PAIRS, PAIRS)
def test_double_double_sums_and_products(a: tuple[float, float], b: tuple[float, float]) -> None:
    """A sum or product of pairs is within 2^-102 of its size, for a sum of the size of what is added."""
    x, y = (Fraction(p[0]) + Fraction(p[1]) for p in (a, b))
    for made, compiled, true, size in (
        (double_double.add, double_double.compiled_add, x + y, abs(x) + abs(y)),
        (double_double.multiply, double_double.compiled_multiply, x * y, abs(x * y)),
    ):
        high, low = made(*a, *b)
        assert abs(Fraction(high) + Fraction(low) - true) <= size / 2**102
        assert (high, low) == compiled(*a, *b)


def test_double_double_matrix_product() -> None:
    """Rows times a sparse matrix, against fractions: errors below n 2^-100 of the sizes added."""
    rng = np.random.default_rng(0)
    matrix = csr_array(rng.normal(size=(7, 30)) * (rng.random((7, 30)) < 0.6))
    rest = matrix.data * 2.0**-55 * rng.random(matrix.nnz)
    high, low = rng.normal(size=(4, 30)), rng.normal(size=(4, 30)) * 2.0**-56
    made = np.zeros((4, 7)), np.zeros((4, 7))
    double_double.matrix_product(matrix.indptr, matrix.indices, matrix.data, rest, high, low, *made)
    full, more = fractions(matrix.toarray()), csr_array((rest, matrix.indices, matrix.indptr), matrix.shape)
    true = (fractions(high) + fractions(low)) @ (full + fractions(more.toarray())).T
    size = np.abs(high) @ np.abs(matrix.toarray()).T
    off = np.abs((fractions(made[0]) + fractions(made[1]) - true).astype(float))
    assert (off <= 30 * 2.0**-100 * size).all()


def exactly(explicit: ExplicitProgram, x: np.ndarray) -> list[np.ndarray]:
    """What every nonlinearity reads at a point, in integer arithmetic, as fractions."""
    tracer = RationalTracer(explicit)
    start = fractions(x).reshape(-1)
    d = max(v.denominator for v in start)
    values = {0: AffineValues(np.array([[int(v * d), 0] for v in start], object), d)}
    found = []
    for stage, steps in zip(explicit.program.stages[:-1], tracer.stages, strict=False):
        for step in steps:
            values[step.index] = step.apply(values)
        h = joined([values[i] for i in stage.inputs])
        found.append(np.array([Fraction(n, h.d) for n in h.n[:, 0]], object))
        assert stage.layer is not None
        law = law_of(stage.layer)
        values[stage.layer.node.index] = law.image(h, law.start(h, Fraction(0)))
    return found


@pytest.mark.parametrize("precise", [False, True], ids=["float64", "double-double"])
@pytest.mark.parametrize("family", range(4), ids=["dense", "residual", "branches", "convolutional"])
def test_error_bounds_hold(family: int, precise: bool) -> None:
    """Every pre-activation is within its bound of the exact one, and the bound is small."""
    eps = 2.0**-100 if precise else 2.0**-52
    for seed in range(8):
        model, shape = random_model(seed, family)
        explicit = ExplicitProgram.of(nf.capture(model, shape=shape))
        points = np.random.default_rng(seed).normal(0, 2, (3, *shape))
        flat = points.reshape(3, -1)
        x = Bounded(flat, np.zeros_like(flat), np.zeros_like(flat))
        true = [exactly(explicit, point) for point in points]
        for index, h in enumerate(Evaluation(explicit, precise).layers(x)):
            for row in range(3):
                value = fractions(h.high[row]) + fractions(h.low[row])
                off = np.abs(value - true[row][index]).astype(float)
                assert (off <= h.error[row]).all()
                assert (h.error[row] < 1e7 * eps * (1 + np.abs(h.high[row]).max())).all()
