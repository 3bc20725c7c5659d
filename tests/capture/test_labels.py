"""One label a layer: traces, sensitivities and diagnoses of a network call its layers the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import netfold as nf


class Residual(nn.Module):
    """A shared activation, a skip with weights of its own, a functional layer, and weights that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.conv2, self.skip = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.relu, self.dense = nn.ReLU(), nn.Linear(3, 4)
        self.readout = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.conv1(x)))
        h = self.relu(self.conv2(h) + self.skip(x))
        return self.readout(torch.relu(self.dense(h.mean((2, 3)))))


def chain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, 4), nn.Hardtanh()), nn.Linear(4, 2))


MODELS = [(chain, (3,)), (Residual, (2, 4, 4)), (lambda: nf.random_network(3, 5, 2, 2, seed=0), (3,))]


@pytest.mark.parametrize(("make", "shape"), MODELS)
def test_every_table_of_a_network_calls_its_layers_the_same(make, shape):
    """The labels of a sensitivity are labels of the trace, in its order, and every trace layer with weights is there."""
    torch.manual_seed(0)
    model, x = make().eval(), np.random.default_rng(0).normal(size=(4, *shape))
    trace = nf.trace_path(model, nf.Line(x[0], x[1])).to_dataframe()
    known = trace["label"].tolist()
    found = nf.layer_sensitivity(model, x, repeats=1).to_dataframe()["label"].tolist()
    assert sorted(set(found), key=known.index) == [name for name in known if "→" in name]
    assert nf.local_complexity(model, x, radius=0.1).to_dataframe()["label"].tolist() == known[1:-1]
    assert set(nf.diagnose(model, x[0]).to_dataframe()["label"]) <= set(known)


def test_a_label_names_the_weights_and_the_layer():
    """Numbers of a chain say which weights lead to which operation; a name that says so itself is left as it is."""
    torch.manual_seed(0)
    program = nf.capture(chain().eval(), shape=(3,))
    assert [*(layer.label for layer in program.layers), program.output_label] == [
        "0 → 1 relu",
        "2.0 → 2.1 hardtanh",
        "3 → output",
    ]
    program = nf.capture(Residual().eval(), shape=(2, 4, 4))
    labels = [*(layer.label for layer in program.layers), program.output_label]
    assert labels == ["conv1 → relu[1]", "conv2, skip → relu[2]", "dense → relu[3]", "readout → output"]


def test_a_program_of_its_own_has_the_labels_of_its_module():
    """An exported program names modules as the module does."""
    torch.manual_seed(0)
    model = Residual().eval()
    exported = torch.export.export(model, (torch.zeros(2, 2, 4, 4),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    programs = nf.capture(exported), nf.capture(model, shape=(2, 4, 4))
    one, two = ([layer.label for layer in program.layers] for program in programs)
    assert one == two
