"""`torch.export` with a free batch axis, and clear words where it fails."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from netfold.capture.operations import MAKES_NEW, op_name, out_of_place, user_line, writes
from netfold.capture.untouched import alone, outputs, untouched
from netfold.errors import CaptureError, InvalidInputError, NetfoldError, first_line


def export(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> ExportedProgram:
    """Export ``model`` for batches of points of ``shape`` with a free batch axis, in functional form.

    Raises:
        InvalidInputError: the model itself rejects points of this shape.
        CaptureError: ``torch.export`` cannot follow the model.
    """
    example = torch.zeros((3, *shape), dtype=dtype, device=device)
    try:
        with alone(), untouched(model):
            free = ({0: Dim.DYNAMIC},)
            return functional(torch.export.export(model, (example,), dynamic_shapes=free, strict=False))
    except Exception as error:
        if (key := _pressed(error)) is not None:
            raise key from error
        raise _explain(error, model, example) from error


def _pressed(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that ``torch.export`` tells of as an error of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def functional(exported: ExportedProgram) -> ExportedProgram:
    """The same program, in which every in-place operation may be read as its ordinary counterpart."""
    return exported if all(map(_writes_unseen, exported.graph.nodes)) else exported.run_decompositions({})


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
        return CaptureError(
            f"{name} decides with values of its input{_or_buffers(model)}{at} (data-dependent control flow), so it is "
            "not one program for all inputs; write the branch with tensor operations (torch.clamp, torch.maximum)"
        )
    if "specialized it to be a constant" in text or "Constraints violated" in text:
        return CaptureError(
            f"{name} works for one batch size only{at}; write its forward for any number of points: "
            "x.flatten(1), and x.shape[0] in place of a number or of len(x)"
        )
    return CaptureError(f"torch.export cannot follow {name}{at}: {first_line(error)}")


def _or_buffers(model: nn.Module) -> str:
    """A model that reads numbers off its buffers cannot be told from one that reads them off its input."""
    whole = [name for name, buffer in model.named_buffers() if not buffer.is_floating_point() and buffer.numel() > 1]
    return f", or of a buffer such as '{whole[0]}' (keep a number that it holds as a Python int)," if whole else ""


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
