"""`capture`: the one door from a user's model to a program, which is replayed before it is trusted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import torch
from torch import nn

from netfold.arguments import point_shape, shown
from netfold.capture.data import tensor_of
from netfold.capture.onnx_models.network import OnnxNetwork
from netfold.capture.parts import ModelPart, part
from netfold.capture.program import Program
from netfold.capture.reading import probes, proved
from netfold.capture.template import known
from netfold.capture.untouched import alone
from netfold.errors import CaptureError, InvalidInputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Model: TypeAlias = "nn.Module | ExportedProgram | Program"


def is_exported(model: Any) -> TypeGuard[ExportedProgram]:
    """Whether this is an exported program; nobody has one who has not imported ``torch.export``, which takes long."""
    export = sys.modules.get("torch.export")
    return export is not None and isinstance(model, export.ExportedProgram)


def capture(
    model: Model,
    point: Any = None,
    *,
    shape: Sequence[int] | None = None,
    input: str | None = None,
    output: str | None = None,
    example: Any = None,
) -> Program:
    """Turn a model into a flat program of affine, piecewise-linear and other operations.

    The model is exported with ``torch.export`` as it stands: its mode, hooks, parameters, gradients, number
    type, device and the random state are left alone. The program computes in float64 with the stored weights,
    and is compared with the model on random points before it is returned. Hooks of the model are part of what
    it computes, so they run.

    Programs of the last models are kept, and given again for a module that computes the same: the module is run each
    time on three points, and what ``torch`` is then asked to compute, call by call with all settings, must be what it
    was asked for at capture, and every weight must have the same bits. With other weights the operations are taken over
    and proved anew; with anything else the module is captured afresh. Up to 64 programs of at most half a million
    numbers each are kept (4 MB); no module and no input is.

    Args:
        model: a module in evaluation mode, an exported program with a free batch axis, or a program.
        point: one input, without a batch axis; only its shape matters.
        shape: the shape of one input, instead of ``point``.
        input: where the part of the model begins that is meant: an argument, or the path of a module; ``output`` where
            it ends: the path of a module, or a field of what the model returns. As in `netfold.part`, which gives the
            part as a model to the verbs that need one, such as `netfold.layer_sensitivity`; all others take a program.
        example: with what the whole model runs, where ``input`` lies within it; then ``shape`` need not be given.

    Returns:
        The program.

    Raises:
        CaptureError: the model cannot be followed, is in training mode, or does not replay.
        InvalidInputError: the model rejects points of this shape, or holds weights that are not finite; or it has no
            such part.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> program = capture(net, shape=(2,))
        >>> [(layer.name, layer.op, layer.units) for layer in program.layers]
        [('1', 'relu', 3)]
        >>> capture(net, shape=(3,), input="1").layers[0].name
        '1'
    """
    if not (input is output is example is None):
        model = part(model, input, output, example=example)  # type: ignore[call-overload]
    if isinstance(model, ModelPart) and point is None and shape is None and model.example is not None:
        shape = tuple(model.entry().shape[1:])
    if isinstance(model, Program):
        return _same_shape(model, point, shape)
    if is_exported(model):
        return _from_exported(model, point, shape)
    if not isinstance(model, nn.Module):
        raise InvalidInputError(
            "model: expected a torch.nn.Module, a torch.export.ExportedProgram or a netfold Program, got "
            f"{shown(model)}"
        )
    return known.read(model, _shape(point, shape))[0]


def _from_exported(exported: ExportedProgram, point: Any, shape: Sequence[int] | None) -> Program:
    from netfold.capture.export import functional
    from netfold.capture.graph import FREE_BATCH, only_input, reader

    name = "the exported program"
    entry = only_input(exported, name).meta["val"]
    sizes = list(entry.shape)
    fixed = 0 if isinstance(sizes[0], torch.SymInt) else int(sizes[0])
    own = tuple(0 if isinstance(s, torch.SymInt) else int(s) for s in sizes[1:])
    wanted = own if point is None and shape is None and 0 not in own else _shape(point, shape)
    if len(own) != len(wanted) or any(o and o != w for o, w in zip(own, wanted, strict=True)):
        raise InvalidInputError(f"{name} takes points of shape {own} (0: any size), got {wanted}")
    count, together = rows_to_compare(fixed)
    points = probes((count, *wanted), entry.device)
    parameters = sum(p.numel() for p in exported.parameters())
    try:
        with alone():
            read = reader(functional(exported), name)
            return proved(read, exported.module(), name, points, entry.dtype, parameters, together).program
    except CaptureError as error:
        if not fixed:
            raise
        raise CaptureError(
            f"{name} is fixed to batches of {fixed} and cannot be freed of that: {error}; {FREE_BATCH}"
        ) from error


def rows_to_compare(fixed: int) -> tuple[int, int]:
    """How many points show that a program is freed of its batch size (0: it has none), and how many go together."""
    return (3, 3) if not fixed else (3, 1) if fixed == 1 else (2 * fixed, fixed)


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
    if isinstance(model, OnnxNetwork):
        return capture(model, shape=model.input_shape)
    if isinstance(model, ModelPart) and model.example is not None:
        return capture(model)
    inside = model.first.modules() if isinstance(model, ModelPart) else model.modules()
    first = next((one for one in inside if next(one.parameters(recurse=False), None) is not None), None)
    if not isinstance(first, nn.Linear):
        raise InvalidInputError(f"its first layer does not tell the shape of the input: {way_out}")
    try:
        return capture(model, shape=(first.in_features,))
    except InvalidInputError as error:
        raise InvalidInputError(f"taking inputs of {first.in_features} numbers failed ({error}): {way_out}") from error
