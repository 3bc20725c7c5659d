"""Models that cannot be read, and why: what is known of them beforehand, and what becomes known when reading fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from netfold.capture.untouched import outputs
from netfold.errors import CaptureError, InvalidInputError


def require_values(model: nn.Module) -> None:
    """Refuse modules that hold no plain numbers.

    Raises:
        InvalidInputError: a parameter has no values yet, or a tensor is sparse.
        CaptureError: a module is TorchScript or quantised.
    """
    name = type(model).__name__
    for path, module in model.named_modules():
        _require_plain(name, path, module)
    for kind, tensors in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
        for path, tensor in tensors:
            if is_lazy(tensor) or tensor.is_meta:
                raise InvalidInputError(f"{name}: '{path}' has no values yet; run the model once, or load its weights")
            _require_dense(name, kind, path, tensor)


def _require_plain(name: str, path: str, module: nn.Module) -> None:
    kind = type(module)
    where = f"{name}: its module '{path}'"
    if isinstance(module, torch.jit.ScriptModule):
        raise CaptureError(
            f"{where} is TorchScript, which torch.export does not follow; put the module there that it was made from"
        )
    if "quantized" in kind.__module__.split("."):
        raise CaptureError(
            f"{where} ({kind.__name__}) computes in 8-bit integers; netfold computes in real numbers: give the network "
            "before it was quantised (nf.layer_sensitivity shows what quantising costs)"
        )
    if isinstance(getattr(module, "fake_quant_enabled", None), Tensor):
        raise CaptureError(
            f"{where} ({kind.__name__}) rounds to a grid, which is a staircase and not piecewise linear; give the "
            "network without fake quantisation"
        )
    if kind.__module__.endswith("quantization.observer"):
        raise CaptureError(
            f"{where} ({kind.__name__}) keeps the range of what passes through it, for a quantisation to come; give "
            "the network before it was prepared for that"
        )
    for attribute, value in vars(module).items():
        if isinstance(value, Tensor):
            _require_dense(name, "attribute", f"{path}.{attribute}".lstrip("."), value)


def _require_dense(name: str, kind: str, path: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided:
        raise InvalidInputError(
            f"{name}: the {kind} '{path}' is sparse ({tensor.layout}), and netfold follows dense tensors; give a copy "
            f"of the model with {path.rpartition('.')[2]}.to_dense()"
        )


@contextmanager
def saying_why(model: nn.Module, points: Tensor) -> Iterator[None]:
    """Say of an error about the batch what in the model is known to cause it, and the setting that helps.

    Args:
        model: what is read meanwhile.
        points: some, in its number type.
    """
    try:
        yield
    except CaptureError as error:
        said = str(error)
        batch = "of a batch" in said or "one batch size" in said
        if batch and (told := _steps(model, points)):
            raise CaptureError(told) from error
        routed = any(hasattr(module, "set_experts_implementation") for module in model.modules())
        if routed and (batch or "data-dependent" in said):
            way_out = "its routing to experts is followed after model.set_experts_implementation('batched_mm')"
            raise CaptureError(f"{said}; {way_out}") from error
        raise


def _steps(model: nn.Module, points: Tensor) -> str:
    """Whether a layer takes the points of a batch for the steps of a sequence, in words; then its first axis grows.

    One that takes the sequence first may well be given it so.
    """
    paths = {module: path for path, module in model.named_modules()}
    watched = [module for module in model.modules() if getattr(module, "batch_first", True) is False]
    lengths: dict[nn.Module, set[int]] = {module: set() for module in watched}

    def look(seen: set[int], _: nn.Module, *given: Any) -> None:
        taken = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
        seen.update(len(value) for value in taken[:1])

    with ExitStack() as hooks:
        for module, seen in lengths.items():
            hooks.enter_context(module.register_forward_pre_hook(partial(look, seen), with_kwargs=True))
        for count in range(1, len(points) + 1) if watched else ():
            with suppress(Exception):
                outputs(model, points[:count])
    found = next((module for module in watched if len(lengths[module]) > 1), None)
    if found is None:
        return ""
    path = paths.get(found, "")
    who = f"{type(model).__name__}: its {type(found).__name__} '{path}'" if path else type(found).__name__
    return f"{who} takes the sequence first, so the points of a batch for its steps: make it with batch_first=True"
