"""Rules in float64 with error bounds: wherever they are certain they say what the rules in integers say."""

from __future__ import annotations

import numpy as np
import pytest

from netfold.exact.proofs import certified
from netfold.exact.proofs.check_regions import CutBlock, Refused
from netfold.exact.proofs.findings import Spans, token
from netfold.exact.proofs.proposing import floats


def block_of(rng, m, cuts, walls, integers):
    """Cuts of ReLU units and walls, as integers; small ones have points and directions in common."""
    drawn = (
        rng.integers(-2, 3, (walls + cuts, m + 1))
        if integers
        else rng.integers(-(10**15), 10**15, (walls + cuts, m + 1))
    )
    rows = [row if any(row[:-1]) else [1, *row[1:]] for row in drawn.tolist()]
    block = CutBlock(m)
    block.cuts = rows[walls:]
    block.states = [[2 << 2 * j, 1 << 2 * j] for j in range(cuts)]
    block.weights = [1 << (cuts - 1 - j) for j in range(cuts)]
    block.open = list(zip(block.states, block.weights, strict=True))
    return block, rows[:walls], floats(rows, m)


def ruled(rule, name, walls):
    try:
        return set(rule(name, walls))
    except Refused:
        return set()


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_certain_is_right(seed, integers):
    rng = np.random.default_rng(seed)
    m, cuts, walls = int(rng.integers(2, 5)), 6, 5
    block, own, near = block_of(rng, m, cuts, walls, integers)
    n = cuts + walls
    subsets = np.array([rng.permutation(n)[:m] for _ in range(60)])
    signs, sure = certified.stars(near, walls, subsets)
    seen = 0
    for rows, found, certain in zip(subsets.tolist(), signs[:, walls:].tolist(), sure, strict=True):
        if certain:
            codes, seen = ruled(block.star, token(rows), own), seen + 1
            assert len(codes) == 2 ** found.count(0)
            for j, sign in enumerate(found):
                states = {code >> (cuts - 1 - j) & 1 for code in codes}
                assert states == ({0, 1} if sign == 0 else {int(sign > 0)})
    subsets = np.array([rng.permutation(n)[: m + 1] for _ in range(60)])
    signs, sure = certified.lemmas(near, walls, subsets)
    for rows, found, certain in zip(subsets.tolist(), signs.tolist(), sure, strict=True):
        if certain:
            seen += 1
            literals = sum(
                (1 if s > 0 else 2) << 2 * (r - walls) for r, s in zip(rows, found, strict=True) if r >= walls
            )
            assert ruled(block.lemma, token(rows), own) == {literals}
    subsets = np.array([rng.permutation(walls)[:m] for _ in range(20)])
    signs, sure = certified.cones(near, walls, subsets)
    for rows, found, certain in zip(subsets.tolist(), signs.tolist(), sure, strict=True):
        if certain:
            seen += 1
            literals = {(2 if sign > 0 else 1) << 2 * j for j, sign in enumerate(found) if sign}
            assert ruled(block.cone, token(rows), own) == literals
    assert seen > 0 or integers  # small integers may tie everywhere


def test_lemmas_of_fewer_functions():
    """Functions that read three coordinates of six: a lemma on four of them has one combination."""
    rng = np.random.default_rng(0)
    block, own, _ = block_of(rng, 3, 6, 4, False)
    mixed = rng.integers(-9, 10, (3, 6))
    wide = CutBlock(6)
    rows = [[*(np.array(row[:-1], dtype=object) @ mixed).tolist(), row[-1]] for row in [*own, *block.cuts]]
    wide.cuts = rows[4:]
    subsets = np.array([rng.permutation(10)[:4] for _ in range(80)])
    signs, sure = certified.lemmas(floats(rows, 6), 4, subsets)
    assert sure.sum() > 5
    for chosen, found, certain in zip(subsets.tolist(), signs.tolist(), sure, strict=True):
        if certain:
            literals = sum((1 if s > 0 else 2) << 2 * (r - 4) for r, s in zip(chosen, found, strict=True) if r >= 4)
            assert ruled(wide.lemma, token(chosen), rows[:4]) == {literals}


def test_nothing_is_certain_of_what_is_singular_or_tied():
    functions = floats([[1, 0, 0], [2, 0, 0], [0, 1, 0], [1, 1, 0]], 2)
    assert not certified.stars(functions, 0, np.array([[0, 1]]))[1].any()
    assert not certified.stars(functions, 0, np.array([[0, 2]]))[1].any()  # the fourth vanishes there, too
    assert not certified.lemmas(functions, 0, np.array([[0, 1, 2]]))[1].any()
    assert not certified.lemmas(functions, 0, np.array([[0, 2, 3]]))[1].any()  # its constant is zero


def test_what_is_known_of_ranks():
    """Walls of the first layer's units 0 to 2, of which unit 2 is constant behind it, and two cuts of the second."""
    spans = Spans([1, 1, 1, 2, 2], [0, 1, 2, 0, 1], [0, 0b11, 0])
    assert spans.hold([0, 1, 3])
    assert not spans.hold([0, 3])
    assert spans.hold([0, 1, 2, 3])
    assert not spans.hold([3, 4])
    assert not Spans([-1, 1], [0, 0], [0, 1]).hold([0, 1])
