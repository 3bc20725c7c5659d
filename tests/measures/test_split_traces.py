"""Laws of traces that are exact up to the last operations: the part before is that of the network cut off there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf


class Normalised(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.net(x)
        return y / y.norm(dim=-1, keepdim=True)


def body() -> nn.Sequential:
    return nf.random_network(inputs=4, width=20, depth=3, outputs=5, activation="relu", sigma_b=0.5, seed=3)


ENDS = {
    "softmax": lambda: nn.Sequential(*body(), nn.Softmax(dim=-1)),
    "log-softmax": lambda: nn.Sequential(*body(), nn.LogSoftmax(dim=-1)),
    "sigmoid": lambda: nn.Sequential(*body(), nn.Sigmoid()),
    "tanh, then linear": lambda: nn.Sequential(*body(), nn.Tanh(), nn.Linear(5, 3)),
    "hardswish": lambda: nn.Sequential(*body(), nn.Hardswish()),
    "norm": lambda: Normalised(body()),
    "layer norm": lambda: nn.Sequential(*body(), nn.LayerNorm(5)),
}

LINE = nf.Line(np.full(4, -2.0), np.array([2.0, 1.0, 3.0, 2.0]))
BENT = nf.Polyline(np.random.default_rng(0).standard_normal((3, 4)))


@pytest.mark.parametrize("path", [LINE, BENT], ids=["line", "polyline"])
@pytest.mark.parametrize("end", ENDS)
def test_the_part_before_is_exact(end: str, path: nf.Line | nf.Polyline) -> None:
    """Breakpoints, transitions and lengths are those of the cut network, but for what the units behind add."""
    torch.manual_seed(0)
    model = ENDS[end]().eval()
    found, cut = nf.trace_path(model, path), nf.trace_path(body(), path)
    assert found.method == "exact, then sampled"
    assert found.status.kind.reached
    assert found.transitions[:3].tolist() == cut.transitions.tolist()
    assert found.lengths[:4].tolist() == cut.lengths[:4].tolist()
    assert found.breakpoints[found.breakpoint_layers < 3].tolist() == cut.breakpoints.tolist()
    assert found.error[:4] == pytest.approx(cut.error[:4], rel=1)
    if end in ("sigmoid", "tanh, then linear"):
        assert found.transitions[3] == cut.output.sign_changes.sum()
    if end in ("softmax", "log-softmax", "sigmoid"):
        assert found.output.class_changes == pytest.approx(cut.output.class_changes, abs=1e-9)
        assert found.output.classes.tolist() == cut.output.classes.tolist()


@pytest.mark.parametrize("end", ENDS)
def test_the_part_behind_agrees_with_sampling_and_a_fine_polygon(end: str) -> None:
    torch.manual_seed(0)
    model = ENDS[end]().eval()
    found, sampled = nf.trace_path(model, LINE), nf.trace_path(model, LINE, "sampled")
    assert (found.regions, found.patterns) == (sampled.regions, sampled.patterns)
    assert found.transitions.tolist() == sampled.transitions.tolist()
    assert found.sign_transitions.tolist() == sampled.sign_transitions.tolist()
    assert found.lengths == pytest.approx(sampled.lengths, rel=1e-5)
    assert found.breakpoints == pytest.approx(sampled.breakpoints, abs=1e-9)
    assert found.output.sign_changes.tolist() == sampled.output.sign_changes.tolist()
    points = torch.from_numpy(LINE(np.linspace(0, 1, 20001)))
    with torch.no_grad():
        fine = torch.diff(model.double()(points), dim=0).norm(dim=1).sum()
    assert found.output.length == pytest.approx(float(fine), rel=1e-4)


def test_a_part_of_a_path_is_told_too() -> None:
    model = ENDS["softmax"]()
    part = nf.trace_path(model, LINE, evaluations=1)
    whole = nf.trace_path(model, LINE)
    assert part.covered < 1
    assert part.lengths[-1] < whole.lengths[-1]
    assert part.status.kind.name == "PARTIAL"


def test_a_knot_behind_is_sampled() -> None:
    """Where something that is not piecewise linear stands before a knot, or a path is curved, all is sampled."""
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU())
    assert nf.trace_path(model, nf.Line([0.0, 0.0], [1.0, 1.0])).method == "sampled"
    assert nf.trace_path(ENDS["softmax"](), nf.Arc(np.eye(4)[0], np.eye(4)[1])).method == "sampled"


def test_exact_is_refused_with_what_can_be_done() -> None:
    with pytest.raises(nf.NotPiecewiseLinearError, match="softmax"):
        nf.trace_path(ENDS["softmax"](), LINE, "exact")


@pytest.mark.parametrize("end", ["softmax", "norm"])
def test_planes_and_counts_are_of_the_exact_part(end: str) -> None:
    """They are those of the cut network, and say so."""
    model, plane = ENDS[end](), nf.Plane(np.zeros(4), np.eye(4)[0], np.eye(4)[1], (-2, 2, -2, 2))
    part, cut = nf.partition_plane(model, plane), nf.partition_plane(body(), plane)
    assert (part.regions, part.areas.tolist()) == (cut.regions, cut.areas.tolist())
    assert part.class_areas == cut.class_areas
    assert "reads" in part.counting_rule
    for domain in (plane, LINE, nf.Box(-0.05, 0.05)):
        found = nf.count_regions(model, domain)
        assert int(found) == int(nf.count_regions(body(), domain))
        assert "reads" in found.counting_rule
