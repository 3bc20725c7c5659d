"""`Sensitivity`: what a metric does when one layer is perturbed, as a result that tabulates, plots and saves."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import Positive, checked
from netfold.arrays import Floats
from netfold.errors import InvalidInputError
from netfold.results.base import Record, Result, Variable, above, counted, measured, variable
from netfold.results.intervals import half_width

if TYPE_CHECKING:
    import pandas as pd


class Effect(enum.IntEnum):
    """What a perturbation did, before anyone speaks of robustness."""

    MEASURED = 0
    WEIGHTS_UNCHANGED = 1
    OUTPUT_UNCHANGED = 2
    UNUSED = 3

    @property
    def words(self) -> str:
        """In words."""
        return (
            "measured",
            "no effect: the perturbation left every weight as it was",
            "no effect: the layer was changed, but not one output was",
            "no effect: the output does not use this layer",
        )[self]


class PerturbedLayer(Record):
    """A layer that was perturbed."""

    name: str = measured("its module path", name="layer", coordinate=True)
    kind: str = measured("its class", coordinate=True)
    weights: int = measured("how many weights it has, without biases", coordinate=True)
    label: str = measured(
        "the layer of the network that they lead to, as traces call it; the path where that is not known",
        coordinate=True,
    )
    shared_with: tuple[str, ...] = measured(
        "other modules with the same tensors, perturbed with it", coordinate=True, default=()
    )


class Sensitivity(Result):
    """How a metric changes when each layer of a network is perturbed alone.

    Arrays have the axes ``layer``, ``strength`` and ``repeat``, in the order of ``layers`` and ``strengths``. A
    perturbation without randomness has one repeat.
    """

    FORMAT = "netfold sensitivity 1"
    RULE = "Measured"

    metric: str = measured("the name of the metric")
    higher_is_better: bool = measured("its direction")
    perturbation: str = measured("what was done, in words")
    stronger_upward: bool = measured("whether more of it is stronger")
    clean: float = measured("the metric of the network as it is")
    clean_error: float = measured("its standard error over inputs")
    layers: tuple[PerturbedLayer, ...] = measured("the layers, in the order in which the model holds them", ("layer",))
    strengths: Floats = measured(
        "how strong, NaN where the perturbation has no scale", ("strength",), name="strength", coordinate=True
    )
    values: Floats = measured("metric with the layer perturbed", ("layer", "strength", "repeat"))
    data_error: Floats = measured(
        "standard error of the mean change over inputs, paired",
        ("layer", "strength"),
    )
    output_change: Floats = measured(
        "RMS change of the outputs over the RMS of the clean outputs", ("layer", "strength")
    )
    effect: NDArray[np.int64] = measured("; ".join(f"{e.value}: {e.words}" for e in Effect), ("layer", "strength"))
    inputs: int = measured("how many inputs were used")
    counting_rule: str = measured("what exactly was measured")
    provenance: dict[str, Any] = measured("model, seed, versions, time", default_factory=dict, compare=False)

    plot = above("netfold.plots.sensitivity:plot")

    @property
    def mean(self) -> Floats:
        """The metric with the layer perturbed, averaged over repeats: ``(L, S)``."""
        return self.values.mean(2)

    @property
    def loss(self) -> Floats:
        """How much worse the metric gets, averaged over repeats: ``(L, S)``; positive is worse."""
        return (self.clean - self.mean) * (1.0 if self.higher_is_better else -1.0)

    @property
    def interval(self) -> Floats:
        """Half the width of the 95% confidence interval of `mean` and `loss`, ``(L, S)``.

        Over repeats where there are several: Student's t on the draws, for these very inputs. With one repeat, over
        inputs: normal, from the paired change of every input. NaN where neither exists.
        """
        return half_width(self.values) if self.values.shape[2] > 1 else 1.959964 * self.data_error

    @property
    def without_effect(self) -> dict[str, str]:
        """Layers on which the perturbation had no effect at some strength, with the reason; they are not robust."""
        worst = self.effect.max(1)
        return {la.name: Effect(e).words for la, e in zip(self.layers, worst, strict=True) if e}

    @checked
    def ranking(self, strength: float | None = None) -> list[str]:
        """Layers from the most sensitive to the least.

        Layers on which the perturbation had no effect are left out: nothing is known about them
        (`without_effect` names them).

        Args:
            strength: one of ``strengths``; by default the strongest.

        Returns:
            Their names.

        Raises:
            InvalidInputError: this strength was not measured.
        """
        column = self._column(strength)
        measured = [i for i in range(len(self.layers)) if self.effect[i, column] == Effect.MEASURED]
        loss, moved = np.nan_to_num(self.loss[:, column], nan=np.inf), self.output_change[:, column]
        return [self.layers[i].name for i in sorted(measured, key=lambda i: (-loss[i], -moved[i], i))]

    @checked
    def threshold(self, share: Positive = 0.1) -> dict[str, float]:
        """The strength at which a layer loses a share of the metric, by linear interpolation between strengths.

        Lost means: the mean is down to (1 - share) of the clean metric where higher is better, up to (1 + share)
        where lower is, and up to ``share`` itself where the clean metric is 0 (disagreement). The first time, from
        the weakest strength on; below the weakest strength the line starts at strength 0 where stronger is upward.

        Args:
            share: positive; below 1 where higher is better.

        Returns:
            One strength a layer; NaN where it is not reached at any measured strength or there was no effect.

        Raises:
            InvalidInputError: there are no strengths, or the share is out of range.

        Example:
            >>> import netfold as nf
            >>> net, x = nf.random_network(4, 16, 2, 3, seed=0), np.random.default_rng(0).normal(size=(200, 4))
            >>> found = nf.layer_sensitivity(net, x, perturbation=nf.GaussianNoise(1.0), strengths=[0.1, 0.5, 1.0])
            >>> sorted(found.threshold(0.1))
            ['linear1', 'linear2', 'readout']
        """
        if np.isnan(self.strengths).any():
            raise InvalidInputError(f"'{self.perturbation}' has no strengths, so there is no threshold")
        if share >= 1 and self.higher_is_better:
            raise InvalidInputError(f"share must be below 1 where higher is better, got {share}")
        allowed = share * (abs(self.clean) if self.clean else 1.0)
        return {layer.name: self._first_at(i, allowed) for i, layer in enumerate(self.layers)}

    def _first_at(self, layer: int, allowed: float) -> float:
        order = np.argsort(self.strengths if self.stronger_upward else -self.strengths)
        strengths, loss = self.strengths[order], np.nan_to_num(self.loss[layer, order], nan=np.inf)
        if self.stronger_upward and strengths[0] > 0:
            strengths, loss = np.append(0.0, strengths), np.append(0.0, loss)
        over = np.flatnonzero(loss >= allowed * (1 - 1e-9))
        if len(over) == 0:
            return float("nan")
        i = int(over[0])
        if i == 0 or not np.isfinite(loss[i]):
            return float(strengths[i])
        part = (allowed - loss[i - 1]) / (loss[i] - loss[i - 1])
        return float(strengths[i - 1] + part * (strengths[i] - strengths[i - 1]))

    def _column(self, strength: float | None) -> int:
        if strength is None:
            return int(np.argmax(self.strengths) if self.stronger_upward else np.argmin(self.strengths))
        found = np.flatnonzero(np.isclose(self.strengths, strength, rtol=1e-9, atol=0.0))
        if len(found) == 0:
            raise InvalidInputError(f"strength {strength:g} was not measured; there are {self.strengths.tolist()}")
        return int(found[0])

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer and strength.

        Columns: ``layer``, ``label`` (the nonlinearity that its weights lead to, as in the table of a trace), ``kind``,
        ``weights``, ``strength``, the metric's ``mean``, ``loss`` (positive is worse)
        with its interval ``low`` to ``high`` (95%), ``output_change`` (relative), ``effect`` in words.

        Returns:
            The table.
        """
        import pandas as pd

        loss, half = self.loss, self.interval
        columns = {"mean": self.mean, "loss": loss, "low": loss - half, "high": loss + half}
        each = len(self.strengths)
        return pd.DataFrame(
            {
                "layer": np.repeat([layer.name for layer in self.layers], each),
                "label": np.repeat([layer.label for layer in self.layers], each),
                "kind": np.repeat([layer.kind for layer in self.layers], each),
                "weights": np.repeat([layer.weights for layer in self.layers], each),
                "strength": np.tile(self.strengths, len(self.layers)),
                **{name: values.ravel() for name, values in columns.items()},
                "output_change": self.output_change.ravel(),
                "effect": [Effect(effect).words for effect in self.effect.ravel()],
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers in plain dictionaries and lists, for JSON."""
        return {
            "metric": self.metric,
            "clean": self.clean,
            "perturbation": self.perturbation,
            "inputs": self.inputs,
            "layers": self.to_dataframe().to_dict("records"),
            "ranking": self.ranking(),
            "without_effect": self.without_effect,
            "counting_rule": self.counting_rule,
            "provenance": self.provenance,
        }

    def _more(self) -> dict[str, Variable]:
        each = ("layer", "strength")
        return {
            "loss": variable(self.loss, "how much worse the metric gets", each),
            "interval": variable(self.interval, "half width, 95%", each),
        }

    def __repr__(self) -> str:
        column = self._column(None) if not np.isnan(self.strengths).all() else 0
        at = "" if np.isnan(self.strengths[column]) else f" at {self.strengths[column]:g}"
        lines = [
            f"Sensitivity: {self.metric} {self.clean:.4g} as it is, {counted(self.inputs, 'input')}; "
            f"{self.perturbation}{at}"
        ]
        width = max(len(layer.label) for layer in self.layers)
        lines.append(f"  {'layer':<{width}} {'weights':>10} {self.metric:>12} {'worse by':>10} {'+-':>8}")
        for i, layer in enumerate(self.layers):
            row = f"  {layer.label:<{width}} {layer.weights:>10,} {self.mean[i, column]:>12.4g}"
            if self.effect[i, column] == Effect.MEASURED:
                lines.append(f"{row} {self.loss[i, column]:>10.3g} {self.interval[i, column]:>8.2g}")
            else:
                lines.append(f"{row}  {Effect(self.effect[i, column]).words}")
        return "\n".join([*lines, f"measured: {self.counting_rule}"])
