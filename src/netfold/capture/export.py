"""`torch.export` with a free batch axis, and clear words where it fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch._subclasses import FakeTensor
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from netfold.capture.operations import MAKES_NEW, by_name, op_name, out_of_place, user_line, writes
from netfold.capture.untouched import alone, outputs, untouched
from netfold.errors import CaptureError, InvalidInputError, NetfoldError, first_line


def export(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, known: bool = False
) -> ExportedProgram:
    """Export ``model`` for batches of points of ``shape`` with a free batch axis, in functional form.

    ``known``: what the model computes with whole numbers of its buffers alone is done at once, with their values, so
    that it may read sizes off them and decide with them.

    Raises:
        InvalidInputError: the model itself rejects points of this shape.
        CaptureError: ``torch.export`` cannot follow the model.
    """
    example = torch.zeros((3, *shape), dtype=dtype, device=device)
    try:
        with alone(), untouched(model), _WholeNumbers(model) if known else nullcontext():
            free = ({0: Dim.DYNAMIC},)
            return functional(torch.export.export(model, (example,), dynamic_shapes=free, strict=False))
    except Exception as error:
        if (key := _pressed(error)) is not None:
            raise key from error
        raise _explain(error, model, example) from error


class _WholeNumbers(TorchFunctionMode):
    """Buffers of whole numbers keep their values while a model is exported, and so does what is computed of them alone.

    ``torch.export`` knows of tensors what shape they have. Here copies of the buffers stand in their place, which it
    takes for constants, and a call of which all tensors are such constants is carried out beside it. A call that gives
    real numbers is left to it: those are computed in float64 later on.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        copies: dict[int, Tensor] = {}
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
                if _whole(buffer):
                    vars(module)[name] = copies.setdefault(id(buffer), buffer.clone())
        for module in model.modules():
            for name in list(module._buffers):
                if name in vars(module):
                    del module._buffers[name]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry a call out, with constants alone at once."""
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if given and all(_whole(value) and not isinstance(value, FakeTensor) for value in given):
            with _disable_current_modes():
                found = func(*args, **(kwargs or {}))
            if all(_whole(leaf) for leaf in pytree.tree_leaves(found) if isinstance(leaf, Tensor)):
                return found
        return func(*args, **(kwargs or {}))


def _whole(value: Tensor) -> bool:
    return not (value.is_floating_point() or value.is_complex())


def _pressed(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that ``torch.export`` tells of as an error of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def functional(exported: ExportedProgram) -> ExportedProgram:
    """The same program, in which every in-place operation may be read as its ordinary counterpart.

    What is piecewise linear and hides it, ReLU recurrences and norms with p = 1 or infinity, is written out.
    """
    nodes = exported.graph.nodes
    table = {node.target: written for node in nodes if (written := _written_out(node)) is not None}
    return exported if not table and all(map(_writes_unseen, nodes)) else exported.run_decompositions(table)


def _written_out(node: Node) -> Callable[..., Any] | None:
    """An operation in terms of simpler ones, which are piecewise linear."""
    op, named = op_name(node.target), by_name(node.target, node.args, node.kwargs)
    if op == "rnn_relu":
        return get_decompositions([node.target]).get(node.target)  # type: ignore[list-item,call-overload]
    if op == "rnn_relu_cell":
        return _relu_cell
    dim = named.get("dim")
    vectors = op == "linalg_vector_norm" or (op == "linalg_norm" and isinstance(dim, list) and len(dim) == 1)
    return _norm if vectors and abs(named["ord"] or 2.0) in (1.0, math.inf) and named["dtype"] is None else None


def _relu_cell(x: Tensor, h: Tensor, x_weight: Tensor, h_weight: Tensor, *biases: Tensor | None) -> Tensor:
    for_x, for_h = biases or (None, None)
    return F.relu(F.linear(x, x_weight, for_x) + F.linear(h, h_weight, for_h))


def _norm(x: Tensor, ord: float | None = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norms of vectors that are piecewise linear; any other is left as it is."""
    size = x.abs()
    if ord == 1:
        return size.sum(dim, keepdim)
    if ord not in (math.inf, -math.inf):
        return NotImplemented
    return (size.amax if ord > 0 else size.amin)(dim or (), keepdim)


def _writes_unseen(node: Node) -> bool:
    """Whether a node writes into no tensor, or into a new one that nothing else reads.

    ``torch`` can rewrite any in-place operation, but that takes several times as long as the export itself.
    """
    if not writes(node.target):
        return True
    written = node.args[0]
    if not isinstance(written, Node) or written.op != "call_function" or len(written.users) > 1:
        return False
    if out_of_place(node.target) is None:
        return False
    return op_name(written.target) in MAKES_NEW or (writes(written.target) and _writes_unseen(written))


def _explain(error: Exception, model: nn.Module, example: torch.Tensor) -> NetfoldError:
    """Why the export failed: because the model rejects the input, or because of what its forward does."""
    name, text = type(model).__name__, str(error)
    try:
        outputs(model, example)
    except Exception as own:
        return _rejected(own, model, tuple(example.shape[1:]))
    line = user_line(text)
    at = f" at {line}" if line else ""
    if "data-dependent" in text or "DataDependent" in type(error).__name__:
        weights = " or weights" if next(model.parameters(), None) is not None else ""
        return CaptureError(
            f"{name} decides with values of its input{weights}{at} (data-dependent control flow), so it is not one "
            f"program for all inputs{weights}; write the branch with tensor operations (torch.clamp, torch.maximum)"
        )
    if "fake_quantize" in text:
        return CaptureError(
            f"{name} rounds to a grid{at}, which is a staircase and not piecewise linear; give the network without "
            "fake quantisation"
        )
    if "specialized it to be a constant" in text or "Constraints violated" in text:
        return CaptureError(
            f"{name} works for one batch size only{at}; write its forward for any number of points: "
            "x.flatten(1), and x.shape[0] in place of a number or of len(x)"
        )
    return CaptureError(f"torch.export cannot follow {name}{at}: {first_line(error)}")


def _rejected(error: Exception, model: nn.Module, shape: tuple[int, ...]) -> NetfoldError:
    if isinstance(error, NetfoldError):
        return error
    name, text = type(model).__name__, first_line(error)
    if isinstance(error, TypeError) and "required" in text and "argument" in text:
        return CaptureError(
            f"{name} takes more than one input ({text}); say which one is the point and what "
            "the others are, by name: nf.part(model, input='x', example={'mask': mask})"
        )
    if "'indices'" in text or "expected scalar type Long" in text:
        return CaptureError(
            f"{name} takes integers (indices), not points of a vector space ({text}); measure the part "
            "after the embedding: nf.part(model, input='inputs_embeds'), or the path of a module, with example=indices"
        )
    return InvalidInputError(
        f"{name} cannot be run on points of shape {shape}: {text}; is this the shape of one input, "
        "without the batch axis?"
    )
