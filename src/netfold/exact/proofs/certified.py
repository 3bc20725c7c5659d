"""The rules for stars, cones and lemmas in float64 with bounds of all errors, for many at once.

What they say is what the rules in integers say; where a sign is not certain they say nothing, and integers decide.
Functions are rows, the constant last, each a positive multiple of the exact one but for rounding, entry by entry. A
linear system is solved by an approximate inverse R: if ``|I - R A| <= a < 1`` in the norm of largest row sums, for all
matrices A that the entries may stand for, then A is invertible and the error of x is at most ``|R r| / (1 - a)``, r
being the residual, bounded in the same way (Rump's a-posteriori bound).
"""

from __future__ import annotations

import numpy as np

from netfold.arrays import Bools, Floats, Ints

UNIT = 2.0**-52
"""Twice the relative error of an operation, which pays for the second order too."""

TINY = 1e-290
"""More than what products lose that are too small for float64."""


def _solved(a: Floats, c: Floats, sizes: Floats | None = None, size: Floats | None = None) -> tuple[Floats, Floats]:
    """Solutions of ``a x + c = 0``, ``(batch, m, k)`` for right sides ``(batch, m, k)``, and bounds of their errors.

    ``sizes`` and ``size``, no smaller than ``|a|`` and ``|c|``, tell how far their entries are off: as sums of products
    of m numbers are whose sizes add up to that.
    """
    m = a.shape[1]
    slack = (2 * m + 16) * UNIT
    sizes, size = np.abs(a) if sizes is None else sizes, np.abs(c) if size is None else size
    with np.errstate(all="ignore"):
        try:
            inverse = np.linalg.inv(a)
        except np.linalg.LinAlgError:
            return np.zeros_like(c), np.full((len(c), 1, c.shape[2]), np.inf)
        x = -inverse @ c
        gain = np.abs(inverse)
        off = np.abs(inverse @ a - np.eye(m)) + slack * (gain @ sizes) + TINY
        rest = np.abs(a @ x + c) + slack * (sizes @ np.abs(x) + size) + TINY
        bound = off.sum(2).max(1)[:, None, None]
        error = 1.01 * (gain @ rest).max(1, keepdims=True) / (1.0 - bound)
        return x, np.where(np.isfinite(error) & (bound < 0.5), error, np.inf)


def _signs(value: Floats, error: Floats) -> Ints:
    """Signs that are certain, 0 where one is not."""
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(value) > 1.01 * error + TINY, np.sign(value), 0.0).astype(np.int64)


def _values(functions: Floats, x: Floats, error: Floats) -> Ints:
    """Certain signs of functions ``(n, m + 1)`` at points ``(batch, m)`` with errors ``(batch, 1)``: ``(batch, n)``."""
    gradients, constants = functions[:, :-1], functions[:, -1]
    size = np.abs(x) @ np.abs(gradients).T + np.abs(constants)
    with np.errstate(invalid="ignore", over="ignore"):
        doubt = (x.shape[1] + 8) * UNIT * size + error * np.abs(gradients).sum(1)
        return _signs(x @ gradients.T + constants, doubt)


def stars(functions: Floats, walls: int, rows: Ints) -> tuple[Ints, Bools]:
    """What stars on m functions each, ``(stars, m)``, show.

    Returns:
        The signs of all functions around every star, ``(stars, functions)``, 0 where both occur, and which of the
        stars the rules certainly accept; of the others nothing is said.
    """
    at = functions[rows]
    x, error = _solved(at[:, :, :-1], at[:, :, -1:])
    signs = _values(functions, x[:, :, 0], error[:, 0])
    np.put_along_axis(signs, rows, 1, axis=1)
    sure = (signs[:, :walls] > 0).all(1) & (signs[:, walls:] != 0).all(1) & np.isfinite(error[:, 0, 0])
    np.put_along_axis(signs, rows, 0, axis=1)
    return signs, sure


def lemmas(functions: Floats, walls: int, rows: Ints) -> tuple[Ints, Bools]:
    """What lemmas on k functions each, ``(lemmas, k)``, exclude, whose gradients have rank k - 1 at most.

    Returns:
        The signs of their factors, turned as the rule asks for, and which of the lemmas the rules certainly accept.
    """
    at = functions[rows]
    k, gradients, constants = rows.shape[1], np.swapaxes(at[:, :-1, :-1], 1, 2), at[:, :, -1]
    last = at[:, -1, :-1, None]
    if k == functions.shape[1]:
        x, error = _solved(gradients, last)
    else:
        # k - 1 combinations of the equations: if they have one solution, that is the only one of all.
        across = np.swapaxes(np.linalg.qr(gradients)[0], 1, 2)
        sizes = [np.abs(across) @ np.abs(part) * (functions.shape[1] / k) for part in (gradients, last)]
        x, error = _solved(across @ gradients, across @ last, *sizes)
    x, error = x[:, :, 0], error[:, 0]
    signs = np.concatenate([_signs(x, np.broadcast_to(error, x.shape)), np.ones((len(x), 1), np.int64)], axis=1)
    size = np.abs(constants)
    with np.errstate(invalid="ignore", over="ignore"):
        total = (x * constants[:, :-1]).sum(1) + constants[:, -1]
        doubt = (x.shape[1] + 8) * UNIT * ((np.abs(x) * size[:, :-1]).sum(1) + size[:, -1])
        turn = -_signs(total, doubt + error[:, 0] * size[:, :-1].sum(1))
    signs *= turn[:, None]
    return signs, (signs != 0).all(1) & ((signs > 0) | (rows >= walls)).all(1)


def cones(functions: Floats, walls: int, rows: Ints) -> tuple[Ints, Bools]:
    """What cones of m walls each, ``(cones, m)``, exclude.

    Returns:
        The signs that cuts have in the cones, ``(cones, cuts)``, 0 for those that have no one sign by the rule, and
        which of the cones are certain.
    """
    at, cuts = functions[rows], functions[walls:]
    x, error = _solved(at[:, :, :-1], at[:, :, -1:])
    corner = _values(cuts, x[:, :, 0], error[:, 0])
    # Slopes of a cut along the edges are what its gradient is made of by those of the walls.
    wanted = np.broadcast_to(-cuts[:, :-1].T, (len(rows), *cuts[:, :-1].T.shape))
    slopes, error = _solved(np.swapaxes(at[:, :, :-1], 1, 2), wanted)
    signs = np.concatenate([corner[:, None], _signs(slopes, np.broadcast_to(error, slopes.shape))], axis=1)
    up, down = (signs > 0).any(1), (signs < 0).any(1)
    return np.where(up & ~down, 1, np.where(down & ~up, -1, 0)), ((up & down) | (signs != 0).all(1)).all(1)
