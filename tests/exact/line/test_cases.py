"""Known exact counts of large networks, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

import netfold as nf
from tests.cases import CASES, build


@pytest.mark.parametrize("name", [name for name in CASES if name != "L5"])
def test_regions_after_every_layer(name: str) -> None:
    """Regions on the line after each layer, exactly; patterns = 1 + flips.

    L5, like L4 but of four times the products, is left to the benchmark.
    """
    net, path = build(name)
    trace = nf.trace_path(net, path)
    expected = CASES[name].regions
    assert (np.cumsum(trace.transitions) + 1).tolist() == expected
    assert trace.regions == trace.patterns == expected[-1]
    made = np.bincount(trace.breakpoint_layers, minlength=len(expected))
    assert made.tolist() == trace.transitions.tolist()
    assert (np.diff(trace.breakpoints) > 0).all()
