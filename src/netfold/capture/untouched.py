"""Running a user's model without leaving a trace: no state, random number or message of it changes."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from netfold.progress import held

_one_at_a_time = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """For reading a model: by one thread at a time, in silence, and signals wait for the end.

    ``torch.export`` keeps what it is at in globals, and running a model on copies of its tensors puts them into it for
    that time: threads that do so at once would spoil each other's work.
    """
    with _one_at_a_time, held(), silent():
        yield


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Restore the model's attributes and all global random states afterwards; keep everything silent.

    Parameters and buffers that are written in place are not restored.
    """
    restore = _snapshot(model)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - the global state itself
    default_dtype = torch.get_default_dtype()
    devices = {t.device.index for t in model.parameters() if t.device.type == "cuda"}
    try:
        with (
            silent(),
            torch.random.fork_rng(devices=sorted(d for d in devices if d is not None)),
            torch.no_grad(),
        ):
            yield
    finally:
        with held():
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
            torch.set_default_dtype(default_dtype)
            restore()


Watch = Callable[[Mapping[str, Tensor]], AbstractContextManager[Any]]


def outputs(model: nn.Module, points: Tensor, watch: Watch = nullcontext) -> Any:
    """What the model gives, on copies of its tensors and in another random state than it was exported in.

    Args:
        model: the model.
        points: a batch of them, in its number type.
        watch: is told the copies by name, the points' with an empty one, and is open while the model runs on them.
    """
    with untouched(model):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        own = {name: t.clone() for name, t in [*model.named_parameters(), *model.named_buffers()]}
        copied = points.clone()
        with watch({**own, "": copied}):
            return functional_call(model, own, (copied,))


def first_tensor(result: Any) -> Tensor:
    """The first tensor in what a model gives."""
    return next(leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor))


def _snapshot(model: nn.Module) -> Any:
    """A function that gives every module its attributes, hooks, parameters and buffers back."""
    spaces: list[Any] = [vars(module) for module in model.modules()]
    inner = [v for space in spaces for v in space.values() if isinstance(v, dict | list | set)]
    saved = [(container, container.copy()) for container in [*spaces, *inner]]

    def restore() -> None:
        for container, before in saved:
            if not _same(container, before):
                container.clear()
                container.extend(before) if isinstance(container, list) else container.update(before)

    return restore


def _same(container: Any, before: Any) -> bool:
    """Whether a container still holds the very same objects (their values are not compared)."""
    if isinstance(container, set):
        return container == before
    if len(container) != len(before):
        return False
    if isinstance(container, dict):
        return list(container) == list(before) and all(map(is_, container.values(), before.values()))
    return all(map(is_, container, before))


@contextmanager
def silent() -> Iterator[None]:
    """Drop warnings, log records and prints: on a failure ``torch.export`` prints whole graphs."""
    disabled = logging.root.manager.disable
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
        warnings.simplefilter("ignore")
        quiet = disabled >= logging.CRITICAL
        try:
            if not quiet:  # every change makes all loggers forget what they know
                logging.disable(logging.CRITICAL)
            yield
        finally:
            if not quiet:
                logging.disable(disabled)
