"""Reading a model: its operations, in its own number type and in float64, compared with it before they are trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from netfold.capture.classify import Classifier
from netfold.capture.program import Program
from netfold.capture.replay import compare_with_model, prove
from netfold.capture.standard import StandardReader
from netfold.capture.tape import Tape, refuse_bad
from netfold.capture.untouched import alone, silent
from netfold.errors import CaptureError, InvalidInputError, NetfoldError, first_line

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
    with alone(), _saying_why(model):
        if (standard := StandardReader.of(model)) is not None:
            with suppress(Exception):  # the export tells what is wrong
                return replace(proved(standard.read, model, name, points, dtype, parameters), rowwise=True)
        from netfold.capture.export import export
        from netfold.capture.graph import reader

        read = reader(export(model, shape, dtype, device), name)
        return proved(read, model, name, points, dtype, parameters)


@contextmanager
def _saying_why(model: nn.Module) -> Iterator[None]:
    """Add to an error about the batch what in the model is known to cause it, and the setting that helps."""
    try:
        yield
    except CaptureError as error:
        ways_out = [out for about, out in _ways_out(model) if about in str(error)]
        if not ways_out:
            raise
        raise CaptureError(f"{error}; {ways_out[0]}") from error


def _ways_out(model: nn.Module) -> Iterator[tuple[str, str]]:
    """What an error is about, and a way out."""
    if hasattr(model, "set_experts_implementation"):
        way = "its routing to experts is followed after model.set_experts_implementation('batched_mm')"
        yield from (("of a batch", way), ("data-dependent", way))
    for path, module in model.named_modules():
        if getattr(module, "batch_first", True) is False:
            kind = type(module).__name__
            yield from (
                (about, f"its {kind} '{path}' takes the sequence first: make it with batch_first=True")
                for about in ("of a batch", "one batch size")
            )
            return


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


def require_values(model: nn.Module) -> None:
    """Refuse modules that hold no plain numbers.

    Raises:
        InvalidInputError: a parameter has no values yet, or is sparse.
        CaptureError: a module is TorchScript or quantised.
    """
    name = type(model).__name__
    for path, module in model.named_modules():
        kind = type(module)
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(
                f"{name}: its module '{path}' is TorchScript, which torch.export does not follow; put the module there "
                "that it was made from"
            )
        if "quantized" in kind.__module__.split("."):
            raise CaptureError(
                f"{name}: its module '{path}' ({kind.__name__}) computes in 8-bit integers; netfold computes in real "
                "numbers: give the network before it was quantised (nf.layer_sensitivity shows what quantising costs)"
            )
        if isinstance(getattr(module, "fake_quant_enabled", None), Tensor):
            raise CaptureError(
                f"{name}: its module '{path}' ({kind.__name__}) rounds to a grid, which is a staircase and not "
                "piecewise linear; give the network without fake quantisation"
            )
    for kind, tensors in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
        for path, tensor in tensors:
            if is_lazy(tensor) or tensor.is_meta:
                raise InvalidInputError(f"{name}: '{path}' has no values yet; run the model once, or load its weights")
            if tensor.layout != torch.strided:
                raise InvalidInputError(
                    f"{name}: the {kind} '{path}' is sparse ({tensor.layout}), and netfold follows dense tensors; give "
                    f"a copy of the model with {path.rpartition('.')[2]}.to_dense()"
                )


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
