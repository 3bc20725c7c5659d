"""`BitPlan`: bits by layer, what they were predicted to cost and what they cost."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from netfold.arguments import FileName, checked
from netfold.arrays import Floats, Ints
from netfold.errors import InvalidInputError
from netfold.files import write_atomically
from netfold.results.base import Record, Result, above, counted, measured, plain

if TYPE_CHECKING:
    import pandas as pd


class PlannedLayer(Record):
    """A layer with the bits that its weights get."""

    name: str = measured("its module path", name="layer", coordinate=True)
    kind: str = measured("its class", coordinate=True)
    weights: int = measured("how many weights it has, without biases", coordinate=True)
    bits: int = measured("bits a weight", coordinate=True)
    parameters: tuple[str, ...] = measured("the parameters that are rounded, as the model names them", coordinate=True)
    direct: bool = measured("whether its loss was measured, or read from the calibrated score", coordinate=True)
    label: str = measured(
        "the layer of the network that they lead to, as traces call it; the path where that is not known",
        coordinate=True,
    )


class BitPlan(Result):
    """How many bits the weights of every layer get, and what the network loses by it.

    Losses are how much worse the metric gets; positive is worse.
    """

    FORMAT = "netfold bit plan 2"
    RULE = "Measured"

    metric: str = measured("the name of the metric")
    clean: float = measured("the metric of the network as it is")
    layers: tuple[PlannedLayer, ...] = measured("the layers, in the order in which the model holds them", ("layer",))
    options: Ints = measured("bits that a layer could get", ("option",), name="option", coordinate=True)
    losses: Floats = measured(
        "measured loss with this layer alone at so many bits; NaN where it was not measured", ("layer", "option")
    )
    expected: Floats = measured(
        "the loss that the plan went by: as measured where larger than its interval, else by the score; never rising",
        ("layer", "option"),
    )
    scores: Floats = measured(
        "half the sum of curvature times squared rounding error; NaN where no gradient comes through",
        ("layer", "option"),
    )
    predicted: float = measured("the loss of the plan if layers did not interact: the sum of what is expected of each")
    loss: float = measured("the loss of the plan")
    interval: float = measured("half the width of its 95% interval over inputs, paired")
    uniform_bits: int = measured("bits of the uniform plan beside it: the fewest that make it no smaller than the plan")
    uniform_loss: float = measured("the loss of the uniform plan")
    uniform_interval: float = measured("half the width of its 95% interval over inputs, paired")
    asked_loss: float = measured("the loss that was allowed; NaN where the size was limited")
    rank_correlation: Floats = measured(
        "Spearman's, of the score with the measured loss over the layers measured; NaN where there is none", ("option",)
    )
    best: bool = measured("whether no other assignment is predicted to be better")
    per_channel: bool = measured("whether every output channel has its own scale, or the layer one")
    inputs: int = measured("how many inputs were used")
    counting_rule: str = measured("what exactly was measured")
    provenance: dict[str, Any] = measured("model, seed, versions, time", default_factory=dict, compare=False)

    plot = above("netfold.plots.sensitivity:bit_plan")

    @property
    def bits(self) -> dict[str, int]:
        """Bits by module path."""
        return {layer.name: layer.bits for layer in self.layers}

    @property
    def size(self) -> int:
        """Bits of all planned weights together."""
        return sum(layer.bits * layer.weights for layer in self.layers)

    @property
    def mean_bits(self) -> float:
        """Bits a weight."""
        return self.size / sum(layer.weights for layer in self.layers)

    @property
    def interaction(self) -> float:
        """What layers lose together beyond the sum of what they lose alone."""
        return self.loss - self.predicted

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer: ``layer``, ``label``, ``kind``, ``weights``, ``bits``, what it is ``expected`` to lose alone
        and its measured ``loss`` (NaN where it was not measured)."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": [layer.name for layer in self.layers],
                "label": [layer.label for layer in self.layers],
                "kind": [layer.kind for layer in self.layers],
                "weights": [layer.weights for layer in self.layers],
                "bits": [layer.bits for layer in self.layers],
                "expected": self._own(self.expected),
                "loss": self._own(self.losses),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan and what was measured, for JSON: ``bits`` by module path, ``parameters`` by name in the state."""
        return plain(
            {
                "bits": self.bits,
                "parameters": {name: layer.bits for layer in self.layers for name in layer.parameters},
                "scale": "output channel" if self.per_channel else "layer",
                "mean_bits": self.mean_bits,
                "size": self.size,
                "metric": self.metric,
                "clean": self.clean,
                "predicted": self.predicted,
                "loss": self.loss,
                "interval": self.interval,
                "interaction": self.interaction,
                "asked_loss": self.asked_loss,
                "uniform": {
                    "bits": self.uniform_bits,
                    "loss": self.uniform_loss,
                    "interval": self.uniform_interval,
                },
                "rank_correlation": {
                    str(bits): value for bits, value in zip(self.options, self.rank_correlation, strict=True)
                },
                "layers": self.to_dataframe().to_dict("records"),
                "best": self.best,
                "inputs": self.inputs,
                "counting_rule": self.counting_rule,
                "provenance": self.provenance,
            }
        )

    @checked
    def save_json(self, path: FileName) -> None:
        """Write `to_dict` to a JSON file, whole or not at all.

        Raises:
            InvalidInputError: the folder does not exist.
        """
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @checked
    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The planned parameters of a model, rounded: new tensors by name, for ``load_state_dict(..., strict=False)``.

        Raises:
            InvalidInputError: the model has no such layers.

        Example:
            >>> import netfold as nf
            >>> net = nf.random_network(inputs=4, width=16, depth=2, outputs=3, seed=0)
            >>> plan = nf.bit_plan(net, np.random.default_rng(0).normal(size=(100, 4)), mean_bits=4)
            >>> sorted(plan.weights(net))
            ['linear1.weight', 'linear2.weight', 'readout.weight']
        """
        import torch

        from netfold.sensitivity.layers import weight_layers
        from netfold.sensitivity.perturbations import Quantise

        found = weight_layers(model, [layer.name for layer in self.layers])
        rounded: dict[str, Tensor] = {}
        for layer in found:
            rule = Quantise(self.bits[layer.name], self.per_channel)
            rounded |= {w.name: rule.changed(w, torch.Generator()) for w in layer.weights}
        if sorted(rounded) != sorted(name for layer in self.layers for name in layer.parameters):
            raise InvalidInputError(
                f"the plan is for another model: its parameters are not those of {type(model).__name__}"
            )
        return rounded

    def _own(self, losses: Floats) -> Floats:
        at = np.searchsorted(self.options, [layer.bits for layer in self.layers])
        return losses[np.arange(len(self.layers)), at]

    def _headline(self) -> str:
        return (
            f"BitPlan: {self.mean_bits:.3g} bits a weight; {self.metric} worse by {self.loss:.3g} "
            f"(+-{self.interval:.2g}), predicted {self.predicted:.3g}; {self.uniform_bits} bits everywhere: "
            f"{self.uniform_loss:.3g} (+-{self.uniform_interval:.2g})"
        )

    def __repr__(self) -> str:
        width = max([5, *(len(layer.label) for layer in self.layers)])
        lines = [self._headline(), f"  {'layer':<{width}} {'weights':>10} {'bits':>5} {'expected loss':>15}"]
        for layer, own in zip(self.layers, self._own(self.expected), strict=True):
            how = "" if layer.direct else "  not measured"
            lines.append(f"  {layer.label:<{width}} {layer.weights:>10,} {layer.bits:>5} {own:>15.3g}{how}")
        if self.loss > self.asked_loss:
            lines.append(f"together the layers lose more than the {self.asked_loss:.3g} allowed: they interact")
        if not self.best:
            lines.append("the search ended before it was proven that no other assignment is predicted to be better")
        direct = sum(layer.direct for layer in self.layers)
        if direct < len(self.layers):
            told = ", ".join(
                f"{r:.2f} at {b}" for b, r in zip(self.options, self.rank_correlation, strict=True) if math.isfinite(r)
            )
            lines.append(
                f"{counted(direct, 'layer')} measured; rank correlation of the score, by bits: {told or 'none'}"
            )
        return "\n".join([*lines, f"measured: {self.counting_rule}"])
