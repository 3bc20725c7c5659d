"""Monitors as callbacks of Lightning and Hugging Face; each library is imported only when its callback is asked for."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.files import write_atomically
from netfold.training.monitor import Monitor

STATE_FILE = "netfold_monitor.json"
"""Where a Hugging Face checkpoint keeps the monitor's state."""


@checked
def plain_names(numbers: Mapping[str, float]) -> dict[str, float]:
    """The same numbers under names that every logger takes: letters, digits, spaces and ``_-.:/`` (MLflow's).

    Arrows of labels become ``-``, brackets a dot; whatever else is not taken becomes ``_``.

    Raises:
        InvalidInputError: two names become the same.

    Example:
        >>> plain_names({"length/fc → act[2]": 1.5})
        {'length/fc - act.2': 1.5}
    """
    table = str.maketrans({"→": "-", "[": ".", "]": None, "(": "-", ")": None, ",": None})
    found = {re.sub(r"[^A-Za-z0-9_\-.:/ ]", "_", name.translate(table)): value for name, value in numbers.items()}
    if len(found) < len(numbers):
        raise InvalidInputError(f"names of different numbers become the same for loggers: {', '.join(numbers)}")
    return found


@checked
def lightning_callback(monitor: Monitor) -> Any:
    """A Lightning callback that runs a monitor.

    It measures before training (step 0), then by ``trainer.global_step``, on the process of global rank 0; numbers go
    to all of the trainer's loggers as ``netfold/...`` (under `plain_names`) and to ``monitor.history``, and the state
    into Lightning's checkpoints.

    Args:
        monitor: what to measure and how often. Its ``part`` gets the LightningModule.

    Returns:
        A ``lightning.Callback`` (or ``pytorch_lightning``'s, where only that is installed).

    Raises:
        InvalidInputError: Lightning is not installed.
    """
    names = ("lightning.pytorch", "pytorch_lightning")
    library = next((found for found in map(_imported, names) if found is not None), None)
    if library is None:
        raise InvalidInputError("the Lightning callback needs Lightning: pip install 'netfold[lightning]'")

    class LightningMonitor(library.Callback):
        """Runs a netfold monitor during training."""

        state_key = "netfold.Monitor"

        def __init__(self) -> None:
            super().__init__()
            self.monitor = monitor

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Measure the network before its first step, or where it was resumed."""
            self._measure(trainer, pl_module)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            """Measure after the optimiser's step."""
            self._measure(trainer, pl_module)

        def _measure(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.is_global_zero:
                return
            values = monitor(pl_module, trainer.global_step) or {}
            for logger in trainer.loggers if values else []:
                logger.log_metrics(
                    {f"netfold/{k}": v for k, v in plain_names(values).items()}, step=trainer.global_step
                )

        def state_dict(self) -> dict[str, Any]:
            """The history so far."""
            return monitor.state_dict()

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            """Go on from a checkpoint."""
            monitor.load_state_dict(state_dict)

    return LightningMonitor()


@checked
def transformers_callback(monitor: Monitor) -> Any:
    """A Hugging Face ``TrainerCallback`` that runs a monitor.

    It measures before training (step 0), then by ``state.global_step``, on the world's process 0; numbers go to
    ``state.log_history`` as ``netfold/...`` (after ``callback.attach(trainer)`` through ``trainer.log``, so also to
    what the trainer reports to) and to ``monitor.history``. Every checkpoint holds the monitor's state, from which a
    resumed training goes on.

    Args:
        monitor: what to measure and how often. Its ``part`` gets the trainer's model; models that take integers or
            several arguments need one, such as ``lambda model: model.classifier``.

    Returns:
        The callback.

    Raises:
        InvalidInputError: transformers is not installed.
    """
    library = _imported("transformers")
    if library is None:
        raise InvalidInputError("the Hugging Face callback needs transformers: pip install 'netfold[transformers]'")

    class TransformersMonitor(library.TrainerCallback):
        """Runs a netfold monitor during training."""

        def __init__(self) -> None:
            self.monitor = monitor
            self.trainer: Any = None

        def attach(self, trainer: Any) -> None:
            """Log through this trainer."""
            self.trainer = trainer

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """Measure the network before its first step; go on from the checkpoint where training is resumed."""
            kept = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE
            if state.global_step and kept.is_file():
                monitor.load_state_dict(json.loads(kept.read_text()))
            self._measure(state, more["model"])

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """Measure after the optimiser's step."""
            self._measure(state, more["model"])

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """Put the state into the checkpoint."""
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if state.is_world_process_zero and folder.is_dir():
                with write_atomically(folder / STATE_FILE) as temporary:
                    temporary.write_text(json.dumps(monitor.state_dict()))

        def _measure(self, state: Any, model: Any) -> None:
            if not state.is_world_process_zero:
                return
            values = monitor(model, state.global_step)
            if not values:
                return
            logs = {f"netfold/{name}": value for name, value in plain_names(values).items()}
            if self.trainer is not None:
                self.trainer.log(logs)
            else:
                state.log_history.append({**logs, "step": state.global_step})

    return TransformersMonitor()


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
