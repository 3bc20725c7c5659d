"""Small models, one for every operation and way of writing that capture must follow exactly."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A model, the shape of its points, and its nonlinearities as (name, operation, shape of the output)."""

    name: str
    build: Callable[[], nn.Module]
    shape: Shape
    layers: tuple[tuple[str, str, Shape], ...] = ()

    def model(self) -> nn.Module:
        """A new model in evaluation mode, always with the same random weights and statistics."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return randomised(self.build().eval())


def randomised(model: nn.Module) -> nn.Module:
    """Random parameters, and random statistics for every batch norm, so that none of them is the identity."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model


class Calls(nn.Module):
    """A model whose forward is one function of the point's batch."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


class WithConstant(nn.Module):
    """A model whose forward is a function of the batch and of one buffer."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], constant: Tensor) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.constant)


class Block(nn.Module):
    """A residual block: convolutions with batch norm, one in-place ReLU used twice, a projecting shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.relu(y)


def resnet() -> nn.Module:
    """A small residual network for 3 x 32 x 32 images, with batch norm and max pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Block(4, 4),
        Block(4, 8, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


RESNET_LAYERS = (
    ("2", "relu", (4, 32, 32)),
    ("3", "max_pool2d", (4, 16, 16)),
    ("4.relu[1]", "relu", (4, 16, 16)),
    ("4.relu[2]", "relu", (4, 16, 16)),
    ("5.relu[1]", "relu", (8, 8, 8)),
    ("5.relu[2]", "relu", (8, 8, 8)),
)


class Dense(nn.Module):
    """A densely connected network: every layer reads the concatenation of all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(7, 5)
        self.last = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, F.relu(self.first(x))], 1)
        x = torch.cat([x, F.relu(self.second(x))], 1)
        return self.last(x)


class Heads(nn.Module):
    """Rectified linear 'attention heads': batch merged with heads, and the sequence axis first inside."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(8, 16), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        length, count, _ = (x := x.transpose(0, 1)).shape
        query, key = self.project(x).chunk(2, -1)
        query = F.relu(query.reshape(length, count * 2, 4).transpose(0, 1))
        key = F.hardtanh(key.permute(2, 0, 1).reshape(-1, length * count), -0.5, 0.5)
        key = key.reshape(8, length, count).permute(2, 1, 0)
        query = query.view(count, 2, length, 4).transpose(1, 2).reshape(count * length, 8)
        return self.out(F.leaky_relu(query).view(count, length, 8) + key.abs())


class Doubled(nn.Module):
    """A parametrisation: the weight is twice what is stored."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def parametrised() -> nn.Module:
    linear = nn.Linear(4, 3)
    parametrize.register_parametrization(linear, "weight", Doubled())
    return nn.Sequential(linear, nn.ReLU())


def shared() -> nn.Module:
    linear, act = nn.Linear(4, 4), nn.ReLU()
    return nn.Sequential(linear, act, linear, act)


def written_in_place(x: Tensor) -> Tensor:
    y = x * 2
    y[:, 0] = 1.0
    y[:, 1:3] += x[:, :2]
    return y.relu_().mul_(3)


def view_written_in_place(x: Tensor) -> Tensor:
    y = x * 2
    y.view(-1, 2, 2)[:, 0].relu_()
    return y


def under_no_grad(x: Tensor, linear: nn.Module) -> Tensor:
    with torch.no_grad():
        y = F.relu(linear(x))
    with torch.enable_grad():
        return F.relu(y - 0.1)


def affine(name: str, function: Callable[..., Tensor] | nn.Module, shape: Shape, *parts: nn.Module) -> Case:
    """A case without nonlinearities."""
    module = function if isinstance(function, nn.Module) else Calls(function, *parts)
    return Case(name, lambda: copy.deepcopy(module), shape)


def one(name: str, function: Any, shape: Shape, op: str, out: Shape | None = None, path: str | None = None) -> Case:
    """A case of one nonlinearity: a module, which is named by its place, or a function."""
    module = isinstance(function, nn.Module)
    build = (lambda: nn.Sequential(nn.Identity(), copy.deepcopy(function))) if module else (lambda: Calls(function))
    return Case(name, build, shape, ((path or ("1" if module else op), op, out or shape),))


def limits(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def constants() -> list[Case]:
    half = limits(0.5, -0.5, 0.25)
    return [
        Case(
            "maximum with a tensor",
            lambda: WithConstant(torch.maximum, half),
            (3,),
            (("maximum", "maximum", (3,)),),
        ),
        Case(
            "minimum with a number",
            lambda: WithConstant(torch.minimum, limits(0.5)[0]),
            (3,),
            (("minimum", "minimum", (3,)),),
        ),
        Case(
            "clamp between tensors",
            lambda: WithConstant(lambda x, c: x.clamp(c - 1, c), half),
            (2, 3),
            (("clamp", "clamp", (2, 3)),),
        ),
        Case(
            "clamp below a tensor",
            lambda: WithConstant(lambda x, c: x.clamp(max=c[:2, None]), half),
            (2, 3),
            (("clamp", "clamp", (2, 3)),),
        ),
        Case("fmax with a tensor", lambda: WithConstant(torch.fmax, half), (3,), (("fmax", "fmax", (3,)),)),
        Case(
            "max with zeros",
            lambda: Calls(lambda x: torch.max(x, torch.zeros_like(x))),
            (3,),
            (("max", "max", (3,)),),
        ),
        affine("scaled by a buffer", WithConstant(lambda x, c: x * c / 2 - c, half), (3,)),
        affine("chosen by a mask", WithConstant(lambda x, c: torch.where(c > 0, x, -x), half), (3,)),
        affine("masked fill", WithConstant(lambda x, c: x.masked_fill(c > 0, 2.0), half), (3,)),
        affine("einsum", WithConstant(lambda x, c: torch.einsum("bij,j->bi", x, c), half), (2, 3)),
    ]


AFFINE = [
    affine("linear", nn.Linear(4, 3), (4,)),
    affine("linear on a sequence", nn.Linear(4, 3), (5, 4)),
    affine("conv1d", nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), (2, 7)),
    affine("conv2d", nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, dilation=2), (2, 8, 8)),
    affine("conv3d", nn.Conv3d(2, 3, 2, padding="same"), (2, 4, 4, 4)),
    affine("conv_transpose1d", nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 5)),
    affine("conv_transpose2d", nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), (2, 4, 4)),
    affine("conv_transpose3d", nn.ConvTranspose3d(2, 1, 2), (2, 3, 3, 3)),
    affine("batch_norm1d", nn.BatchNorm1d(4), (4,)),
    affine("batch_norm2d", nn.BatchNorm2d(3), (3, 4, 4)),
    affine("batch_norm3d", nn.BatchNorm3d(2), (2, 3, 3, 3)),
    affine("avg_pool1d", nn.AvgPool1d(3, 2, 1), (2, 7)),
    affine("avg_pool2d", nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), (2, 5, 5)),
    affine("avg_pool3d", nn.AvgPool3d(2), (1, 4, 4, 4)),
    affine("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d(3), (2, 7)),
    affine("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d((3, 2)), (2, 7, 5)),
    affine("adaptive_avg_pool3d", nn.AdaptiveAvgPool3d(2), (1, 5, 4, 3)),
    affine("flatten and unflatten", nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 2))), (2, 3)),
    affine("view of the batch", lambda x: x.view(x.size(0), -1), (2, 3)),
    affine(
        "batch merged and restored",
        lambda x, f: f(x.reshape(-1, 3)).reshape(x.shape[0], -1),
        (2, 3),
        nn.Linear(3, 4),
    ),
    affine("permute and transpose", lambda x: x.permute(0, 2, 1).transpose(1, 2).movedim(2, 1).mT, (2, 3)),
    affine("cat and stack", lambda x: torch.stack([torch.cat([x, -x], 1), torch.cat([2 * x, x], 1)], 1), (3,)),
    affine(
        "split, chunk, unbind",
        lambda x: sum([*x.split(1, 1), *x.chunk(2, 1), x.unbind(1)[0][:, None]]),
        (2, 3),
    ),
    affine("slice, select, flip, roll", lambda x: x[:, 1:, ::2] + x[:, :1, 1:3].flip(2).roll(1, 2), (3, 4)),
    affine("pad", lambda x: F.pad(F.pad(x, (1, 2), value=3.0), (1, 1), mode="reflect"), (2, 4)),
    affine("mean and sum", lambda x: x.mean((1, 2)) + x.sum(-1).mean(1), (2, 3)),
    affine("repeat and expand", lambda x: x.repeat(1, 2)[:, None].expand(-1, 3, -1), (3,)),
    affine("gather columns", lambda x: x[:, [2, 0, 0]], (3,)),
    affine("residual and scaling", lambda x, f: 0.5 * x + f(x) / 3 - x * math.pi - (1 - x), (4,), nn.Linear(4, 4)),
    affine("upsample nearest", nn.Upsample(scale_factor=2), (2, 3, 3)),
    affine("upsample bilinear", nn.Upsample(size=(5, 7), mode="bilinear", align_corners=True), (2, 3, 3)),
    affine("upsample trilinear", nn.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 2, 2)),
    affine("pixel shuffle", nn.PixelShuffle(2), (4, 2, 2)),
    affine("dropout", nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5)), (2, 3, 3)),
    affine("functional dropout", lambda x: F.dropout(x, 0.5, training=False) * 2, (3,)),
    affine(
        "zeros of the batch",
        lambda x: torch.cat([x, torch.zeros(x.shape[0], 2), x.new_ones(x.shape[0], 1)], 1),
        (3,),
    ),
    affine("squeezed output", lambda x, f: f(x).squeeze(), (4,), nn.Linear(4, 1)),
    affine("identity", nn.Identity(), (3,)),
    affine("matmul and addmm", lambda x: torch.addmm(x, x @ torch.eye(3).to(x) * 2, torch.ones(3, 3).to(x)), (3,)),
    affine("unfold and fold", nn.Sequential(nn.Unfold(2), nn.Fold((4, 4), 2)), (1, 4, 4)),
]

NONLINEAR = [
    one("relu", nn.ReLU(), (4,), "relu"),
    one("relu in place on the input", nn.ReLU(inplace=True), (4,), "relu"),
    one("functional relu", F.relu, (4,), "relu"),
    one("method relu_", lambda x: (2 * x).relu_(), (4,), "relu"),
    one("leaky_relu", nn.LeakyReLU(0.2), (4,), "leaky_relu"),
    one("leaky_relu of negative slope", nn.LeakyReLU(-0.5, inplace=True), (4,), "leaky_relu"),
    one("prelu", nn.PReLU(), (3, 4), "prelu"),
    one("prelu of channels", nn.PReLU(3, init=0.1), (3, 4), "prelu"),
    one("prelu of features", nn.PReLU(4, init=-0.3), (4,), "prelu"),
    one("rrelu", nn.RReLU(), (4,), "rrelu"),
    one("relu6", nn.ReLU6(), (4,), "hardtanh"),
    one("hardtanh", nn.Hardtanh(-2.0, 0.5), (4,), "hardtanh"),
    one("hardsigmoid", nn.Hardsigmoid(), (4,), "hardsigmoid"),
    one("clamp", lambda x: x.clamp(-0.5, 0.25), (4,), "clamp"),
    one("clamp from below", lambda x: x.clamp(min=0.1), (4,), "clamp"),
    one("clip from above", lambda x: torch.clip(x, max=0.1), (4,), "clip"),
    one("clamp_min", lambda x: x.clamp_min(-0.5), (4,), "clamp_min"),
    one("clamp_max in place", lambda x: (x + 1).clamp_max_(0.5), (4,), "clamp_max"),
    one("clamp with an infinite limit", lambda x: x.clamp(0.0, math.inf), (4,), "clamp"),
    one("abs", torch.abs, (4,), "abs"),
    one("softshrink", nn.Softshrink(0.3), (4,), "softshrink"),
    one("threshold", nn.Threshold(0.2, 0.2), (4,), "threshold"),
    one("maximum of two", lambda x: torch.maximum(x[:, 0], x[:, 1]), (2, 3), "maximum", (3,)),
    one("minimum that broadcasts", lambda x: torch.minimum(x[:, :1], x), (2, 3), "minimum", (2, 3)),
    one("max of two", lambda x: torch.max(x, 1 - x), (3,), "max"),
    one("amax", lambda x: x.amax((1, 3)), (2, 3, 4), "amax", (3,)),
    one("amin that keeps its axis", lambda x: x.amin(-1, keepdim=True), (2, 3), "amin", (2, 1)),
    one("max along an axis", lambda x: x.max(1).values, (2, 3), "max", (3,)),
    one("min along an axis", lambda x: x.min(dim=2)[0], (2, 3), "min", (2,)),
    one("max_pool1d", nn.MaxPool1d(3, 2, 1), (2, 8), "max_pool1d", (2, 4)),
    one("max_pool2d", nn.MaxPool2d(2), (2, 5, 4), "max_pool2d", (2, 2, 2)),
    one(
        "max_pool2d padded and dilated",
        nn.MaxPool2d((3, 2), (1, 2), 1, (1, 2)),
        (2, 5, 6),
        "max_pool2d",
        (2, 5, 3),
    ),
    one("max_pool2d rounded up", nn.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 6, 5), "max_pool2d", (1, 4, 3)),
    one(
        "max_pool2d with indices",
        lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
        (1, 4, 4),
        "max_pool2d_with_indices",
        (1, 2, 2),
        "max_pool2d",
    ),
    one("max_pool3d", nn.MaxPool3d(2, 1), (1, 3, 3, 3), "max_pool3d", (1, 2, 2, 2)),
    one("adaptive_max_pool1d", nn.AdaptiveMaxPool1d(3), (2, 7), "adaptive_max_pool1d", (2, 3)),
    one("adaptive_max_pool2d", nn.AdaptiveMaxPool2d((2, 3)), (2, 5, 7), "adaptive_max_pool2d", (2, 2, 3)),
    one("adaptive_max_pool3d", nn.AdaptiveMaxPool3d(2), (1, 3, 3, 3), "adaptive_max_pool3d", (1, 2, 2, 2)),
]

NETWORKS = [
    Case(
        "perceptron",
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)),
        (4,),
        (("1", "relu", (5,)),),
    ),
    Case("resnet", resnet, (3, 32, 32), RESNET_LAYERS),
    Case("dense", Dense, (4,), (("relu[1]", "relu", (3,)), ("relu[2]", "relu", (5,)))),
    Case(
        "heads",
        Heads,
        (5, 8),
        (
            ("relu", "relu", (2, 5, 4)),
            ("hardtanh", "hardtanh", (8, 5)),
            ("leaky_relu", "leaky_relu", (5, 8)),
            ("abs", "abs", (5, 8)),
        ),
    ),
    Case("one activation reused", shared, (4,), (("1", "relu", (4,)), ("3", "relu", (4,)))),
    Case(
        "one activation called twice",
        lambda: Calls(lambda x, f: f(f(x) - 1), nn.ReLU()),
        (4,),
        (("parts.0[1]", "relu", (4,)), ("parts.0[2]", "relu", (4,))),
    ),
    Case(
        "nested activations",
        lambda: nn.Sequential(nn.Hardtanh(), nn.ReLU(), nn.LeakyReLU()),
        (4,),
        (("0", "hardtanh", (4,)), ("1", "relu", (4,)), ("2", "leaky_relu", (4,))),
    ),
    Case(
        "functional in a submodule",
        lambda: nn.Sequential(nn.Linear(3, 4), Calls(F.relu6)),
        (3,),
        (("1.relu6", "relu6", (4,)),),
    ),
    Case("writes into slices", lambda: Calls(written_in_place), (4,), (("relu", "relu", (4,)),)),
    Case("writes through a view", lambda: Calls(view_written_in_place), (4,), (("relu", "relu", (2,)),)),
    Case(
        "no_grad blocks",
        lambda: Calls(under_no_grad, nn.Linear(3, 4)),
        (3,),
        (("relu[1]", "relu", (4,)), ("relu[2]", "relu", (4,))),
    ),
    Case(
        "output is a nonlinearity",
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Hardtanh()),
        (3,),
        (("1", "hardtanh", (2,)),),
    ),
    Case(
        "points are numbers",
        lambda: Calls(lambda x: F.relu(x[:, None] * torch.ones(3).to(x)).sum(1)),
        (),
        (("relu", "relu", (3,)),),
    ),
    Case(
        "old weight norm",
        lambda: nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.ReLU()),
        (4,),
        (("1", "relu", (3,)),),
    ),
    Case(
        "weight norm",
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU()),
        (4,),
        (("1", "relu", (3,)),),
    ),
    Case(
        "spectral norm",
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)), nn.ReLU()),
        (4,),
        (("1", "relu", (3,)),),
    ),
    Case("parametrised", parametrised, (4,), (("1", "relu", (3,)),)),
    Case("dead branch", lambda: Calls(lambda x: (F.gelu(x), F.relu(x))[1]), (3,), (("relu", "relu", (3,)),)),
    Case(
        "branches from a nonlinearity",
        lambda: Calls(lambda x: (y := F.relu(x)) + F.relu(y - 1) + x),
        (3,),
        (("relu[1]", "relu", (3,)), ("relu[2]", "relu", (3,))),
    ),
]

CASES = [*AFFINE, *constants(), *NONLINEAR, *NETWORKS]
