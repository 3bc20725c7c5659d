"""A cheap score of a change of weights: its second-order effect, from one backward pass a batch for all layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from netfold.arrays import Floats
from netfold.errors import InvalidInputError
from netfold.sensitivity.batches import Batch
from netfold.sensitivity.layers import WeightLayer
from netfold.sensitivity.metrics import class_axis
from netfold.sensitivity.runners import ModuleRunner

Curvature = dict[str, Tensor]
"""For every parameter by name: the mean over inputs of the diagonal of J^T H J, J the output's derivative by the
parameter, H the second derivative of the loss by the output."""


class CurvatureTally:
    """The diagonal of the Gauss-Newton matrix by parameter, added up batch by batch without bias.

    One draw a batch: with labels c drawn from the network's own classes (or signs, for a squared change), the gradient
    of the batch's summed loss has mean 0 and is independent between inputs, so that its square has as its mean the sum
    over inputs of the diagonal wanted (Fisher information; Hutchinson's estimate). The true labels are not used.

    Args:
        model: the module, in evaluation mode, and ``layers`` of it.
        squared: the curvature of the squared change of the output, in place of that of the cross-entropy.
        seed: of the draws.
    """

    def __init__(self, model: nn.Module, layers: Sequence[WeightLayer], squared: bool, seed: int) -> None:
        weights = [weight for layer in layers for weight in layer.weights]
        self.leaves = {w.name: w.value.detach().clone().requires_grad_() for w in weights}
        self.sums = {name: torch.zeros_like(leaf) for name, leaf in self.leaves.items()}
        self.run = ModuleRunner(model, "", next(iter(self.leaves.values())).dtype, weights[0].value.device).call
        self.squared, self.rows = squared, 0
        self.generator = torch.Generator().manual_seed(seed)

    def add(self, batch: Batch) -> None:
        """One batch.

        Raises:
            InvalidInputError: no gradient comes through the model.
        """
        with torch.enable_grad():
            outputs = self.run(batch.inputs, self.leaves)
            if not outputs.requires_grad:
                raise InvalidInputError("no gradient comes through the model, so there is no score; measure all layers")
            loss = signed if self.squared else drawn_loss
            total = loss(outputs, batch.labels, self.generator)
            found = torch.autograd.grad(total, list(self.leaves.values()), allow_unused=True)
        for name, gradient in zip(self.leaves, found, strict=True):
            if gradient is not None:
                self.sums[name] += gradient.square()
        self.rows += len(batch)

    @property
    def curvature(self) -> Curvature:
        """The mean over inputs."""
        return {name: total / max(self.rows, 1) for name, total in self.sums.items()}


def drawn_loss(outputs: Tensor, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    """Summed cross-entropy of the outputs with classes drawn from them; a single output is the logit of a sign."""
    axis = class_axis(outputs, labels) if outputs.ndim > 1 else 0
    if outputs.ndim == 1 or outputs.shape[axis] == 1:
        logits = outputs.reshape(-1)
        chance = torch.sigmoid(logits.detach()).cpu()
        sign = 2.0 * (torch.rand(chance.shape, generator=generator) < chance).to(logits) - 1.0
        return -logsigmoid(sign * logits).sum()
    wide = outputs.movedim(axis, -1).flatten(0, -2)
    chances = torch.softmax(wide.detach().double(), 1).cpu()
    drawn = torch.multinomial(chances, 1, generator=generator).to(wide.device)
    # several predictions an input (tokens, pixels) are averaged, as the loss averages them
    return -torch.log_softmax(wide, 1).gather(1, drawn).sum() / (len(wide) / len(outputs)) ** 0.5


def signed(outputs: Tensor, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    """The outputs summed with random signs; its gradient's square is half the curvature of their squared change."""
    signs = 2.0 * torch.randint(2, outputs.shape, generator=generator).to(outputs) - 1.0
    return (2.0**0.5) * (signs * outputs).sum()


def second_order(curvature: Mapping[str, Tensor], layer: WeightLayer, change: Callable[..., Tensor]) -> float:
    """Half the sum over a layer's weights of curvature times squared change: the rise of the loss to second order."""
    each = ((change(w).double() - w.value.double()).square() * curvature[w.name].double() for w in layer.weights)
    return 0.5 * float(sum(term.sum() for term in each))


def scores(
    curvature: Mapping[str, Tensor], layers: Sequence[WeightLayer], changes: Sequence[Callable[..., Tensor]]
) -> Floats:
    """The score of every layer under every change: ``(layers, changes)``."""
    return np.array([[second_order(curvature, layer, change) for change in changes] for layer in layers])
