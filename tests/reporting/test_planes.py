"""The report's slice through three inputs: chosen by class, drawn before beside after, told in words and numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import netfold as nf
from netfold.plots.themes import LIGHT
from netfold.reporting.planes import MOST_ON_LINE, draw, numbers, sentence, slice_through

NET = nf.random_network(6, 12, 2, 4, sigma_b=0.5, seed=1)
BEFORE = nf.random_network(6, 12, 2, 4, sigma_b=0.5, seed=2)
POINTS = np.random.default_rng(0).normal(size=(20, 6))
LABELS = np.arange(20) % 4


def traces(regions: int = 3) -> list[nf.Traces]:
    found = nf.trace_path(NET, nf.Line(POINTS[0], POINTS[1]))
    object.__setattr__(found, "regions", regions)
    return [nf.Traces([found])]


def test_it_is_the_partition_of_its_plane() -> None:
    """Three inputs of three classes, both networks cut on their plane, numbers and words as the partitions say."""
    program, before = nf.capture(NET, shape=(6,)), nf.capture(BEFORE, shape=(6,))
    found = slice_through(program, before, POINTS, LABELS, traces(), seed=0)
    assert found is not None
    assert found.initial is not None
    assert len(set(found.labels)) == 3
    assert found.labels == tuple(LABELS[list(found.rows)])
    plane = found.trained.plane
    assert plane(*found.where.T) == pytest.approx(POINTS[list(found.rows)])
    assert found.trained.regions == nf.partition_plane(NET, plane).regions
    assert found.initial.regions == nf.partition_plane(BEFORE, plane).regions
    text = sentence(found, "test digit")
    assert f"three test digits holds {found.trained.regions:,} activation regions" in text
    assert f"held {found.initial.regions:,} before" in text
    told = numbers(found)
    assert told["trained"]["regions_by_layer"][-1] == found.trained.regions
    figure = draw(found, 6.4, LIGHT)
    assert [ax.get_title() for ax in figure.axes] == [
        f"before training: {found.initial.regions:,} regions", f"after training: {found.trained.regions:,} regions",
    ]  # fmt: skip


def test_one_network_without_labels() -> None:
    """Without labels or a network before, any three rows that span a plane."""
    found = slice_through(nf.capture(NET, shape=(6,)), None, POINTS, None, traces(), seed=3)
    assert found is not None
    assert found.labels == ()
    assert len(draw(found, 6.4, LIGHT).axes) == 1
    assert numbers(found)["initial"] is None


def test_none_where_there_is_no_plane() -> None:
    """Inputs on one line, and networks whose plane would hold too many regions, give no exact slice, but the reason."""
    program = nf.capture(NET, shape=(6,))
    line = np.outer(np.arange(9.0), np.ones(6))
    assert (
        slice_through(program, None, line, None, traces(), seed=0)
        == "no three of the inputs that were tried span a plane"
    )
    sampled = slice_through(program, None, POINTS, None, traces(MOST_ON_LINE + 1), seed=0)
    assert not isinstance(sampled, str)
    assert f"more than {MOST_ON_LINE} regions" in sampled.why


def test_one_class_is_said_plainly() -> None:
    """Where the network gives one class to the whole plane, the sentence says so."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.copy_(torch.tensor([1.0, 0.0]))
    found = slice_through(nf.capture(net, shape=(6,)), None, POINTS, None, traces(), seed=0)
    assert found is not None
    assert sentence(found, "input").endswith("one class to all of it.")
