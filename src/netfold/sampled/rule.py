"""The nodes of a panel: a Gauss rule inside a Kronrod rule, and the matrices that differentiate on them.

A panel is a stretch of the path between two parameters. It is sampled at both of its ends and at the 15 nodes of the
Kronrod rule between them, of which the 7 of the Gauss rule are every second one. Here a panel runs from 0 to 1.
"""

from __future__ import annotations

import numpy as np

from netfold.arrays import Floats


def _gauss_kronrod(order: int) -> tuple[Floats, Floats, Floats]:
    """Nodes and weights on [0, 1] of the Kronrod rule with ``2 order + 1`` nodes, and its Gauss rule's weights.

    The nodes that a Gauss rule (zeros of the Legendre polynomial P) lacks are the zeros of the Stieltjes polynomial
    E of degree ``order + 1``, orthogonal to all polynomials of degree up to ``order`` under the weight P.
    """
    legendre = np.polynomial.legendre
    gauss, gauss_weights = legendre.leggauss(order)
    points, weights = legendre.leggauss(2 * order + 2)
    basis = legendre.legvander(points, order + 1)
    products = (basis * (weights * basis[:, order])[:, None]).T @ basis
    tail = np.linalg.lstsq(products[: order + 1, : order + 1], -products[: order + 1, order + 1], rcond=None)[0]
    nodes = np.sort(np.concatenate([gauss, legendre.legroots(np.append(tail, 1.0))]))
    moments = np.zeros(len(nodes))
    moments[0] = 2.0
    kronrod_weights = np.linalg.solve(legendre.legvander(nodes, len(nodes) - 1).T, moments)
    return (nodes + 1) / 2, kronrod_weights / 2, gauss_weights / 2


def _differentiation(nodes: Floats) -> Floats:
    """The matrix that takes values at the nodes to the derivative there of the polynomial through them."""
    gap = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(gap, 1.0)
    barycentric = 1.0 / gap.prod(1)
    matrix = barycentric[None, :] / barycentric[:, None] / gap
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


INNER, KRONROD, GAUSS = _gauss_kronrod(7)
"""The 15 inner nodes, the weights of the Kronrod rule, and those of the Gauss rule at every second inner node."""

NODES = np.concatenate([[0.0], INNER, [1.0]])
"""Where a panel is sampled."""

SLOPES = _differentiation(INNER)
"""Derivative at the inner nodes of the polynomial through them."""

COARSE_SLOPES = _differentiation(INNER[1::2])
"""Derivative at the Gauss nodes of the polynomial through them."""
