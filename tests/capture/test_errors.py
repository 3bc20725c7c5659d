"""What cannot be captured, or not followed exactly, gives one clear error; the model is left as it was."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netfold.capture import activations, affine, capture
from netfold.errors import CaptureError, InvalidInputError, NetfoldError, NotPiecewiseLinearError
from tests.capture.cases import Calls


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Dictionary(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": x, "features": 2 * x}


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return 2 * x


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


def nan_weights() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[2].weight[1, 2] = float("nan")  # type: ignore[index,union-attr]
    return model


def nan_buffer() -> nn.Module:
    model = nn.BatchNorm1d(3).eval()
    assert model.running_mean is not None
    model.running_mean[0] = float("nan")
    return model


def autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return x @ torch.ones(3, 3)


def cond(x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda x: 2 * x, lambda x: 3 * x, (x,))


ERRORS: dict[str, tuple[Callable[[], nn.Module], type[NetfoldError], str]] = {
    "control flow": (
        Branching,
        CaptureError,
        rf"Branching decides with values of its input at "
        rf"{re.escape(__file__)}:\d+ \(data-dependent control flow\).*torch\.clamp",
    ),
    "reads a number": (
        lambda: Calls(lambda x: x * int(x.max())),
        CaptureError,
        r"decides with values of its input at",
    ),
    "size from values": (
        lambda: Calls(lambda x: x + x[x > 0].sum()),
        CaptureError,
        r"uses a number that depends on its input's values|mixes the points of a batch",
    ),
    "NaN weight": (
        nan_weights,
        InvalidInputError,
        r"'2\.weight' holds 1 values that are NaN or infinite \(of 8\)",
    ),
    "NaN buffer": (nan_buffer, InvalidInputError, r"'running_mean' holds 1 values that are NaN \(of 3\)"),
    "lazy weight": (
        lambda: nn.LazyLinear(3),
        InvalidInputError,
        r"'weight' has no values yet; run the model once",
    ),
    "meta weight": (lambda: nn.Linear(3, 3, device="meta"), InvalidInputError, r"'weight' has no values yet"),
    "wrong shape": (
        lambda: nn.Linear(4, 2),
        InvalidInputError,
        r"Linear cannot be run on points of shape \(3,\): RuntimeError: .*shapes cannot be mul.*without the",
    ),
    "training dropout": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train(),
        CaptureError,
        r"Sequential works as in training: dropout in module '1'.*call model\.eval\(\) first",
    ),
    "training batch norm": (
        lambda: nn.Sequential(nn.BatchNorm1d(3)).train(),
        CaptureError,
        r"works as in training: .*batch_norm.* in module '0'.* uses the statistics of the batch",
    ),
    "statistics of the batch": (
        lambda: nn.BatchNorm1d(3, track_running_stats=False).eval(),
        CaptureError,
        r"uses the statistics of the batch.*track_running_stats=True",
    ),
    "functional dropout": (
        lambda: Calls(lambda x: F.dropout(x, 0.3)).eval(),
        CaptureError,
        r"works as in training: dropout in module '' \(.*\) is random",
    ),
    "random": (lambda: Calls(lambda x: x + torch.rand(3)), CaptureError, r"Calls is random: rand in module"),
    "random outside torch": (
        lambda: Calls(lambda x: x * random.random()),
        CaptureError,
        r"Calls do not give what the model gives.*random",
    ),
    "two inputs": (
        TwoInputs,
        CaptureError,
        r"TwoInputs takes more than one input \(.*'y'.*say which one is the point",
    ),
    "two outputs": (
        lambda: Calls(lambda x: (x, x)),
        CaptureError,
        r"returns 2 values; take one, by its name or number",
    ),
    "a dictionary": (Dictionary, CaptureError, r"Dictionary returns 2 values \(logits, features\); take one"),
    "a constant": (
        lambda: Calls(lambda x: torch.ones(x.shape[0], 2)),
        CaptureError,
        r"the output of Calls does not depend on its input",
    ),
    "zeros like the input": (lambda: Calls(torch.zeros_like), CaptureError, r"does not depend on its input"),
    "mean over the batch": (lambda: Calls(lambda x: x.mean(0)), CaptureError, r"mixes the points of a batch"),
    "centred by the batch": (
        lambda: Calls(lambda x: x - x.mean(0)),
        CaptureError,
        r"mixes the points of a batch",
    ),
    "reversed batch": (
        lambda: Calls(lambda x: F.relu(x.flip(0))),
        CaptureError,
        r"mixes the points .* layer 'relu'",
    ),
    "scaled by the batch size": (lambda: Calls(lambda x: x / x.shape[0]), CaptureError, r"mixes the points"),
    "neighbours in the batch": (
        lambda: Calls(lambda x: F.max_pool1d(x.t(), 2).t()),
        CaptureError,
        r"works for one batch size only",
    ),
    "fixed batch": (
        lambda: Calls(lambda x: x.view(3, -1)),
        CaptureError,
        r"Calls works for one batch size only.*x\.shape\[0\] in place of",
    ),
    "integers": (
        lambda: nn.Sequential(nn.Embedding(5, 3), nn.Flatten()),
        CaptureError,
        r"Sequential takes integers \(indices\).*measure the part after the embedding",
    ),
    "whole numbers": (
        lambda: Calls(lambda x: x.argmax(1)),
        CaptureError,
        r"output of Calls is torch\.int64, not real",
    ),
    "vmap": (
        lambda: Calls(lambda x: torch.vmap(torch.relu)(x)),
        CaptureError,
        r"uses torch\.vmap or torch\.func, which",
    ),
    "derivative": (
        lambda: Calls(lambda x: torch.func.jacrev(lambda y: y.relu().sum(1))(x)[0]),
        CaptureError,
        r"netfold cannot follow Calls: .*please report",
    ),
    "script": (
        lambda: torch.jit.script(nn.Linear(3, 3)),
        CaptureError,
        r"is TorchScript.*the module it was made from",
    ),
    "autocast": (
        lambda: Calls(autocast),
        CaptureError,
        r"uses torch\.autocast .*measure the model without it",
    ),
    "cond": (lambda: Calls(cond), CaptureError, r"uses torch\.cond \(data-dependent control flow\)"),
    "numpy": (
        lambda: Calls(lambda x: torch.from_numpy(x.numpy())),
        CaptureError,
        r"torch\.export cannot follow Calls",
    ),
    "infinite": (
        lambda: Calls(lambda x: x.masked_fill(torch.tensor([True, False, True]), float("inf"))),
        CaptureError,
        r"gives NaN or infinite numbers on the way to its output",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ERRORS)
def test_one_clear_error(name: str) -> None:
    """Every model that cannot be captured is refused by one class of error that says why and what to do."""
    build, kind, text = ERRORS[name]
    with pytest.raises(kind, match=re.compile(text, re.DOTALL)) as caught:
        capture(build(), shape=(3,))
    assert isinstance(caught.value, NetfoldError)
    assert "\n" not in str(caught.value)


INEXACT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "gelu": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.GELU()),
        r"Sequential cannot be followed exactly: aten\.gelu\.default in module '1' "
        r"\(torch\.nn\.modules\.activation\.GELU\).*neither affine nor.*take a verb that samples: nf\.trace_path",
    ),
    "a function": (
        Gated,
        rf"aten\.sigmoid\.default in the model's own forward "
        rf"\({re.escape(__file__)}:\d+\)",
    ),
    "a product": (
        lambda: Calls(lambda x: x * x),
        r"aten\.mul\.Tensor .* not affine where its 'self' and 'other'",
    ),
    "attention": (
        lambda: Calls(lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])),
        r"aten\.scaled_dot_product_attention\.default",
    ),
    "where": (lambda: Calls(lambda x: torch.where(x > 0, x, 2 * x)), r"aten\.gt\.Scalar"),
    "a mask": (lambda: Calls(lambda x: x * (x > 0)), r"aten\.gt\.Scalar"),
    "sorting": (lambda: Calls(lambda x: x.sort(1).values), r"aten\.sort\.default"),
    "rounding": (lambda: Calls(torch.round), r"aten\.round\.default"),
    "rounded quotient": (
        lambda: Calls(lambda x: torch.div(x, 2, rounding_mode="floor")),
        r"aten\.div\.Tensor_mode",
    ),
    "to integers": (lambda: Calls(lambda x: x.long().double()), r"aten\.(_to_copy|to)\."),
    "layer norm": (lambda: nn.LayerNorm(3), r"aten\.layer_norm\.default in the model's own forward"),
    "instance norm": (
        lambda: Calls(lambda x, f: f(x[:, None]), nn.InstanceNorm1d(1)),
        r"aten\.instance_norm",
    ),
    "positions of a maximum": (
        lambda: Calls(lambda x: F.max_unpool1d(*F.max_pool1d(x[:, None], 2, 1, return_indices=True), 2, 1)),
        r"with_indices\.default",
    ),
    "threshold that jumps": (
        lambda: nn.Threshold(0.1, 20.0),
        r"with threshold=0\.1 and value=20\.0 it jumps",
    ),
    "limits that cross": (
        lambda: Calls(lambda x: x.clamp(1.0, -1.0)),
        r"its knots .* are not finite and increasing",
    ),
    "limits that meet": (
        lambda: Calls(lambda x: x.clamp(1.0, 1.0)),
        r"its knots .* are not finite and increasing",
    ),
    "limits that depend on the point": (
        lambda: Calls(lambda x: x.clamp(min=x.mean(1, keepdim=True))),
        r"aten\.clamp\.",
    ),
    "no limits": (
        lambda: Calls(lambda x: x.clamp(min=-float("inf"))),
        r"has neither a lower nor an upper limit",
    ),
    "narrow shrinkage": (lambda: nn.Softshrink(0.0), r"its knots .* are not finite and increasing"),
    "a maximum with itself": (
        lambda: Calls(lambda x: torch.maximum(x, x)),
        r"both of its inputs are the same",
    ),
    "a constant that broadcasts": (
        lambda: Calls(lambda x: torch.maximum(x[:, :1], torch.zeros(3))),
        r"it broadcasts its input of shape \(1,\) to \(3,\)",
    ),
}


@pytest.mark.parametrize("name", INEXACT)
def test_inexact_operations_are_named(name: str) -> None:
    """A program with another operation is captured; exact methods alone refuse it, naming the operation."""
    build, text = INEXACT[name]
    program = capture(build(), shape=(3,))
    assert not program.piecewise_linear
    with pytest.raises(NotPiecewiseLinearError, match=re.compile(text, re.DOTALL)) as caught:
        program.stages  # noqa: B018
    assert isinstance(caught.value, TypeError)


def test_other_arguments() -> None:
    """A model that is no model, and a shape that is missing or no shape, are named."""
    with pytest.raises(InvalidInputError, match=r"expected a torch\.nn\.Module.*got 'model'"):
        capture("model", shape=(3,))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="capture needs one input"):
        capture(nn.Linear(3, 2))
    with pytest.raises(InvalidInputError, match=r"shape\[0\] must be a whole number from 1"):
        capture(nn.Linear(3, 2), shape=(0,))


class Watched(nn.Module):
    """A model with everything that could be touched: buffers, hooks, a gradient, records of its own."""

    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.end = end
        self.register_buffer("steps", torch.zeros(()))
        self.seen: list[Tensor] = []
        self.last: Tensor | None = None
        self.linear.register_forward_hook(lambda module, args, output: None)

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.seen.append(x)
        self.last = x
        print("noise")
        warnings.warn("noise", stacklevel=1)
        np.random.rand()  # noqa: NPY002
        random.random()
        return self.end(self.norm(self.linear(x)))


def state(model: nn.Module) -> dict[str, object]:
    """Everything that must be the same afterwards."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: t.detach().clone().numpy().tobytes() for name, t in tensors.items()},
        "identity": {name: (id(t), t._version, t.dtype, t.device, t.requires_grad) for name, t in tensors.items()},
        "gradients": {n: None if p.grad is None else p.grad.numpy().tobytes() for n, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "hooks": {n: (list(m._forward_hooks.items()), list(m._forward_pre_hooks)) for n, m in model.named_modules()},
        "attributes": {n: {k: id(v) for k, v in vars(m).items()} for n, m in model.named_modules()},
        "records": len(model.seen) if isinstance(model, Watched) else 0,
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes(),  # type: ignore[index,union-attr]  # noqa: NPY002
        "python": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(),
    }


