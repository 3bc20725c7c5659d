"""Expectations of functions of Gaussian variables: quadrature with error estimates, Hermite series, kinks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integrand = Callable[[Array, Array], Array]

ORDER = 16  # Gauss-Legendre nodes a panel
REACH = 12.0  # standard deviations kept; the mass outside is 4e-33
ROUNDING = 4e-16  # of a sum of quadrature terms, relative
TARGET = 1e-13  # relative accuracy at which refinement stops
SERIES = 512  # Hermite coefficients kept
BLOCK = 1 << 20  # integrand values held at once

NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)
SMALLEST = 1e-280  # stands for variance 0: its square root and its products do not underflow


def density(z: Array) -> Array:
    """Standard normal density."""
    return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def expectation(integrand: Integrand, variance: Array, kinks: tuple[float, ...] = ()) -> tuple[Array, Array]:
    """E f(h) for h ~ N(0, q), for several functions f and several variances q at once.

    Composite Gauss-Legendre quadrature on panels split at the kinks, graded on the two scales of the problem
    (that of the Gaussian and that of the function), halved until two meshes agree. Gauss-Hermite quadrature
    converges slowly where the function is steep on the scale of the Gaussian, because most of its nodes lie
    where the Gaussian is negligible (Trefethen, Exactness of quadrature formulas, SIAM Review 64, 2022): for
    E tanh^2 at q = 12.6 its error with 250 nodes is 1e-5, for q = 100 it is 1e-2.

    Args:
        integrand: takes pre-activations h of shape ``(variances, panels, nodes)`` and the panels' widths in h
            of shape ``(variances, panels)``; returns ``(functions, variances, panels, nodes)``.
        variance: shape ``(variances,)``.
        kinks: values of h where a function or a derivative jumps.

    Returns:
        Values and absolute error estimates, both of shape ``(functions, variances)``.
    """
    q = np.maximum(np.asarray(variance, np.float64), SMALLEST)
    edges = _edges(np.sqrt(q), kinks)
    rows = max(1, BLOCK // (edges.shape[1] * ORDER * 4))
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [_refined(integrand, q[i : i + rows], edges[i : i + rows]) for i in range(0, len(q), rows)]
    return np.concatenate([p[0] for p in parts], 1), np.concatenate([p[1] for p in parts], 1)


def _edges(scale: Array, kinks: tuple[float, ...]) -> Array:
    """Edges in units of the standard deviation: unit steps, powers of two in h, and the kinks."""
    octaves = 2.0 ** np.arange(-1, max(1, np.ceil(np.log2(REACH * scale.max()))))
    fine = np.concatenate([-octaves[::-1], octaves])[None] / scale[:, None]
    coarse = np.broadcast_to(np.arange(-REACH, REACH + 1), (len(scale), int(2 * REACH) + 1))
    edges = np.concatenate([coarse, fine], 1)
    for kink in kinks:
        # An edge close to a kink moves onto it: a sliver of a panel would only amplify rounding.
        near = 0.2 * np.minimum(1.0, max(abs(kink), 0.5) / scale)[:, None]
        edges = np.where(np.abs(edges - kink / scale[:, None]) < near, kink / scale[:, None], edges)
    knots = np.asarray(kinks, np.float64)[None] / scale[:, None]
    return np.sort(np.clip(np.concatenate([edges, knots], 1), -REACH, REACH), axis=1)


def _refined(integrand: Integrand, q: Array, edges: Array, halvings: int = 6) -> tuple[Array, Array]:
    last, _ = _on_mesh(integrand, q, edges)
    value, error, stalls = last.copy(), np.full_like(last, np.inf), np.zeros(last.shape, np.int64)
    rows = np.arange(len(q))
    for _ in range(halvings):
        edges = np.insert(edges, range(1, edges.shape[1]), (edges[:, 1:] + edges[:, :-1]) / 2, axis=1)
        finer, tail = _on_mesh(integrand, q[rows], edges)
        change = np.abs(finer - last[:, rows]) + tail + ROUNDING * np.abs(finer)
        better = ~(change >= error[:, rows])
        # An error that halving twice did not lower is rounding, which finer meshes only raise.
        stalls[:, rows] += ~(change < 0.25 * error[:, rows])
        value[:, rows] = np.where(better, finer, value[:, rows])
        error[:, rows] = np.where(better, change, error[:, rows])
        last[:, rows] = finer
        settled = (change <= TARGET * np.abs(finer)) | (stalls[:, rows] > 1) | ~np.isfinite(finer)
        going = ~settled.all(0)
        rows, edges = rows[going], edges[going]
        if not len(rows):
            break
    return value, error


def _on_mesh(integrand: Integrand, q: Array, edges: Array) -> tuple[Array, Array]:
    """The integral over one mesh, and the size of what lies beyond it."""
    width = np.diff(edges, axis=1)
    z = edges[:, :-1, None] + 0.5 * width[:, :, None] * (NODES + 1)
    scale = np.sqrt(q)[:, None]
    values = integrand(z * scale[:, :, None], width * scale)
    mass = 0.5 * width[:, :, None] * WEIGHTS * density(z)
    tail = density(np.array(REACH)) * (np.abs(values[:, :, 0, 0]) + np.abs(values[:, :, -1, -1]))
    return np.einsum("fqpn,qpn->fq", values, mass), tail


@lru_cache(maxsize=1)
def _differentiation() -> Array:
    """The matrix that takes a polynomial's values at the nodes in [-1, 1] to its derivative's there."""
    gap = NODES[:, None] - NODES[None] + np.eye(ORDER)
    weight = 1 / gap.prod(1)
    matrix = weight[None] / weight[:, None] / gap
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


def differentiate(values: Array, width: Array) -> Array:
    """Derivative in h of values at the nodes of panels: polynomial interpolation on each panel."""
    factor = np.divide(2.0, width, out=np.zeros_like(width), where=width > 0)
    return (values @ _differentiation().T) * factor[:, :, None]


def hermite_squares(function: Callable[[Array], Array], variance: Array, kinks: tuple[float, ...]) -> Array:
    """Squared coefficients a_n^2, n < 512, of phi(sqrt(q) z) in normalised Hermite polynomials, a row a q.

    They give every correlated product: E phi(h_1) phi(h_2) = sum_n a_n^2 c^n (Mehler's formula).
    """
    scale = np.sqrt(np.maximum(variance, SMALLEST))
    groups = [scale] if not kinks else np.split(scale, len(scale))
    rows = []
    for group in groups:
        z, table = _hermite_table(tuple(k / group[0] for k in kinks))
        rows.append((function(group[:, None] * z) @ table) ** 2)
    return np.concatenate(rows)


@lru_cache(maxsize=2)
def _hermite_table(kinks: tuple[float, ...]) -> tuple[Array, Array]:
    """Quadrature nodes z, and weight times normalised Hermite polynomials there: shape (nodes, 512)."""
    inside = [k for k in kinks if abs(k) < REACH]
    edges = np.sort(np.concatenate([np.linspace(-REACH, REACH, 97), inside]))
    width = np.diff(edges)
    z = (edges[:-1, None] + 0.5 * width[:, None] * (NODES + 1)).ravel()
    rows = np.empty((SERIES, z.size))
    rows[0] = (0.5 * width[:, None] * WEIGHTS).ravel() * density(z)
    rows[1] = z * rows[0]
    for n in range(1, SERIES - 1):
        rows[n + 1] = (z * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1)
    return z, rows.T.copy()


def find_kinks(function: Callable[[Array], Array], reach: float = 32.0) -> tuple[tuple[float, ...], bool]:
    """Where in [-reach, reach] the slope of a function jumps, and whether the function itself does.

    A cell is kept while its second difference over its width is large; shrinking cells of smooth stretches
    drop out, since there it falls in proportion to the width. Where the slope jumps it stays.
    """
    width = 2.0**-6
    start = np.arange(-reach, reach, width / 2)
    for _ in range(22):
        size = max(1.0, np.abs(function(start)).max(initial=0.0) / reach)
        start = start[_second_difference(function, start, width) > 1e-4 * size]
        width /= 2
        start = np.unique(np.concatenate([start, start + width / 2, start + width]))
    if not len(start):
        return (), False
    clusters = np.split(start, np.flatnonzero(np.diff(start) > 1e-6) + 1)
    found = np.round([np.median(c) + width / 2 for c in clusters], 8)
    # Off the middle, where also the step of an odd function has a second difference.
    near, far = (_second_difference(function, found - 0.3 * w, w) for w in (1e-7, 1e-6))
    found = found[near > 0.5 * far]
    torn = np.abs(function(found + 1e-7) - function(found - 1e-7)) > 1e-3
    return tuple(float(k) for k in found), bool(torn.any())


def _second_difference(function: Callable[[Array], Array], start: Array, width: float) -> Array:
    """|f(a) + f(b) - 2 f((a + b) / 2)| / (b - a) on cells [a, b] of one width."""
    return np.abs(function(start) + function(start + width) - 2 * function(start + width / 2)) / width
