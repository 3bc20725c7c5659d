"""Dichotomies: how many labellings of fixed inputs a network reaches as one layer's weights are swept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from netfold.arguments import PositiveInt, Seed, Within, checked
from netfold.arrays import Ints
from netfold.capture.data import tensor_of
from netfold.capture.untouched import untouched
from netfold.errors import InvalidInputError
from netfold.exact.arc.tracer import trace_ellipses
from netfold.exact.numerics.threads import aside
from netfold.renamed import renamed
from netfold.results.base import Result, above, measured
from netfold.results.provenance import surroundings
from netfold.sensitivity.layers import weight_layers
from netfold.sensitivity.sweeping import LayerSweep, WeightTape, as_points

if TYPE_CHECKING:
    import pandas as pd


NARROW = 2.0**-40
"""Share of the sweep below which the stretch between two label changes is within their rounding and is not counted."""


class Dichotomies(Result):
    """Labellings met while the weights of one layer run along W cos t + W' sin t, for several layers."""

    FORMAT = "netfold dichotomies 1"

    layers: tuple[str, ...] = measured("the swept layers", ("layer",), name="layer", coordinate=True)
    remaining_depth: Ints = measured("nonlinearities behind each", ("layer",), coordinate=True)
    counts: Ints = measured("distinct labellings met", ("layer", "sweep"))
    changes: Ints = measured("label changes along the sweep, summed over inputs", ("layer", "sweep"))
    narrow: Ints = measured("stretches too narrow to count: a count is proven only up to so many", ("layer", "sweep"))
    inputs: int = measured("how many inputs were labelled")
    classes: int = measured("in how many classes")
    angle: float = measured("how far t runs", unit="rad")
    vc_dimension: float = measured("an upper bound for all weights of the network (see `vc_dimension_bound`)")
    counting_rule: str = measured("what was counted")
    provenance: dict[str, Any] = measured("model, seed, versions", default_factory=dict, compare=False)

    plot = above("netfold.plots.sensitivity:dichotomies")

    @property
    def ceiling(self) -> int:
        """No network has more labellings of these inputs, with all its weights free: Sauer-Shelah for two classes."""
        if self.classes > 2:
            return self.classes**self.inputs
        return sauer_shelah(self.inputs, int(min(self.vc_dimension, self.inputs)))

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer and sweep: ``layer``, ``remaining_depth``, ``sweep``, ``count``, ``changes``, ``narrow``."""
        import pandas as pd

        layers, sweeps = self.counts.shape
        return pd.DataFrame(
            {
                "layer": np.repeat(self.layers, sweeps),
                "remaining_depth": np.repeat(self.remaining_depth, sweeps),
                "sweep": np.tile(np.arange(sweeps), layers),
                "count": self.counts.ravel(),
                "changes": self.changes.ravel(),
                "narrow": self.narrow.ravel(),
            }
        )

    def __repr__(self) -> str:
        width = max(len(name) for name in self.layers)
        lines = [f"Dichotomies: labellings of {self.inputs} inputs, at most {self.ceiling:,}"]
        lines.append(f"  {'swept layer':<{width}} {'remaining depth':>15} {'labellings':>12} {'label changes':>14}")
        for i, name in enumerate(self.layers):
            mean, changes = self.counts[i].mean(), self.changes[i].mean()
            lines.append(f"  {name:<{width}} {self.remaining_depth[i]:>15} {mean:>12,.1f} {changes:>14,.1f}")
        return "\n".join([*lines, f"counted: {self.counting_rule}"])


@renamed(net="model")
@checked
def count_dichotomies(
    model: nn.Module,
    inputs: Any,
    layers: Sequence[str] | None = None,
    *,
    sweeps: PositiveInt = 1,
    other: nn.Module | None = None,
    angle: Annotated[float, Within(1e-6, 1e6)] = 2 * math.pi,
    seed: Seed = 0,
) -> Dichotomies:
    """Count the labellings of fixed inputs that appear while one layer's weights run along W cos t + W' sin t.

    A labelling gives each of the s inputs its class (the sign of the output where there is one, the largest output
    otherwise). The layer's biases and all other layers stay. The count is exact for piecewise-linear networks: as t
    runs, the layer's output for one input runs along an ellipse, so every label change of every input is a root in
    closed form; labellings are read between consecutive changes, in float64 (Raghu et al. 2017, dichotomies; v4,
    figures 4 and 5: s = 15, sigma_w^2 = 8, sigma_b = 0).

    Args:
        model: a piecewise-linear module in evaluation mode.
        inputs: the inputs, one a row.
        layers: module paths of the layers to sweep, one after the other; by default all.
        sweeps: how many directions W' to draw, each as N(0, mean square of W).
        other: take W' from this network of the same architecture instead.
        angle: how far t runs; the circle by default.
        seed: of the draws.

    Returns:
        Counts by layer and sweep, beside the remaining depth and the ceiling.

    Raises:
        InvalidInputError: inputs do not fit, a layer is used several times or has several weights.
        NotPiecewiseLinearError: what follows a layer is not piecewise linear.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=10, width=20, depth=2, activation="hardtanh", sigma_w=8**0.5, seed=0)
        >>> found = count_dichotomies(net, np.random.default_rng(0).normal(size=(5, 10)))
        >>> found.remaining_depth.tolist(), found.ceiling
        ([2, 1, 0], 32)
        >>> bool((found.counts <= 32).all())
        True
    """
    if other is not None and sweeps != 1:
        raise InvalidInputError(f"sweeps must be 1 where other is given, got {sweeps}")
    shape = tuple(tensor_of(inputs, "inputs").shape[1:])
    with untouched(model):
        tape = WeightTape.of(model, shape)
        found = [LayerSweep.of(tape, layer) for layer in weight_layers(model, layers)]
    points = as_points(tape, inputs)
    rows = [[_count(s, points, _direction(s, seed, r, other), angle) for r in range(sweeps)] for s in found]
    counts = np.array(rows, np.int64).reshape(len(found), sweeps, 3)
    outputs = int(np.prod(found[0].program.output_shape, dtype=np.int64))
    return Dichotomies(
        layers=tuple(sweep.layer.name for sweep in found),
        remaining_depth=np.array([len(sweep.program.layers) for sweep in found], np.int64),
        counts=counts[:, :, 0],
        changes=counts[:, :, 1],
        narrow=counts[:, :, 2],
        inputs=len(points),
        classes=max(outputs, 2),
        angle=angle,
        vc_dimension=_dimension(model),
        counting_rule=(
            "distinct vectors of classes (sign of a single output, else the largest output) on the open stretches "
            "between label changes, the layer's biases and all other layers fixed"
        ),
        provenance={**surroundings(), "model": type(model).__name__, "seed": seed},
    )


def sauer_shelah(points: int, dimension: int) -> int:
    """Labellings of so many points by a class of that VC dimension: sum over i <= dimension of C(points, i).

    Source: Sauer 1972, Shelah 1972. From ``dimension >= points`` on it is 2^points.

    Example:
        >>> sauer_shelah(15, 2), sauer_shelah(15, 40)
        (121, 32768)
    """
    return sum(math.comb(points, i) for i in range(min(dimension, points) + 1))


def vc_dimension_bound(weights: int, layers: int, width: int) -> float:
    """An upper bound on the VC dimension of a hard-tanh network: 2Wn log(4eWnk) + 2Wn^2 log 2 + 2n.

    Args:
        weights: parameters W.
        layers: hidden layers n, and ``width`` k of the widest.

    As Raghu et al. 2017 use it (appendix D); stated there for fully connected networks.

    Example:
        >>> vc_dimension_bound(weights=100, layers=2, width=5) > 1000
        True
    """
    if min(weights, layers, width) < 1:
        raise InvalidInputError(f"weights, layers and width must be at least 1, got {weights}, {layers}, {width}")
    size = 2 * weights * layers
    return size * math.log(4 * math.e * weights * layers * width) + size * layers * math.log(2) + 2 * layers


def _dimension(model: nn.Module) -> float:
    layers = weight_layers(model)
    widest = max(layer.weights[0].value.shape[0] for layer in layers)
    return vc_dimension_bound(sum(p.numel() for p in model.parameters()), max(len(layers) - 1, 1), widest)


def _direction(sweep: LayerSweep, seed: int, number: int, other: nn.Module | None) -> Tensor:
    weight = sweep.tape.values[sweep.swept]
    if other is not None:
        known, name = dict(other.named_parameters()), sweep.layer.weights[0].name
        if name not in known or known[name].shape != weight.shape:
            raise InvalidInputError(f"other: it has no '{name}' of shape {tuple(weight.shape)}")
        return known[name].detach().to(weight)
    words = np.random.SeedSequence([seed, sweep.layer.number, number]).generate_state(2, np.uint32)
    generator = torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
    drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.device)
    return drawn * weight.square().mean().sqrt()


def _count(sweep: LayerSweep, points: Tensor, other: Tensor, angle: float) -> tuple[int, int, int]:
    """Labellings, label changes, and stretches that are too narrow."""
    ellipses = sweep.ellipses(points, other, angle)
    moving = [e for e in ellipses if e.u.any() or e.v.any()]
    if not moving:
        return 1, 0, 0
    found = trace_ellipses(sweep.program, moving).results
    times = np.unique(np.concatenate([f.class_changes for f in found]))
    starts = np.append(0.0, times)
    wide = np.diff(np.append(starts, 1.0)) > NARROW
    labels = np.stack([f.classes[np.searchsorted(f.class_changes, starts[wide], side="right")] for f in found], 1)
    changes = sum(len(f.class_changes) for f in found)
    return len(aside(partial(np.unique, labels, axis=0))), changes, int((~wide).sum())
