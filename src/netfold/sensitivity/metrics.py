"""How well a network does on data: built-in metrics, one value an input, and any callable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from netfold.errors import InvalidInputError


@dataclass(frozen=True)
class Metric:
    """A number that says how well a network does.

    Attributes:
        name: what it is called.
        higher_is_better: whether a drop is a loss.
        each: ``(outputs, clean outputs, labels)`` to one value an input, averaged over inputs; or ``None``.
        whole: where ``each`` is ``None``: ``(outputs, labels)`` of all inputs to one number, with the clean outputs
            in the place of labels where there are none.
    """

    name: str
    higher_is_better: bool
    each: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = None
    whole: Callable[[Tensor, Tensor], Any] | None = None


def metric_for(
    asked: str | Callable[..., Any] | Metric | None, labels: Tensor | None, higher_is_better: bool = True
) -> Metric:
    """The metric that is asked for; by default the one that the labels suggest.

    Raises:
        InvalidInputError: the name is unknown, or the metric needs labels and there are none.
    """
    if isinstance(asked, Metric):
        return asked
    if asked is None:
        real = labels is not None and labels.is_floating_point() and not one_hot(labels)
        asked = "disagreement" if labels is None else "loss" if real else "accuracy"
    if callable(asked):
        return Metric(getattr(asked, "__name__", type(asked).__name__), higher_is_better, whole=asked)
    if asked not in METRICS:
        raise InvalidInputError(f"metric must be one of {', '.join(METRICS)}, or a function, got {asked!r}")
    if labels is None and asked in ("accuracy", "loss"):
        raise InvalidInputError(f"metric={asked!r} needs labels; give data=(x, y), or use metric='disagreement'")
    return METRICS[asked]


def one_hot(labels: Tensor) -> bool:
    """Whether every row of labels is one 1 among 0: a class, written out.

    Example:
        >>> one_hot(torch.eye(3)), one_hot(torch.tensor([[0.5, 0.5]])), one_hot(torch.tensor([[1], [1]]))
        (True, False, False)
    """
    if labels.ndim != 2 or labels.shape[1] < 2:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def classes(outputs: Tensor, labels: Tensor | None = None) -> Tensor:
    """The class each output stands for: of the largest entry, or of the sign where there is only one.

    The class axis is the last; with labels of shape ``(rows, height, width)`` beside outputs of shape
    ``(rows, classes, height, width)`` it is the second.
    """
    if outputs.ndim == 1:
        return (outputs > 0).long()
    axis = class_axis(outputs, labels)
    if outputs.shape[axis] == 1:
        return (outputs > 0).long().squeeze(axis)
    return outputs.argmax(axis)


def class_axis(outputs: Tensor, labels: Tensor | None) -> int:
    """Along which axis of outputs the classes lie: see `classes`."""
    second = (outputs.shape[0], *outputs.shape[2:])
    return 1 if labels is not None and outputs.ndim > 2 and tuple(labels.shape) == second else outputs.ndim - 1


def _by_row(values: Tensor) -> Tensor:
    return values.double().reshape(len(values), -1).mean(1)


def _accuracy(outputs: Tensor, clean: Tensor, labels: Tensor | None) -> Tensor:
    assert labels is not None
    found = classes(outputs, labels)
    if found.shape != labels.shape:
        raise InvalidInputError(
            f"accuracy needs one class number an output: outputs of shape {tuple(outputs.shape)}, labels of shape "
            f"{tuple(labels.shape)}"
        )
    # A network whose outputs are not numbers any more classifies nothing.
    usable = torch.isfinite(outputs).reshape(len(outputs), -1).all(1).double()
    return _by_row(found == labels) * usable


def _loss(outputs: Tensor, clean: Tensor, labels: Tensor | None) -> Tensor:
    assert labels is not None
    wide = outputs.double()
    if labels.is_floating_point():
        if labels.numel() != outputs.numel():
            raise InvalidInputError(
                f"the loss needs labels like the outputs, of shape {tuple(outputs.shape)}, got {tuple(labels.shape)}"
            )
        return _by_row((wide - labels.reshape(outputs.shape).double()).square())
    if outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1):
        signed = wide.reshape(-1) * (2 * labels.reshape(-1).double() - 1)
        return torch.nn.functional.softplus(-signed)
    axis = class_axis(outputs, labels)
    return _by_row(cross_entropy(wide.movedim(axis, 1), labels.long(), reduction="none"))


def _disagreement(outputs: Tensor, clean: Tensor, labels: Tensor | None) -> Tensor:
    return _by_row(classes(outputs, labels) != classes(clean, labels))


def _squared_change(outputs: Tensor, clean: Tensor, labels: Tensor | None) -> Tensor:
    return (outputs.double() - clean.double()).square().reshape(len(outputs), -1).sum(1)


METRICS = {
    "accuracy": Metric("accuracy", True, _accuracy),
    "loss": Metric("loss", False, _loss),
    "disagreement": Metric("disagreement", False, _disagreement),
    "squared_change": Metric("squared_change", False, _squared_change),
}
"""Built-in metrics. Accuracy: share of inputs classified right. Loss: cross-entropy, or squared error for real labels.
Disagreement: share of inputs classified otherwise than by the clean network. Squared change: squared Euclidean
distance of the output from the clean one."""


class MetricTally:
    """A metric for one network at many settings, added up batch by batch.

    Args:
        metric: what to add up.
        settings: how many settings there are, and ``repeats`` runs of each.
    """

    def __init__(self, metric: Metric, settings: int, repeats: int) -> None:
        self.metric = metric
        self.sums = np.zeros((settings, repeats))
        self.clean_sum, self.clean_square, self.rows = 0.0, 0.0, 0
        self.difference, self.square = np.zeros(settings), np.zeros(settings)
        self._one_hot: bool | None = None
        self._outputs: dict[tuple[int, int], list[Tensor]] = {}
        self._references: list[Tensor] = []

    def start(self, clean: Tensor, labels: Tensor | None) -> None:
        """A new batch, with its clean outputs."""
        self.clean, self.labels = clean, labels
        if labels is not None and self.metric.each is not None:
            self.labels = labels = self._numbered(labels, clean)
        self.rows += len(clean)
        self._settings: dict[int, list[Tensor]] = {}
        if self.metric.each is None:
            self._references.append((clean if labels is None else labels).cpu())
            self._outputs.setdefault((-1, 0), []).append(clean.cpu())
            return
        self.clean_each = self.metric.each(clean, clean, labels).cpu()
        self.clean_sum += float(self.clean_each.sum())
        self.clean_square += float(self.clean_each.square().sum())

    def _numbered(self, labels: Tensor, clean: Tensor) -> Tensor:
        """Labels of a built-in metric: the number of the class where they are one-hot, beside as many outputs.

        The first batch tells which kind they are, so that one batch is never read unlike another.
        """
        here = labels.shape == clean.shape and one_hot(labels)
        self._one_hot = here if self._one_hot is None else self._one_hot
        if self._one_hot and not here:
            raise InvalidInputError(
                "labels are one-hot in the first batch of data and not in a later one; give class numbers, or a "
                "function as metric"
            )
        return labels.argmax(1) if self._one_hot else labels

    def add(self, setting: int, repeat: int, outputs: Tensor) -> None:
        """The outputs of one run on the batch."""
        if self.metric.each is None:
            self._outputs.setdefault((setting, repeat), []).append(outputs.cpu())
            return
        each = self.metric.each(outputs, self.clean, self.labels).cpu()
        self.sums[setting, repeat] += float(each.sum())
        self._settings.setdefault(setting, []).append(each)

    def end(self) -> None:
        """The batch is done: what its inputs differ in is added up."""
        for setting, runs in self._settings.items():
            change = (torch.stack(runs).mean(0) - self.clean_each).double()
            self.difference[setting] += float(change.sum())
            self.square[setting] += float(change.square().sum())

    @property
    def value(self) -> float:
        """The metric of the clean network."""
        return self.clean_sum / self.rows if self.metric.each is not None else self._whole(-1, 0)

    @property
    def values(self) -> NDArray[np.float64]:
        """The metric in every setting and run."""
        if self.metric.each is not None:
            return self.sums / self.rows
        found = np.full(self.sums.shape, np.nan)
        for setting, repeat in self._outputs:
            if setting >= 0:
                found[setting, repeat] = self._whole(setting, repeat)
        return found

    @property
    def error(self) -> float:
        """Standard error of the clean metric over inputs; NaN for a metric of the whole."""
        return float(self._standard_error(np.array(self.clean_sum), np.array(self.clean_square)))

    @property
    def errors(self) -> NDArray[np.float64]:
        """Standard error over inputs of the mean change, inputs paired; NaN for a metric of the whole."""
        return self._standard_error(self.difference, self.square)

    def _standard_error(self, total: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.metric.each is None or self.rows < 2:
            return np.full(total.shape, np.nan)
        variance = np.maximum(square / self.rows - (total / self.rows) ** 2, 0.0)
        return np.sqrt(variance / (self.rows - 1))

    def _whole(self, setting: int, repeat: int) -> float:
        assert self.metric.whole is not None
        outputs, references = torch.cat(self._outputs[setting, repeat]), torch.cat(self._references)
        try:
            return float(self.metric.whole(outputs, references))
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"metric '{self.metric.name}' must take (outputs, labels) and give one number; on outputs of shape "
                f"{tuple(outputs.shape)} it failed: {type(error).__name__}: {error}"
            ) from error
