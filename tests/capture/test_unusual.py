"""Models of unusual make: followed where they are piecewise linear, refused in one sentence where they are not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import netfold as nf


class Standardised(nn.Conv2d):
    """Weights standardised by `F.batch_norm` with ``training=True``, as NFNet and BiT in timm do it."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size)
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, outputs))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, weight=self.gain, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias)


class Does(nn.Module):
    """A function of the input and of some modules."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


class ComplexWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.mixing = nn.Linear(4, 4), nn.Parameter(torch.randn(3, 2, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.rfft(self.linear(x)) @ self.mixing.to(torch.cdouble)).flatten(1).relu()


class Graph(nn.Module):
    """Messages along the edges of a buffer that are no loops: how many is known from its values."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 1]]))
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.edges, Tensor)
        source, target = self.edges[:, self.edges[0] != self.edges[1]]
        h = self.linear(x)
        return torch.zeros_like(h).index_add(1, target, h[:, source]).relu() / torch.bincount(self.edges[1])[:, None]


class Counts(Graph):
    """Sizes, decisions and loops from whole numbers in a buffer."""

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.edges, Tensor)
        nodes = int(self.edges.max()) + 1
        if (self.edges[0] == self.edges[1]).any() and self.edges.max().item() < 9:
            x = 2 * x
        for node in self.edges[0].unique().tolist():
            x = x + 0.1 * node
        degrees = torch.bincount(self.edges[1], minlength=nodes).to(x.dtype)
        h = self.linear(x)[:, self.edges[0]]
        return (
            torch.zeros(x.shape[0], nodes, 3, dtype=x.dtype).index_add(1, self.edges[1], h) / degrees[:, None]
        ).relu()


def fourier(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    h = torch.fft.fft2(first(x)).real.relu()
    return torch.fft.irfft(torch.fft.rfft(second(h)) * torch.tensor([1.0, 2.0j, 0.5]), n=4).relu()


FOLLOWED: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "weight standardisation": lambda: (
        nn.Sequential(
            Standardised(1, 2, 3), nn.ReLU(), Standardised(2, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
        ),
        (1, 5, 5),
    ),
    "fourier transforms": lambda: (Does(fourier, nn.Linear(4, 4), nn.Linear(4, 4)), (3, 4)),
    "imaginary parts": lambda: (
        Does(
            lambda x, f: torch.view_as_real(torch.fft.fft(f(x)).conj().resolve_conj()).flatten(1).relu(),
            nn.Linear(4, 4),
        ),
        (4,),
    ),
    "complex weights": lambda: (ComplexWeights(), (4,)),
    "a graph in a buffer": lambda: (Graph(), (4, 3)),
    "numbers in a buffer": lambda: (Counts(), (4, 3)),
    "a relu recurrence": lambda: (
        Does(lambda x, f: f(x)[0][:, -1], nn.RNN(2, 3, 2, nonlinearity="relu", batch_first=True, bidirectional=True)),
        (4, 2),
    ),
    "a relu cell": lambda: (
        Does(lambda x, f: f(x[:, 1], f(x[:, 0])), nn.RNNCell(2, 3, nonlinearity="relu", bias=False)),
        (2, 2),
    ),
    "norm 1": lambda: (after_linear(lambda h: h.norm(p=1, dim=1, keepdim=True) + h)(), (3,)),
    "norm inf": lambda: (
        after_linear(lambda h: torch.linalg.vector_norm(h, float("inf"), dim=1)[:, None] + h.abs())(),
        (3,),
    ),
    "norm -inf": lambda: (after_linear(lambda h: torch.linalg.norm(h, -float("inf"), dim=1)[:, None])(), (3,)),
}


def double(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.double()
    return model.eval()


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_is_followed(name: str) -> None:
    """The program gives in float64 what the module gives, and breakpoints lie where plain forward passes have them."""
    torch.manual_seed(3)
    model, shape = FOLLOWED[name]()
    model = double(model)
    program = nf.capture(model, shape=shape)
    points = 3 * torch.randn(6, *shape, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(program(points), model(points), rtol=1e-9, atol=1e-9)
    assert program.piecewise_linear
    line = nf.Line(points[0].numpy(), points[1].numpy())
    trace = nf.trace_path(model, line)
    assert trace.method == "exact"
    assert len(trace.breakpoints) > 0
    t = torch.linspace(0, 1, 20001, dtype=torch.float64).reshape(-1, *[1] * len(shape))
    with torch.no_grad():
        y = model((1 - t) * points[0] + t * points[1]).reshape(len(t), -1).numpy()
    bends = np.flatnonzero(np.abs(y[2:] - 2 * y[1:-1] + y[:-2]).max(1) > 1e-9) + 1
    nearest = np.abs(trace.breakpoints[None] - bends[:, None] / 20000).min(1)
    assert nearest.max() < 1.1 / 20000
    bent = np.abs(trace.breakpoints[:, None] - bends[None] / 20000).min(1) < 1.1 / 20000
    assert bent[trace.breakpoints < 1].mean() > 0.5  # a bend may not reach the output


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Linear(3, 3), torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU())))


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), {nn.Linear})


