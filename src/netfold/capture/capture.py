"""`capture`: the one door from a user's model to a program, which is replayed before it is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy

from netfold.arguments import point_shape, shown
from netfold.capture.classify import Classifier
from netfold.capture.data import tensor_of
from netfold.capture.export import export, first_line, functional
from netfold.capture.graph import FREE_BATCH, GraphReader, Tape, only_input, refuse_bad
from netfold.capture.program import Program
from netfold.capture.replay import compare_with_model, prove
from netfold.capture.untouched import silent
from netfold.errors import CaptureError, InvalidInputError, NetfoldError
from netfold.progress import held

PROBES = 3
"""Points at which a module is compared with what was read of it."""

Model = nn.Module | ExportedProgram | Program


def capture(model: Model, point: Any = None, *, shape: Sequence[int] | None = None) -> Program:
    """Turn a model into a flat program of affine, piecewise-linear and other operations.

    The model is exported with ``torch.export`` as it stands: its mode, hooks, parameters, gradients, number
    type, device and the random state are left alone. The program computes in float64 with the stored weights,
    and is compared with the model on random points before it is returned. Hooks of the model are part of what
    it computes, so they run.

    Args:
        model: a module in evaluation mode, an exported program with a free batch axis, or a program.
        point: one input, without a batch axis; only its shape matters.
        shape: the shape of one input, instead of ``point``.

    Returns:
        The program.

    Raises:
        CaptureError: the model cannot be followed, is in training mode, or does not replay.
        InvalidInputError: the model rejects points of this shape, or holds weights that are not finite.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> program = capture(net, shape=(2,))
        >>> [(layer.name, layer.op, layer.units) for layer in program.layers]
        [('1', 'relu', 3)]
    """
    if isinstance(model, Program):
        return _same_shape(model, point, shape)
    if not isinstance(model, nn.Module | ExportedProgram):
        raise InvalidInputError(
            "model: expected a torch.nn.Module, a torch.export.ExportedProgram or a netfold Program, got "
            f"{shown(model)}"
        )
    if isinstance(model, ExportedProgram):
        return _from_exported(model, point, shape)
    return read_module(unwrapped(model), _shape(point, shape)).program


@dataclass(frozen=True)
class Reading:
    """What was read from a model.

    Attributes:
        program: its operations in float64, proved; ``weights`` its parameters and buffers there, by name.
        own: its operations in its own number type, which give what the model gives.
    """

    program: Program
    weights: Mapping[str, Tensor]
    own: Tape


def read_module(model: nn.Module, shape: tuple[int, ...]) -> Reading:
    """Read a module that is not wrapped (`unwrapped`); see `capture`. Ctrl-C waits for the end (`held`)."""
    dtype, device = home(model)
    for name, parameter in model.named_parameters():
        if is_lazy(parameter) or parameter.is_meta:
            raise InvalidInputError(
                f"{type(model).__name__}: '{name}' has no values yet; run the model once, or load its weights"
            )
        refuse_bad(type(model).__name__, name, parameter, infinite_too=True)
    with held():
        exported = export(model, shape, dtype, device)
        return _proved(exported, model, type(model).__name__, (PROBES, *shape), PROBES)


def _from_exported(exported: ExportedProgram, point: Any, shape: Sequence[int] | None) -> Program:
    name = "the exported program"
    sizes = list(only_input(exported, name).meta["val"].shape)
    fixed = 0 if isinstance(sizes[0], torch.SymInt) else int(sizes[0])
    own = tuple(0 if isinstance(s, torch.SymInt) else int(s) for s in sizes[1:])
    wanted = own if point is None and shape is None and 0 not in own else _shape(point, shape)
    if len(own) != len(wanted) or any(o and o != w for o, w in zip(own, wanted, strict=True)):
        raise InvalidInputError(f"{name} takes points of shape {own} (0: any size), got {wanted}")
    count, together = rows_to_compare(fixed)
    try:
        with held(), silent():
            return _proved(functional(exported), exported.module(), name, (count, *wanted), together).program
    except CaptureError as error:
        if not fixed:
            raise
        raise CaptureError(
            f"{name} is fixed to batches of {fixed} and cannot be freed of that: {error}; {FREE_BATCH}"
        ) from error


def rows_to_compare(fixed: int) -> tuple[int, int]:
    """How many points show that a program is freed of its batch size (0: it has none), and how many go together."""
    return (3, 3) if not fixed else (3, 1) if fixed == 1 else (2 * fixed, fixed)


def _proved(exported: ExportedProgram, model: nn.Module, name: str, sizes: tuple[int, ...], together: int) -> Reading:
    """Read the operations in the model's own number type and compare them with it; then read in float64."""
    entry = only_input(exported, name).meta["val"]
    points = probes(sizes, entry.device)
    try:
        with silent(), torch.no_grad():
            own = GraphReader(exported, name, points.to(entry.dtype)).read()
            compare_with_model(own.batch[own.output], model, name, points.to(entry.dtype), together)
            tape = GraphReader(exported, name, points, torch.float64).read()
            parameters = sum(p.numel() for p in exported.parameters())
            program = Classifier(tape, name).program(entry.dtype, parameters)
            prove(program, points)
    except NetfoldError:
        raise
    except Exception as error:
        raise CaptureError(f"netfold cannot follow {name}: {first_line(error)}; please report this model") from error
    return Reading(program, tape.weights, own)


def probes(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """The random points at which operations are compared with their model."""
    return torch.randn(sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)


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


def _shape(point: Any, shape: Sequence[int] | None) -> tuple[int, ...]:
    if shape is None and point is None:
        raise InvalidInputError("capture needs one input: a point without its batch axis, or shape=(...)")
    if shape is None:
        found = tuple(tensor_of(point, "point").shape)
        if 0 in found:
            raise InvalidInputError(f"point must hold numbers, got an array of shape {found}")
        return found
    return point_shape(shape)


def _same_shape(program: Program, point: Any, shape: Sequence[int] | None) -> Program:
    if point is None and shape is None:
        return program
    wanted = _shape(point, shape)
    if wanted != program.input_shape:
        raise InvalidInputError(f"{program.name} takes points of shape {program.input_shape}, got {wanted}")
    return program


def captured(model: Model, point: Any = None, shape: Sequence[int] | None = None) -> Program:
    """Capture a model; the shape of its input may be left out where its first weights are those of a dense layer.

    Args:
        model: a module in evaluation mode, or a captured program.
        point: one input, without batch axis; only its shape matters.
        shape: the shape of one input, instead of ``point``.

    Raises:
        InvalidInputError: the shape is needed.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> captured(nf.random_network(3, 5, 2)).input_shape
        (3,)
    """
    if point is not None or shape is not None or not isinstance(model, nn.Module):
        return capture(model, point, shape=shape)
    way_out = (
        f"say what one input of this {type(model).__name__} looks like, as in shape=(1, 28, 28); on the command "
        "line --shape 1 28 28"
    )
    first = next((part for part in model.modules() if next(part.parameters(recurse=False), None) is not None), None)
    if not isinstance(first, nn.Linear):
        raise InvalidInputError(f"its first layer does not tell the shape of the input: {way_out}")
    try:
        return capture(model, shape=(first.in_features,))
    except InvalidInputError as error:
        raise InvalidInputError(f"taking inputs of {first.in_features} numbers failed ({error}): {way_out}") from error
