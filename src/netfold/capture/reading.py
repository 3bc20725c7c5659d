"""Reading a model: its operations, in its own number type and in float64, compared with it before they are trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from netfold.capture.classify import Classifier
from netfold.capture.program import Program
from netfold.capture.refusals import require_values, saying_why
from netfold.capture.replay import compare_with_model, prove
from netfold.capture.standard import StandardReader
from netfold.capture.tape import Tape, refuse_bad
from netfold.capture.untouched import alone, silent
from netfold.errors import CaptureError, NetfoldError, first_line

PROBES = 3
"""Points at which a module is compared with what was read of it."""


@dataclass(frozen=True)
class Reading:
    """What was read from a model.

    Attributes:
        program: its operations in float64, proved; ``weights`` its parameters and buffers there, by name.
        own: its operations in its own number type, which give what the model gives.
        rowwise: whether each operation treats every point alone, and is as affine as its name says, for any weights.
    """

    program: Program
    weights: Mapping[str, Tensor]
    own: Tape
    rowwise: bool = False


def read_module(model: nn.Module, shape: tuple[int, ...]) -> Reading:
    """Read a module that is not wrapped (`unwrapped`); see `netfold.capture`. Ctrl-C waits for the end.

    A `torch.nn.Sequential` of torch's own layers is read as it stands, and exported where that does not succeed.
    """
    dtype, device = home(model)
    require_values(model)
    for name, parameter in model.named_parameters():
        refuse_bad(type(model).__name__, name, parameter, infinite_too=True)
    name, points = type(model).__name__, probes((PROBES, *shape), device)
    parameters = sum(p.numel() for p in model.parameters())
    with alone(), saying_why(model, points.to(dtype)):
        if (standard := StandardReader.of(model)) is not None:
            with suppress(Exception):  # the export tells what is wrong
                return replace(proved(standard.read, model, name, points, dtype, parameters), rowwise=True)
        from netfold.capture.export import export
        from netfold.capture.graph import reader

        def read(known: bool) -> Reading:
            exported = reader(export(model, shape, dtype, device, known), name)
            return proved(exported, model, name, points, dtype, parameters)

        try:
            return read(known=False)
        except CaptureError:
            if all(buffer.is_floating_point() for buffer in model.buffers()):
                raise
            return read(known=True)


def proved(
    read: Callable[[Tensor, torch.dtype | None], Tape],
    model: nn.Module,
    name: str,
    points: Tensor,
    dtype: torch.dtype,
    parameters: int,
    together: int = PROBES,
) -> Reading:
    """Read the operations in the model's own number type and compare them with it; then read in float64.

    Args:
        read: gives the operations and their values at some points, with all constants in a number type.
        model: the model, ``name`` its name, ``dtype`` its number type and ``parameters`` how many numbers it holds.
        points: where they are compared, in float64.
        together: how many points the model takes at once.

    Raises:
        CaptureError: the operations do not give what the model gives, or cannot be followed.
    """
    try:
        with silent(), torch.no_grad():
            own = read(points.to(dtype), None)
            compare_with_model(own.batch[own.output], model, name, points.to(dtype), together)
            tape = read(points, torch.float64)
            if getattr(model, "is_part_of_a_model", False):
                parameters = _read_by(tape, model)
            program = Classifier(tape, name).program(dtype, parameters)
            prove(program, points)
    except NetfoldError:
        raise
    except Exception as error:
        raise CaptureError(f"netfold cannot follow {name}: {first_line(error)}; please report this model") from error
    return Reading(program, tape.weights, own)


def _read_by(tape: Tape, model: nn.Module) -> int:
    """How many numbers of parameters the operations read: a part of a model holds those of the whole."""
    read = {id(leaf) for node in tape.nodes for leaf in pytree.tree_leaves((node.args, node.kwargs))}
    own = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return sum(own[name] for name, value in tape.weights.items() if name in own and id(value) in read)


def probes(sizes: Sequence[int], device: torch.device, seed: int = 0) -> Tensor:
    """The random points at which operations are compared with their model."""
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module itself, where it was compiled or spread over devices."""
    if isinstance(model, torch.jit.ScriptModule):
        raise CaptureError(
            f"{type(model).__name__} is TorchScript, which torch.export does not follow; give the module it "
            "was made from"
        )
    inner = getattr(model, "_orig_mod", model.module if isinstance(model, nn.DataParallel) else None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else model


def home(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """The number type and the device of a model's parameters."""
    tensors = [t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()]
    if not tensors:
        return torch.get_default_dtype(), torch.device("cpu")
    return tensors[0].dtype, tensors[0].device
