"""What a monitor can measure: each a small frozen object that maps a network to named numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import entropy
from torch import nn

from netfold.arguments import Positive, PositiveInt, Seed, checked, sequence, shown
from netfold.arrays import Floats
from netfold.capture import capture
from netfold.capture.activations import Elementwise, Selection
from netfold.capture.data import tensor_of
from netfold.capture.program import Program
from netfold.errors import InvalidInputError
from netfold.measures.complexity import orthonormal, switching
from netfold.measures.states import rows_together, walk
from netfold.measures.tracing import trace_paths
from netfold.measures.units import on_data
from netfold.paths import Path
from netfold.renamed import renamed
from netfold.results.units import DEAD, SATURATED, STATES
from netfold.sensitivity import Effect, Perturbation, layer_sensitivity
from netfold.sensitivity.measure import QUARTER

Along = Literal["length", "growth", "transitions", "regions"]


class Watched(ABC):
    """A measure of a network on inputs that stay the same during training.

    To add one, write a class whose `measure` takes the network, in evaluation mode and without gradients, and gives
    numbers by name. Names are ``group/part``, for example ``length/fc1 → act1`` with a layer's label, as in every
    table; the group becomes a panel of the plot. It must not change the network.
    """

    @abstractmethod
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Numbers by name."""


@checked
@dataclass(frozen=True)
class AlongPaths(Watched):
    """Length, growth, transitions and regions along fixed paths, layer by layer (`nf.trace_paths`).

    Lengths are relative to the path's and averaged as logarithms; counts are means over paths.

    Args:
        paths: one path or several; they have the network's input shape.
        what: which of ``length``, ``growth``, ``transitions`` and ``regions`` (of the whole network).

    Raises:
        InvalidInputError: there is no path, or an unknown measure.

    Example:
        >>> import netfold as nf
        >>> watched = AlongPaths(nf.Line([0.0, 1.0], [1.0, 0.0]), what=("regions",))
        >>> list(watched.measure(nf.random_network(2, 8, 2, seed=0)))
        ['regions']
    """

    paths: Path | Sequence[Path]
    what: Sequence[Along] = ("length", "transitions", "regions")

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "paths", (self.paths,) if isinstance(self.paths, Path) else tuple(sequence(self.paths, "paths"))
        )
        if not self.paths:
            raise InvalidInputError("AlongPaths: paths must hold at least one, it is empty")

    @renamed(net="model")
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Numbers by measure and layer."""
        traces = trace_paths(model, self.paths, progress=False)  # type: ignore[arg-type]
        layers = [layer.label for layer in traces[0].layers]
        found: dict[str, float] = {}
        for name in self.what:
            if name == "regions":
                found["regions"] = float(np.mean([trace.regions for trace in traces]))
                continue
            values = traces.values(name)
            if name == "length":
                values = values[:, 1:] / values[:, :1]
            with np.errstate(divide="ignore"):
                mean = values.mean(0) if name == "transitions" else np.exp(np.log(values).mean(0))
            parts = layers if name == "transitions" else [*layers, "output"]
            found |= {f"{name}/{part}": float(value) for part, value in zip(parts, mean, strict=True)}
        return found


@checked
@dataclass(frozen=True)
class LocalComplexity(Watched):
    """How folded the network is right around given points: units that switch within a small cross-polytope.

    For each point x, the 2P vertices x +- radius * v_p of P random orthonormal directions; a unit counts if the sign
    of its pre-activation is not the same at all of them, as `nf.local_complexity` counts with ``count="sign"``.
    Reported: the mean over points, layer by layer (Humayun, Balestriero and Baraniuk 2024). Operations whose units have
    no pre-activation of their own (max pooling, normalisation, softmax) are left out.

    Args:
        points: one a row.
        radius: distance of the vertices, in units of the input; by default 0.005.
        directions: P, at most the dimension of the input; by default 20, or that dimension.
        seed: of the directions.

    Raises:
        InvalidInputError: the radius is not positive, or there are more directions than dimensions.

    Example:
        >>> import netfold as nf
        >>> watched = LocalComplexity(np.zeros((3, 4)), radius=1.0, directions=2)
        >>> sorted(watched.measure(nf.random_network(4, 8, 2, seed=0)))
        ['local_complexity/linear1 → act1', 'local_complexity/linear2 → act2']
    """

    points: Any = field(repr=False)
    radius: Positive = 0.005
    directions: PositiveInt | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        dimension = int(np.prod(tensor_of(self.points, "points").shape[1:]))
        if self.directions is not None and self.directions > dimension:
            raise InvalidInputError(f"LocalComplexity: directions must be 1 to {dimension}, got {self.directions}")

    def _steps(self, shape: Sequence[int]) -> torch.Tensor:
        return self.radius * orthonormal(shape, self.directions or min(20, math.prod(shape)), self.seed)

    @checked
    def vertices(self, point: torch.Tensor) -> torch.Tensor:
        """The cross-polytope around a point: ``(2 * directions, *shape)``."""
        if not point.is_floating_point():
            raise InvalidInputError(f"point must hold real numbers, got {shown(point)}")
        steps = self._steps(point.shape).to(point)
        return torch.cat([point + steps, point - steps])

    @renamed(net="model")
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Mean number of switching units by layer."""
        program = capture(model, shape=tensor_of(self.points, "points").shape[1:])
        steps = self._steps(program.input_shape).to(program.device)
        found = switching(program, program.points(self.points), steps, signs=True)
        own = [(program.layers[i], count) for i, count in found.items()]
        return {f"local_complexity/{la.label}": float(n.mean()) for la, n in own if not isinstance(la.rule, Selection)}


