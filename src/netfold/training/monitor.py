"""`Monitor`: measures a network every n steps, without a trace in the training."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import nn

from netfold.arguments import PositiveInt, Within, checked, shown
from netfold.capture.reading import unwrapped
from netfold.capture.untouched import untouched
from netfold.errors import InvalidInputError, NetfoldError
from netfold.renamed import renamed
from netfold.training.history import History
from netfold.training.watched import Watched


class Monitor:
    """Computes chosen measures of a network every n steps on fixed inputs, and keeps them.

    In a plain loop it is one line::

        monitor = nf.monitors.Monitor([nf.monitors.AlongPaths(path)], every=100)
        for step, (x, y) in enumerate(loader):
            monitor(net, step)
            ...
        monitor.history.plot()

    Training with a monitor gives the same bits as training without: the network is measured in evaluation mode without
    gradients, and its modes, buffers and all random states are as before afterwards. Only the process of rank 0
    measures. Where a measure fails once training has begun (weights that are NaN, say), the step is missed with a
    warning; at the very first measurement it is an error.

    Args:
        measures: what to measure.
        every: how many steps lie between two measurements.
        part: which part of the model to watch, such as ``lambda model: model.net``; all of it by default.
        budget: measuring may take this share of the time that training takes, 2% by default. A measurement that is due
            is missed, and ``history.missed`` says so, until what measuring has taken so far and would take again, by
            the last one, is within it: so measurements space themselves out. The first, which may load or compile
            passes, is taken in any case, and counts. None: no limit.

    Attributes:
        history: what was measured.
        seconds: time spent measuring, and ``training_seconds`` the other time since the first call; checkpoints hold
            both.

    Raises:
        InvalidInputError: there is nothing to measure, or a number is out of range.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(2, 8, 2, seed=0)
        >>> monitor = Monitor([nf.monitors.AlongPaths(nf.Line([0.0, 1.0], [1.0, 0.0]))], every=5, budget=None)
        >>> for step in range(11):
        ...     _ = monitor(net, step)
        >>> monitor.history.steps
        [0, 5, 10]
    """

    @checked
    def __init__(
        self,
        measures: Watched | Sequence[Watched],
        every: PositiveInt = 100,
        *,
        part: Callable[[nn.Module], nn.Module] | None = None,
        budget: Annotated[float, Within(1e-9, 1)] | None = 0.02,
    ) -> None:
        self.measures = _listed(measures)
        self.every, self.part, self.budget = every, part, budget
        self.history, self.seconds, self.training_seconds = History(), 0.0, 0.0
        self._last_seen: float | None = None
        self._cost = 0.0

    @property
    def share(self) -> float:
        """Time spent measuring, over the time that training took; infinite before any."""
        return self.seconds / self.training_seconds if self.training_seconds else float("inf")

    @renamed(net="model")
    @checked
    def __call__(self, model: nn.Module, step: int) -> dict[str, float] | None:
        """Measure, if it is time to; call it at every step.

        Args:
            model: the network in training.
            step: the number of this step.

        Returns:
            The numbers, or None where nothing was measured.
        """
        now = time.perf_counter()
        self.training_seconds += 0.0 if self._last_seen is None else now - self._last_seen
        self._last_seen = now
        if step % self.every or _rank() != 0 or (self.history.steps and self.history.steps[-1] == step):
            return None
        allowed = float("inf") if self.budget is None else self.budget * self.training_seconds
        if len(self.history) and self.seconds + self._cost > allowed:
            self.history.missed[int(step)] = "over the time budget"
            return None
        return self._measured(model, step)

    def _measured(self, model: nn.Module, step: int) -> dict[str, float] | None:
        begin = time.perf_counter()
        try:
            values = measure(model, self.measures, self.part)
        except NetfoldError as error:
            if not len(self.history):
                raise
            self.history.missed[int(step)] = str(error)
            warnings.warn(f"netfold: nothing was measured at step {step}: {error}", RuntimeWarning, stacklevel=3)
            return None
        finally:
            self._last_seen = time.perf_counter()
            self._cost = self._last_seen - begin
            self.seconds += self._cost
        self.history.add(step, values)
        return values

    def state_dict(self) -> dict[str, Any]:
        """Everything to go on from, in plain lists and numbers, for a checkpoint."""
        return {
            "steps": list(self.history.steps),
            "records": [dict(record) for record in self.history.records],
            "missed": {str(step): why for step, why in self.history.missed.items()},
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
        }

    @checked
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            InvalidInputError: it is not what `state_dict` gave.
        """
        if absent := [name for name in ("steps", "records", "missed", "seconds") if name not in state]:
            raise InvalidInputError(f"state must be what state_dict gave; it has no {', '.join(absent)}")
        missed = {int(step): why for step, why in state["missed"].items()}
        self.history = History(list(state["steps"]), [dict(r) for r in state["records"]], missed)
        self.seconds, self.training_seconds = float(state["seconds"]), float(state.get("training_seconds", 0.0))
        self._last_seen, self._cost = None, self.seconds / max(len(self.history), 1)


@renamed(net="model")
@checked
def measure(
    model: nn.Module, measures: Watched | Sequence[Watched], part: Callable[[nn.Module], nn.Module] | None = None
) -> dict[str, float]:
    """All measures of a network as it is now; the network and all random states are left as they were."""
    whole = unwrapped(model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model)
    with untouched(whole), torch.no_grad():
        for module in whole.modules():
            module.training = False
        watched = whole if part is None else part(whole)
        return {name: value for m in _listed(measures) for name, value in m.measure(watched).items()}


@checked
def follow(models: Iterable[tuple[int, nn.Module]], measures: Watched | Sequence[Watched]) -> History:
    """The history of networks that are already there, such as checkpoints.

    Args:
        models: steps with the network at each.
        measures: what to measure.

    Returns:
        The history.

    Example:
        >>> import netfold as nf
        >>> nets = ((step, nf.random_network(2, 8, 2, seed=step)) for step in range(3))
        >>> follow(nets, nf.monitors.AlongPaths(nf.Line([0.0, 1.0], [1.0, 0.0]))).steps
        [0, 1, 2]
    """
    history = History()
    for pair in models:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidInputError(f"models must give pairs (step, model), got {shown(pair)}")
        step, net = pair
        history.add(step, measure(net, measures))
    return history


def _listed(measures: Watched | Sequence[Watched]) -> tuple[Watched, ...]:
    listed = (measures,) if isinstance(measures, Watched) else tuple(measures)
    if not listed or not all(isinstance(m, Watched) for m in listed):
        raise InvalidInputError(
            "measures must be one or more of AlongPaths, LocalComplexity, UnitShares, EffectiveRank, LayerLoss"
        )
    return listed


def _rank() -> int:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if distributed else 0