ENDS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
    **{name: build for name, (build, _, _) in ERRORS.items() if name not in ("lazy weight", "meta weight", "script")},
}


@pytest.mark.parametrize(("name", "training"), [*((name, False) for name in ENDS), ("relu", True), ("gelu", True)])
def test_the_model_is_untouched(name: str, training: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Tensors, gradients, modes, hooks, attributes and random states are the same, also after an error."""
    model = Watched(ENDS[name]())
    model.train(training)
    model.linear.weight.grad = torch.ones(3, 3)
    model.norm.bias.requires_grad_(False)
    before = state(model)
    with contextlib.suppress(NetfoldError):
        capture(model, shape=(3,))
    assert state(model) == before
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_nor_logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """The export's own graphs, warnings and logs stay out of the user's way, and so do the model's prints."""
    with pytest.raises(CaptureError), warnings.catch_warnings(record=True) as warned:
        capture(Watched(Branching()).eval(), shape=(3,))
    assert capfd.readouterr() == ("", "")
    assert not warned
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_logging_works_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    """Logging is on again after a capture, failed or not."""
    for model in (nn.Linear(3, 3), Branching()):
        with contextlib.suppress(NetfoldError):
            capture(model, shape=(3,))
        logging.getLogger("user").error("heard")
    assert [record.message for record in caplog.records if record.name == "user"] == ["heard", "heard"]


def test_the_source_line_is_the_users() -> None:
    """The line named for data-dependent control flow is the line of the branch."""
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "if x.sum() > 0" in text)
    with pytest.raises(CaptureError, match=rf"{re.escape(__file__)}:{line}\b"):
        capture(Branching(), shape=(3,))


def test_a_wrong_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is not the operation it stands for is refused, however it came about."""
    monkeypatch.setitem(activations.ELEMENTWISE, "relu", lambda a, shape: activations.leaky_relu(0.01))
    monkeypatch.setitem(activations.SELECTIONS, "maximum", lambda a, shapes: activations.Selection(
        activations.windows.pairs(shapes), largest=False))  # fmt: skip
    for model in (nn.ReLU(), Calls(lambda x: torch.maximum(x, -x))):
        with pytest.raises(NotPiecewiseLinearError, match="table of its pieces does not hold"):
            capture(model, shape=(3,)).require_piecewise_linear()


def test_an_operation_wrongly_called_affine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that is not affine is refused, also where its operations are listed as affine."""
    monkeypatch.setitem(affine.AFFINE, "square", lambda dependent: True)
    with pytest.raises(CaptureError, match="is not affine on the way to layer 'relu'"):
        capture(Calls(lambda x: x.square().relu()), shape=(3,))