def fake_quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).train()
        model.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")  # type: ignore[assignment]
        return torch.ao.quantization.prepare_qat(model)


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return torch.sparse.mm(self.weight, x.T).T


class SparseAttribute(Sparse):
    def __init__(self) -> None:
        super().__init__()
        del self.weight
        self.weight = torch.eye(3).to_sparse_csr()


def observed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()
        model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")  # type: ignore[assignment]
        return torch.ao.quantization.prepare(model)


class Routed(nn.Module):
    """Experts picked by the values of the point, with the switch that models of Hugging Face have."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(3, 2), nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

    def set_experts_implementation(self, name: str) -> None:
        self.implementation = name

    def forward(self, x: Tensor) -> Tensor:
        chosen, out = self.router(x).argmax(-1), torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            mine = torch.where(chosen == i)[0]
            if len(mine) > 0:
                out = out.index_add(0, mine, expert(x[mine]))
        return out


def dropping() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).eval()
    model[1].train()
    return model


SEQUENCE = "takes the sequence first, so the points of a batch for its steps: make it with batch_first=True"
REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "lstm": (lambda: Does(lambda x, f: f(x)[0], nn.LSTM(2, 3)), (5, 2), f"LSTM 'parts.0' {SEQUENCE}"),
    "gru": (lambda: Does(lambda x, f: f(x)[0], nn.GRU(2, 3)), (5, 2), f"GRU 'parts.0' {SEQUENCE}"),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 1, enable_nested_tensor=False),
        (5, 4),
        f"'layers.0.self_attn' {SEQUENCE}",
    ),
    "lstm itself": (lambda: nf.part(nn.LSTM(2, 3), output="0"), (5, 2), f"^LSTM {SEQUENCE}"),
    "not the lstm": (
        lambda: Does(lambda x, f: f(x.transpose(0, 1))[0].transpose(0, 1) * len(x), nn.LSTM(2, 3)),
        (5, 2),
        r"works for one batch size only.*len\(x\)$",
    ),
    "torchscript": (scripted, (3,), "its module '1' is TorchScript"),
    "int8": (quantised, (3,), r"its module '0' \(Linear\) computes in 8-bit integers"),
    "fake quantisation": (fake_quantised, (3,), "rounds to a grid, which is a staircase"),
    "sparse": (Sparse, (3,), r"parameter 'weight' is sparse .* weight.to_dense\(\)"),
    "observers": (observed, (3,), r"'0.activation_post_process' \(HistogramObserver\) keeps the range"),
    "fake quantisation by function": (
        lambda: Does(lambda x, f: torch.fake_quantize_per_tensor_affine(f(x), 0.1, 0, 0, 255), nn.Linear(3, 3)),
        (3,),
        "rounds to a grid, which is a staircase",
    ),
    "sparse attribute": (SparseAttribute, (3,), r"attribute 'weight' is sparse .* weight.to_dense\(\)"),
    "monte carlo": (dropping, (3,), "dropout that is kept on"),
    "routing": (Routed, (3,), r"after model.set_experts_implementation\('batched_mm'\)"),
    "routing in a part": (
        lambda: nf.part(Routed(), input="x"),
        (3,),
        r"after model.set_experts_implementation\('batched_mm'\)",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    """One clear error that says what it is and the way out, and the model still works."""
    make, shape, message = REFUSED[name]
    model = make().eval() if name != "monte carlo" else make()
    with pytest.raises(nf.NetfoldError, match=message):
        nf.capture(model, shape=shape)
    model(torch.zeros(2, *shape))


def after_linear(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Does(lambda x, f: function(f(x)), nn.Linear(3, 4)).eval()


KNOWN_BUT_UNFOLLOWED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sort": (lambda h: h.sort(-1).values, "piecewise linear, but netfold does not follow its pieces"),
    "topk": (lambda h: h.topk(2).values, "piecewise linear, but .* amax for the largest"),
    "where": (lambda h: torch.where(h > 0, h, 0.1 * h), r"it compares values of the point; .* F.leaky_relu"),
    "mask": (lambda h: h * (h > 0), re.escape("h * (h > 0) is torch.relu(h)")),
    "complex size": (lambda h: torch.fft.fft(h).abs(), "it is not piecewise linear for complex numbers"),
    "complex layer": (
        lambda h: F.linear(h.to(torch.cdouble), torch.eye(4, dtype=torch.cdouble) * 1j).imag.relu(),
        "exact methods take layers of real weights",
    ),
    "two uses of a complex value": (
        lambda h: (lambda z: z.real.relu() + z.imag)(torch.fft.fft(h)),
        "its complex values are read again after the next nonlinearity",
    ),
}


@pytest.mark.parametrize("name", KNOWN_BUT_UNFOLLOWED)
def test_what_is_sampled_only(name: str) -> None:
    """It is captured, replays, and exact methods say what it is and how it is written to be followed."""
    function, message = KNOWN_BUT_UNFOLLOWED[name]
    model = double(after_linear(function)())
    program = nf.capture(model, shape=(3,))
    points = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(program(points).reshape(-1), model(points).reshape(-1), atol=1e-12)
    with pytest.raises(nf.NotPiecewiseLinearError, match=message):
        program.require_piecewise_linear()


class Viewed(nn.Module):
    """Parameters in other shapes than they are stored in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.linear = nn.Parameter(torch.randn(4, 6)), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight.view(8, 3).T).relu() @ self.linear.weight.reshape(2, 8).T


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("make", [Viewed, lambda: nn.Sequential(Standardised(1, 2, 2), nn.ReLU(), nn.Flatten())])
def test_a_fixed_batch_is_freed_for_sensitivity(tmp_path: Path, make: Any, batch: int) -> None:
    """A file that is fixed to a batch size gives the numbers of its module, with prefixes shared."""
    torch.manual_seed(0)
    model = make().eval()
    shape = (3,) if isinstance(model, Viewed) else (1, 3, 3)
    torch.export.save(torch.export.export(model, (torch.zeros(batch, *shape),)), tmp_path / "model.pt2")
    points = np.random.default_rng(0).normal(size=(30, *shape))
    found = nf.layer_sensitivity(nf.load_model(tmp_path / "model.pt2"), points, "squared_change", repeats=2)
    wanted = nf.layer_sensitivity(model, points, "squared_change", repeats=2)
    assert found.provenance["shares_prefix"]
    assert len(found.layers) == len(wanted.layers)
    assert found.values.min() > 0
    if batch == 1:
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-4)
