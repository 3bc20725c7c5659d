"""The report's section on units that never change."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn

import netfold as nf
from netfold.reporting.figures import draw_all
from netfold.reporting.gather import gather
from netfold.reporting.numbers import numbers, to_json
from netfold.reporting.page import render
from netfold.reporting.sensitivity import AT_MOST
from netfold.reporting.states import seen, sentence


def network() -> nn.Sequential:
    """Units by construction: dead, on, two that repeat another, and one that changes."""
    net = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]]))
        net[0].bias.copy_(torch.tensor([-9.0, 9.0, 0.0, 0.0, 0.0]))
        net[2].weight.copy_(torch.eye(3, 5)), net[2].bias.zero_()
    return net


def test_the_page_names_them() -> None:
    """The sentence, the table, and in numbers.json the counts by construction."""
    points = np.random.default_rng(0).uniform(-1, 1, (30, 2))
    data = gather(network(), points, pairs=3)
    assert data.states is not None
    told = sentence(data.states)
    assert told.startswith("On 30 inputs, of 8 units 2 are never on, 3 are always on, the other 3 change.")
    assert told.endswith("2 units only repeat another of the layer, up to a factor.")
    first, second = json.loads(to_json(numbers(data)))["units"]
    assert {key: first[key] for key in ("units", "dead", "on", "free", "twins")} == {
        "units": 5, "dead": 1, "on": 1, "free": 3, "twins": 2,
    }  # fmt: skip
    assert second["rank"] == 2
    page = render(data, draw_all(data), "files")
    assert "Which units never change?" in page
    assert told in page


def test_much_data_is_thinned_and_smooth_networks_have_no_such_units() -> None:
    """At most so many inputs, fewer where there is no time; and why there is no section."""
    program, points = nf.capture(network(), shape=(2,)), np.random.default_rng(0).normal(size=(2000, 2))
    for seconds, count in ((None, AT_MOST), (1.0, 50)):
        found = seen(program, points, seconds, 0.001)
        assert isinstance(found, nf.Units)
        assert found.where == f"{count} inputs"
    smooth = nf.capture(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), shape=(2,))
    assert seen(smooth, points, None, 0.0) == "no layer has units with linear pieces of their own"