@dataclass(frozen=True)
class OnPoints(Watched):
    """A measure on given inputs, one a row."""

    points: Any = field(repr=False)

    def __post_init__(self) -> None:
        shape = tensor_of(self.points, "points").shape
        if len(shape) < 2 or shape[0] == 0:
            raise InvalidInputError(
                f"{type(self).__name__}: points must hold one input a row, one or more, got {shown(self.points)}"
            )

    def captured(self, model: nn.Module) -> tuple[Program, torch.Tensor]:
        """The network for such inputs, and these as it takes them."""
        program = capture(model, shape=tensor_of(self.points, "points").shape[1:])
        return program, program.points(self.points)


@checked
@dataclass(frozen=True)
class UnitShares(OnPoints):
    """Shares of dead and saturated units on given inputs, layer by layer, as `nf.units` calls them on data.

    A unit of an elementwise layer is *dead* if it is on a flat piece at 0 for every input (a ReLU that is never on),
    *saturated* if it is on one flat piece at another value (a hard-tanh at 1). Layers that cannot saturate have no
    share of it, smooth ones and maxima neither.

    Args:
        points: one a row.

    Raises:
        InvalidInputError: there are none.

    Example:
        >>> import netfold as nf
        >>> watched = UnitShares(np.random.default_rng(0).normal(size=(50, 4)))
        >>> watched.measure(nf.random_network(4, 8, 2, seed=0))
        {'dead/linear1 → act1': 0.0, 'dead/linear2 → act2': 0.0}
    """

    @renamed(net="model")
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Shares by layer."""
        program, points = self.captured(model)
        units, found = on_data(program, points, ranks=False)[0], dict[str, float]()
        for number, layer in enumerate(program.layers):
            rule, state = layer.rule, units.state[units.layer == number + 1]
            if isinstance(rule, Elementwise):
                found[f"dead/{layer.label}"] = float((state == STATES.index(DEAD)).mean())
                if ((rule.slopes == 0) & (rule.offsets != 0)).any():
                    found[f"saturated/{layer.label}"] = float((state == STATES.index(SATURATED)).mean())
        return found


@checked
@dataclass(frozen=True)
class EffectiveRank(OnPoints):
    """How many directions a layer's images of given inputs take up, layer by layer.

    exp(-sum p_i log p_i) with p_i = s_i / sum s, s the singular values of the images less their mean, one input a row
    (Roy and Vetterli 2007). Between 1 and the smaller of units and inputs - 1; 0 where all images are the same.

    Args:
        points: one a row.

    Raises:
        InvalidInputError: there are none.

    Example:
        >>> import netfold as nf
        >>> watched = EffectiveRank(np.random.default_rng(0).normal(size=(50, 4)))
        >>> list(watched.measure(nf.random_network(4, 8, 2, seed=0)))
        ['effective_rank/linear1 → act1', 'effective_rank/linear2 → act2', 'effective_rank/output']
    """

    @renamed(net="model")
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Effective ranks by layer."""
        program, points = self.captured(model)
        images: dict[str, list[Any]] = {}
        for part in points.split(rows_together(program)):
            for layer, _, made in walk(program, part):
                images.setdefault("output" if layer is None else layer.label, []).append(made.cpu().numpy())
        return {f"effective_rank/{name}": effective_rank(np.concatenate(parts)) for name, parts in images.items()}


def effective_rank(rows: Floats) -> float:
    """exp of the entropy of the singular values, of rows less their mean, over their sum.

    Example:
        >>> effective_rank(np.array([[1.0, 0.0], [-1.0, 0.0]])), effective_rank(np.ones((3, 2)))
        (1.0, 0.0)
    """
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    if not values.sum() > 0:
        return 0.0
    return float(np.exp(entropy(values)))


@checked
@dataclass(frozen=True)
class LayerLoss(Watched):
    """How much a metric loses when one layer is perturbed, layer by layer (`nf.layer_sensitivity`).

    A layer on which the perturbation had no effect is NaN.

    Args:
        data: as for `nf.layer_sensitivity`, and ``metric``, ``perturbation``, ``repeats`` and ``seed``.
    """

    data: Any = field(repr=False)
    metric: Any = None
    perturbation: Perturbation = QUARTER
    repeats: PositiveInt = 5
    seed: Seed = 0

    @renamed(net="model")
    def measure(self, model: nn.Module) -> dict[str, float]:
        """The clean metric, and the loss by layer."""
        found = layer_sensitivity(
            model, self.data, self.metric, self.perturbation, self.repeats, self.seed, progress=False
        )
        loss = np.where(found.effect[:, 0] == Effect.MEASURED, found.loss[:, 0], np.nan)
        labels = Counter(layer.label for layer in found.layers)
        # several weights may lead to one nonlinearity, as at the end of a residual block
        names = [la.label if labels[la.label] == 1 else f"{la.label} ({la.name})" for la in found.layers]
        named = {f"sensitivity/{name}": float(value) for name, value in zip(names, loss, strict=True)}
        return {found.metric: found.clean, **named}
