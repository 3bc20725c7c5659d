"""Hypothesis strategies for traces that need no network: any values a trace can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from netfold.results.trace import LayerRecord, OutputRecord, Trace

counts = st.integers(0, 2**40)
lengths = st.floats(0, 1e12) | st.just(float("nan"))
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
json_values: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words | st.floats()
provenances = st.dictionaries(words, json_values | st.lists(json_values, max_size=3), max_size=4)


@st.composite
def architectures(draw: st.DrawFn) -> tuple[list[tuple[str, str, int, str]], int]:
    """Names, operations, units and labels of the layers, and the number of outputs."""
    layer = st.tuples(words, st.sampled_from(["relu", "hardtanh"]), st.integers(1, 10**6), words)
    return draw(st.lists(layer, max_size=4)), draw(st.integers(1, 4))


@st.composite
def traces(draw: st.DrawFn, architecture: tuple[list[tuple[str, str, int, str]], int] | None = None) -> Trace:
    """A trace of the given architecture, or of any."""
    layers, outputs = architecture or draw(architectures())
    records = tuple(
        LayerRecord(*layer, *(draw(counts) for _ in range(3)), *(draw(lengths) for _ in range(4))) for layer in layers
    )
    inside = st.floats(0, 1, exclude_min=True, exclude_max=True)
    breakpoints = sorted(draw(st.lists(inside, unique=True, max_size=6 if layers else 0)))
    changes = sorted(draw(st.lists(inside, unique=True, max_size=3)))
    output = OutputRecord(
        outputs,
        *(draw(lengths) for _ in range(3)),
        np.array(changes),
        np.array(draw(_listed(st.integers(0, 9), len(changes) + 1)), np.int64),
        np.array(draw(_listed(st.integers(0, 99), outputs)), np.int64),
    )
    return Trace(
        regions=len(breakpoints) + 1,
        patterns=draw(counts),
        linear_pieces=draw(counts),
        breakpoints=np.array(breakpoints, np.float64),
        breakpoint_layers=np.array(draw(_listed(st.integers(0, max(len(layers) - 1, 0)), len(breakpoints))), np.int64),
        layers=records,
        output=output,
        input_length=draw(lengths),
        method=draw(words),
        error=np.array(draw(_listed(lengths, len(layers) + 2))),
        status=draw(words),
        margin=draw(st.floats()),
        counting_rule=draw(words),
        provenance=draw(provenances),
    )


def _listed(values: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=size, max_size=size)
