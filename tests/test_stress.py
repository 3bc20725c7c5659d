"""A minute of the stress command with fixed seeds: what netfold says of networks, beside rational arithmetic.

`benchmarks/stress.py` goes on with other seeds, with interrupts, kills and damaged files.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.exact.arc import rational_circles
from tests.exact.cells.networks import random_layers
from tests.exact.cells.reference import Layer, patterns
from tests.exact.line import rational_segments
from tests.stress.checks import GROUPS
from tests.stress.networks import KINDS

RIGHT = {
    "lines": [*KINDS],
    "arcs": ["ordinary", "dead", "1-unit layers"],
    "planes": ["ordinary", "dead", "1-unit layers"],
    "cells": ["ordinary", "integer", "duplicated", "dead", "sparse", "no biases", "2-bit", "float32 multiples"],
    "units": [kind for kind in KINDS if kind != "denormals, 1e300"],
}
"""Kinds on which the stress command finds no wrong answer; of cells, none in a space without walls."""

NETWORKS = {"lines": 3, "arcs": 3, "planes": 3, "cells": 2, "units": 2}


@pytest.mark.parametrize(("group", "kind"), [(group, kind) for group, kinds in RIGHT.items() for kind in kinds])
def test_right(group: str, kind: str) -> None:
    """No answer is wrong, refused or an odd error, and none is doubted on ordinary weights."""
    for seed in range(10**6, 10**6 + NETWORKS[group]):
        for verdict in GROUPS[group](kind, seed):
            assert (verdict.wrong, verdict.refused, verdict.odd) == ([], "", ""), (seed, verdict)
            assert not (verdict.doubted and kind == "ordinary"), (seed, verdict)


def test_oracles_agree() -> None:
    """Patterns on a line: the tracer of segments counts those that elimination finds on the interval."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        layers = random_layers(rng, 1, [3, 3], integers=seed % 2 == 0)
        met = rational_segments.met(layers, np.array([-2.0]), np.array([3.0]))
        walls = [np.array([1.0, 2.0]), np.array([-1.0, 3.0])]
        assert len(met.breakpoints) + 1 == len(patterns(layers, walls, exact=True))


def test_circle_touches_and_ties() -> None:
    """On the unit circle x > 1 never holds, x > 3/5 and y > 4/5 change at one point, and at the start x = 1 is one."""
    layer = Layer(np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 5.0], [0.0, 1.0]]), np.array([-1.0, -3.0, -4.0, 0.0]))
    circle = rational_circles.met([layer], np.zeros(2), np.array([1.0, 0.0]), np.array([0.0, 1.0]), 4)
    places = np.arccos([0.6, -0.6, -1.0, 0.6]) / (2 * np.pi)
    places[3] = 1 - places[3]
    np.testing.assert_allclose(circle.breakpoints, places, rtol=1e-15)
    assert circle.transitions == [6]


def test_segment_in_fractions() -> None:
    """A hat function of |x|: 1 - |x| above 0 on (-1, 1), from -2 to 2."""
    layers = [Layer(np.array([[1.0]]), np.zeros(1), slopes=(-1.0, 1.0)), Layer(np.array([[-1.0]]), np.ones(1))]
    met = rational_segments.met(layers, np.array([-2.0]), np.array([2.0]))
    assert met.breakpoints == [Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)]
    assert (met.transitions, met.first, met.linear_pieces) == ([1, 2], [1, 0, 1], 4)
