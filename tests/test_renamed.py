"""Arguments go by one name, and for one release by the old one too."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf

NET = nf.random_network(inputs=4, width=6, depth=2, outputs=3, activation="relu", seed=0)
X = np.random.default_rng(0).normal(size=(6, 4))
WATCHED = [
    nf.monitors.AlongPaths(nf.Line(X[0], X[1])),
    nf.monitors.LocalComplexity(X, directions=2),
    nf.monitors.LayerLoss(X, repeats=1),
]


def _regularised() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 3), nf.TrajectoryRegularizer())
    net(torch.as_tensor(X, dtype=torch.float32))
    return net


RENAMED = {
    "layer_sensitivity": (lambda **net: nf.layer_sensitivity(data=X, repeats=1, **net).values.tolist(), NET),
    "count_dichotomies": (lambda **net: nf.count_dichotomies(inputs=X[:3], **net).counts.tolist(), NET),
    "penalty": (lambda **net: nf.TrajectoryRegularizer.penalty(**net).item(), _regularised()),
    "in_place_of_batch_norm": (
        lambda **net: str(nf.TrajectoryRegularizer.in_place_of_batch_norm(**net)),
        nn.Sequential(nn.BatchNorm1d(3)),
    ),
    "monitors.measure": (lambda **net: nf.monitors.measure(measures=WATCHED, **net), NET),
    "Monitor": (lambda **net: nf.monitors.Monitor(WATCHED)(step=0, **net), NET),
    **{type(w).__name__: (lambda w=w, **net: w.measure(**net), NET) for w in WATCHED},
}


@pytest.mark.parametrize("name", RENAMED)
def test_the_old_name_works_and_warns(name):
    """`net` gives what `model` gives, and a warning; both together, or one by place, are an error."""
    call, net = RENAMED[name]
    expected = call(model=net)
    with pytest.warns(DeprecationWarning, match="'model'"):
        assert call(net=net) == expected
    with pytest.raises(TypeError, match="net"):
        call(net=net, model=net)


def test_the_old_name_of_a_report_works_and_warns(tmp_path):
    """And the page is about that network."""
    with pytest.warns(DeprecationWarning, match="'model'"):
        found = nf.report(net=NET, data=X, output=tmp_path / "report.html", pairs=1)
    assert found.parameters == sum(p.numel() for p in NET.parameters())


def _public():
    rooms = [nf, nf.theory, nf.bounds, nf.ranking, nf.monitors]
    for thing in {id(t): t for room in rooms for t in (getattr(room, name) for name in room.__all__)}.values():
        if inspect.isclass(thing):
            yield from (m for _, m in inspect.getmembers(thing, inspect.isfunction))
        elif inspect.isfunction(thing):
            yield thing


def test_the_model_goes_by_one_name():
    """No public function or method calls it `net`."""
    assert sum("model" in inspect.signature(f).parameters for f in _public()) > 20
    assert [f.__qualname__ for f in _public() if {"net", "found", "made"} & set(inspect.signature(f).parameters)] == []
