"""Finding a ray again from the constraints that it lies on, with a bound that these prove, compiled."""

from __future__ import annotations

import numpy as np

from netfold.exact.cells.description.generators import SAFE, U, bits
from netfold.exact.numerics.compiled import compiled


@compiled(lean=True)
def verify(store, planes, words, size, column):
    """Find a ray again from the constraints that it lies on, with a bound that these prove.

    Of the rows of its constraints and the ray itself, as a normalisation, an approximate inverse R is taken: where
    ``|I - R B| < 1``, the solution of ``B v = (0, ..., 0, 1)`` is within ``|R| |residual| / (1 - |I - R B|)`` (Rump,
    Acta Numerica 2010). Nothing changes where that is no better than the bound the ray has.
    """
    if not store.dev[column] < 0.5:
        return
    b, r = store.square, store.inverse
    count = 0
    for w in range(words):
        word = store.inc[w, column]
        while word != 0:
            low = word & (~word + np.uint64(1))
            c = 64 * w + np.int64(bits(low - np.uint64(1)))
            word ^= low
            if count == size - 1:
                return
            for j in range(size + 1):
                b[count, j] = planes[c, j]
            count += 1
    if count < size - 1:
        return
    for j in range(size):
        b[count, j] = store.vec[j, column]
    b[count, size] = 0.0
    if not inverted(b, r, store.scratch_square, size, 0.0):
        return
    defect, largest = 0.0, 0.0
    for i in range(size):
        off, total, sizes, rows = 0.0, 0.0, 0.0, 0.0
        for k in range(size):
            x, y = 0.0, 0.0
            for j in range(size):
                x += r[i, j] * b[j, k]
                y += abs(r[i, j] * b[j, k])
            off += abs(x - (1.0 if i == k else 0.0))
            sizes += y
        for j in range(size):
            rows += abs(r[i, j]) * b[j, size]
        total = off + (size + 2) * U * sizes + size * rows
        defect = max(defect, total)
    if not defect < 0.5:
        return
    last = size - 1
    for j in range(size):
        residual, sizes, length = 0.0, 0.0, 0.0
        for k in range(size):
            x = b[j, k] * r[k, last]
            residual += x
            sizes += abs(x)
            length += abs(r[k, last])
        if j == last:
            residual -= 1.0
        store.residual[j] = abs(residual) + (size + 3) * U * (sizes + 1.0) + b[j, size] * length
    error2 = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += abs(r[i, j]) * store.residual[j]
        largest = max(largest, total)
    largest /= 1.0 - defect
    error2 = largest * np.sqrt(float(size))
    length = 0.0
    for j in range(size):
        length += r[j, last] * r[j, last]
    scale = 1.0 / np.sqrt(length)
    bound = (error2 * scale + 3 * U) * SAFE
    if bound < store.dev[column]:
        store.dev[column] = bound
        for j in range(size):
            store.vec[j, column] = r[j, last] * scale


@compiled(lean=True)
def inverted(b, r, a, size, smallest):
    """Approximate inverse by Gauss-Jordan elimination with row pivots above ``smallest``; whether there is one.

    Args:
        b: the matrix, in its first ``size`` rows and columns; ``r`` takes the inverse, ``a`` is room to compute.
    """
    for i in range(size):
        for j in range(size):
            a[i, j] = b[i, j]
            r[i, j] = 1.0 if i == j else 0.0
    for c in range(size):
        p = c
        for i in range(c + 1, size):
            if abs(a[i, c]) > abs(a[p, c]):
                p = i
        if not abs(a[p, c]) > smallest:
            return False
        if p != c:
            for j in range(size):
                a[c, j], a[p, j] = a[p, j], a[c, j]
                r[c, j], r[p, j] = r[p, j], r[c, j]
        scale = 1.0 / a[c, c]
        for j in range(size):
            a[c, j] *= scale
            r[c, j] *= scale
        for i in range(size):
            factor = a[i, c]
            if i != c and factor != 0.0:
                for j in range(size):
                    a[i, j] -= factor * a[c, j]
                    r[i, j] -= factor * r[c, j]
    return True
