"""The example path: its vertices are the whole truth, and its pictures are isometric where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netfold as nf
from netfold.reporting import example as examples
from netfold.reporting.example import flat, picture_shape, pictures_of, typical_pair
from netfold.reporting.gather import ReportData


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 30))
@settings(max_examples=50, deadline=None)
def test_a_planar_curve_keeps_its_distances(seed: int, vertices: int, features: int) -> None:
    """A curve in a plane of any space comes out congruent, and two components hold all of it."""
    random = np.random.default_rng(seed)
    plane = random.normal(size=(vertices, 2))
    frame = np.linalg.qr(random.normal(size=(features, 2)))[0]
    t = np.sort(random.random(vertices))
    xy, share = flat(plane @ frame.T + random.normal(size=features), t)
    apart = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(xy[:, None] - xy[None], axis=-1), apart, atol=1e-9 * apart.max())
    assert share == pytest.approx(1)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_silent_coordinates_do_not_matter(seed: int) -> None:
    """Padding with coordinates that are always 0 changes neither picture nor share."""
    random = np.random.default_rng(seed)
    image, t = random.normal(size=(12, 5)), np.linspace(0, 1, 12)
    xy, share = flat(image, t)
    padded, padded_share = flat(np.pad(image, ((0, 0), (0, 40))), t)
    np.testing.assert_allclose(padded, xy, atol=1e-9)
    assert padded_share == pytest.approx(share)
    assert 0 < share <= 1


def test_a_point_is_flat() -> None:
    """An image that does not move has no extent, and nothing is left out."""
    xy, share = flat(np.ones((4, 3)), np.linspace(0, 1, 4))
    np.testing.assert_allclose(xy, 0, atol=1e-12)
    assert share == 1


def test_vertices_are_the_whole_image() -> None:
    """Chords between the outputs at the vertices add up to the output's exact length."""
    net = nf.random_network(inputs=4, width=20, depth=3, outputs=5, activation="hardtanh", sigma_w=3.0, seed=4)
    line = nf.Line([1.0, 0.0, -1.0, 2.0], [-2.0, 1.0, 0.5, -1.0])
    trace, program = nf.trace_path(net, line), nf.capture(net, shape=(4,))
    t, outputs, pictures = pictures_of(program, trace, line)
    assert len(t) == trace.regions + 1
    chords = np.linalg.norm(np.diff(outputs, axis=0), axis=1).sum()
    assert chords == pytest.approx(trace.output.length, rel=1e-10)
    assert [p.name for p in pictures] == [*(layer.label for layer in trace.layers), "output"]
    assert [p.length for p in pictures] == pytest.approx((trace.lengths[1:] / trace.lengths[0]).tolist())


def test_long_paths_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more vertices than allowed, the ends always among them, all of them true breakpoints."""
    monkeypatch.setattr(examples, "MOST_POINTS", 9)
    net = nf.random_network(inputs=4, width=30, depth=3, outputs=2, activation="relu", seed=4)
    line = nf.Line([1.0, 0.0, -1.0, 2.0], [-2.0, 1.0, 0.5, -1.0])
    trace = nf.trace_path(net, line)
    t, _, _ = pictures_of(nf.capture(net, shape=(4,)), trace, line)
    assert len(t) == 9
    assert (t[0], t[-1]) == (0, 1)
    assert set(t[1:-1]) <= set(trace.breakpoints)


def test_the_typical_pair_has_the_median_of_those_that_change_class(small: ReportData) -> None:
    """Its number of regions is closest to the median among pairs whose ends differ in class."""
    traces = small.trained
    regions = [t.regions for t in traces if t.output.classes[0] != t.output.classes[-1]]
    chosen = traces[typical_pair(traces)]
    assert chosen.output.classes[0] != chosen.output.classes[-1]
    assert abs(chosen.regions - np.median(regions)) == min(abs(r - np.median(regions)) for r in regions)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((28, 28), (28, 28, 1)),
        ((1, 28, 28), (28, 28, 1)),
        ((3, 32, 32), (32, 32, 3)),
        ((4, 32, 32), None),
        ((64,), None),
        ((1, 64), None),
        ((3, 8, 32, 32), None),
    ],
)
def test_what_is_a_picture(shape: tuple[int, ...], found: tuple[int, int, int] | None) -> None:
    """Only shapes with two sides and one or three channels are shown as pictures."""
    assert picture_shape(shape) == found
