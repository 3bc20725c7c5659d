"""The report's section on layers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.reporting.figures import draw_all
from netfold.reporting.gather import ReportData, gather
from netfold.reporting.numbers import numbers, to_json
from netfold.reporting.page import render
from netfold.reporting.sensitivity import AT_MOST, STRENGTHS, disturbed, sentence


@pytest.fixture(scope="module")
def data() -> ReportData:
    net = nf.random_network(inputs=5, width=12, depth=2, outputs=3, seed=0)
    points = np.random.default_rng(0).normal(size=(30, 5))
    return gather(net, points, labels=net(torch.from_numpy(points).float()).argmax(1), pairs=3)


def test_the_page_holds_the_section_and_its_numbers(data: ReportData) -> None:
    """The figure, the sentence, and in numbers.json what the library gives."""
    assert data.sensitivity is not None
    figures = draw_all(data)
    page = render(data, figures, "files")
    assert "Which layers must not be touched?" in page
    assert figures["sensitivity"].light in page
    assert sentence(data.sensitivity).split(";")[0] in page
    told = json.loads(to_json(numbers(data)))["sensitivity"]
    assert [row["mean"] for row in told["layers"]] == pytest.approx(data.sensitivity.mean.ravel().tolist())
    assert data.sensitivity.clean == 1.0


def test_the_sentence_names_the_most_and_the_least_sensitive(data: ReportData) -> None:
    found = data.sensitivity
    assert found is not None
    column = STRENGTHS.index(0.5)
    values = found.values.copy()
    values[:, column] = np.array([0.7, 0.9, 0.75])[:, None]
    told = sentence(replace(found, values=values, effect=np.zeros_like(found.effect)))
    assert "layer linear1 → act1 alone costs 30.0% of accuracy" in told
    assert "on layer linear2 → act2, the least sensitive of 3, 10.0%" in told
    assert "nothing is known" in sentence(replace(found, effect=np.ones_like(found.effect)))


def test_much_data_is_thinned_and_programs_have_no_section() -> None:
    net = nf.random_network(inputs=5, width=6, depth=1, outputs=3, seed=0)
    points = np.random.default_rng(0).normal(size=(2000, 5))
    found = disturbed(net, points, None, 0)
    assert found is not None
    assert (found.inputs, found.metric) == (AT_MOST, "disagreement")
    for without in (nf.capture(net, shape=(5,)), nn.ReLU()):
        assert isinstance(disturbed(without, points, None, 0), str)  # why there is none


@pytest.mark.parametrize("size", [1, 5])
def test_programs_of_a_fixed_batch_have_the_section(size: int) -> None:
    """Within a budget, too, for which the model is timed: in batches of the size that it takes."""
    net = nf.random_network(3, 6, 2, 2, seed=0)
    exported = torch.export.export(net, (torch.zeros(size, 3),))
    points = np.random.default_rng(0).normal(size=(40, 3))
    found = disturbed(exported, points, None, 0, 10.0)
    assert not isinstance(found, str), found
    assert len(found.layers) == 3
