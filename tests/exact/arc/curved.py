"""Arcs and circles for tests, traces of them in a flat form, and what plain forward passes say about them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.autograd.forward_ad as forward_ad
from torch import nn

import netfold as nf
from netfold.arrays import Floats
from netfold.exact.arc.tracer import BLOCK_BYTES, FORK, trace_ellipses
from netfold.exact.paths.output import PathOutput, exact_totals
from netfold.paths import Ellipse
from tests.models import Maximum, states

Curved = nf.Arc | nf.Circle | Ellipse


@dataclass(frozen=True)
class Traced:
    """What the tracer finds on one curved path: one entry a layer, for lengths, angles and turnings also the output."""

    transitions: list[int]
    signs: list[int]
    passages: list[int]
    lengths: list[float]
    angles: list[float]
    turnings: list[float]
    margin: float
    input_length: float
    output: PathOutput

    @property
    def breakpoints(self) -> Floats:
        return self.output.breakpoints

    @property
    def edges(self) -> Floats:
        """Ends of the regions."""
        return np.concatenate([[0.0], self.breakpoints, [1.0]])


def trace_all(
    model: nn.Module | nf.Program, paths: list[Curved], shape: tuple[int, ...], block_bytes: int = BLOCK_BYTES,
    fork: int = FORK,
) -> list[Traced]:  # fmt: skip
    program = model if isinstance(model, nf.Program) else nf.capture(model, shape=shape)
    tracer = trace_ellipses(program, [path.ellipse for path in paths], block_bytes, fork)

    def of(i: int) -> Traced:
        layers, output = tracer.totals, tracer.results[i]
        return Traced(
            *([int(count[i]) for count in counts] for counts in zip(*((t.transitions, t.signs, t.passages) for t in layers), strict=True)),
            [*(exact_totals(t.lengths[i : i + 1])[0] for t in layers), output.length],
            [*(exact_totals(t.angles[i : i + 1])[0] for t in layers), output.angle],
            [*(exact_totals(t.bends[i : i + 1])[0] for t in layers), output.bend],
            min((float(t.closest[i]) for t in layers), default=np.inf),
            tracer.lengths[i],
            output,
        )  # fmt: skip

    return [of(i) for i in range(len(paths))]


def trace(model: nn.Module | nf.Program, path: Curved, block_bytes: int = BLOCK_BYTES) -> Traced:
    return trace_all(model, [path], path.ellipse.shape, block_bytes)[0]


def random_curve(seed: int, shape: tuple[int, ...]) -> Curved:
    """An arc, a circle around the origin, one around another point, a small far one, or part of an ellipse."""
    rng = np.random.default_rng([seed, 2])
    u, v, center = rng.normal(0, 2, (3, *shape))
    kinds: list[Curved] = [
        nf.Arc(u, v), nf.Circle(u, v), nf.Circle(u, v, center), nf.Circle(0.3 * u, v, 2 * center),
        Ellipse(center, u, v, float(rng.uniform(0.01, 6.0))),
    ]  # fmt: skip
    return kinds[rng.integers(len(kinds))]


def closed(path: Curved) -> bool:
    return path.ellipse.angle == 2 * np.pi


def part(path: Curved, begin: float, end: float) -> Ellipse:
    """The part of a curve between two parameters, as a curve of its own."""
    e = path.ellipse
    c, s = np.cos(begin * e.angle), np.sin(begin * e.angle)
    whole = end == begin + 1  # begin + 1 - begin need not be 1
    return Ellipse(e.center, c * e.u + s * e.v, c * e.v - s * e.u, e.angle if whole else (end - begin) * e.angle)


def reverse(path: Curved) -> Ellipse:
    """The same curve from its end to its beginning."""
    e = path.ellipse
    c, s = np.cos(e.angle), np.sin(e.angle)
    return Ellipse(e.center, c * e.u + s * e.v, s * e.u - c * e.v, e.angle)


def motion(path: Curved, t: Floats) -> tuple[Floats, Floats]:
    """Points of a curve and their derivatives by t."""
    e = path.ellipse
    s = (e.angle * t).reshape(-1, *[1] * e.center.ndim)
    return path(t), e.angle * (np.cos(s) * e.v - np.sin(s) * e.u)


def images(model: nn.Module, path: Curved, t: Floats) -> list[tuple[Floats, Floats]]:
    """By forward-mode differentiation of the model itself: image and velocity after every activation, and the output."""
    model, found = copy.deepcopy(model).double(), []

    def keep(value: torch.Tensor) -> None:
        pair = forward_ad.unpack_dual(value.clone().flatten(1))
        tangent = torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent
        found.append((pair.primal.detach().numpy(), tangent.detach().numpy()))

    def after(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.MaxPool2d | Maximum) or states(module, inputs) is not None:
            keep(output)

    for module in model.modules():
        module.register_forward_hook(after)
    with forward_ad.dual_level():
        points, velocities = (torch.from_numpy(array) for array in motion(path, t))
        keep(model(forward_ad.make_dual(points, velocities)))
    return found
