"""Models from files and from code, without ever opening a pickle."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from netfold.arguments import FileName, checked
from netfold.capture.data import Data, load_data, load_example
from netfold.capture.exported import read_program
from netfold.capture.files import existing, tensors
from netfold.capture.parts import part
from netfold.errors import InvalidInputError

__all__ = ["Data", "load_data", "load_model"]


@checked
def load_model(
    spec: FileName,
    weights: FileName | None = None,
    *,
    input: str | None = None,
    output: str | None = None,
    example: Any = None,
) -> nn.Module | ExportedProgram:
    """A model from a file or from code, in evaluation mode.

    Args:
        spec: a ``.pt2`` file of ``torch.export.save``; an ``.onnx`` file, which takes the package ``onnx`` and is
            compared with ONNX's reference evaluator before it is given; or ``'module:factory'``, a name to import
            (also from the current directory) that is a module, or a function or class that makes one without
            arguments.
        weights: a ``.safetensors`` file of the factory's ``state_dict``; every name and shape must agree. The
            model takes the file's number type where that is wider.
        input: where the part of the model begins that is meant, and ``output`` where it ends, as in `netfold.part`.
        example: with what the whole model runs, likewise; or a ``.npz``, ``.npy`` or ``.safetensors`` file of it, whose
            arrays are named as the arguments.

    Returns:
        A module in evaluation mode, or an exported program.

    Raises:
        InvalidInputError: the file or the name does not exist, the weights do not fit the model, or it has no such
            part.
        UntrustedFileError: the file could run code when opened.
        CorruptFileError: the file is damaged.
        CaptureError: an ``.onnx`` file holds an operation that is not followed, or is not what was made of it.

    Example:
        >>> load_model("torch.nn:ReLU")
        ReLU()
    """
    model = _whole_model(spec, weights)
    if input is output is example is None:
        return model
    given = load_example(example) if isinstance(example, str | os.PathLike) else example
    return part(model, input, output, example=given)


def _whole_model(spec: FileName, weights: FileName | None) -> nn.Module | ExportedProgram:
    text = os.fspath(spec)
    if _names_code(text):
        model = _from_code(text)
        return model if weights is None else _with_weights(model, existing(weights, "weights"))
    path = existing(text, "model")
    if weights is not None:
        raise InvalidInputError(f"{path}: only a 'module:factory' takes weights; a {path.suffix} file holds its own")
    if path.suffix.lower() == ".pt2":
        return read_program(path)
    if path.suffix.lower() == ".onnx":
        from netfold.capture.onnx_models.reading import read_onnx

        return read_onnx(path)
    raise InvalidInputError(f"{path}: a model is a .pt2 or .onnx file or 'module:factory', not a '{path.suffix}' file")


def _names_code(text: str) -> bool:
    module, colon, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts) and not Path(text).exists()


def _from_code(spec: str) -> nn.Module:
    module, _, name = spec.partition(":")
    with current_directory_first():
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise InvalidInputError(f"'{spec}': cannot import '{module}' ({error})") from error
        for part in name.split("."):
            if not hasattr(found, part):
                raise InvalidInputError(f"'{spec}': '{found.__name__}' has no '{part}'")
            found = getattr(found, part)
        model = found if isinstance(found, nn.Module) else _called(found, spec)
    return model.eval()


def _called(factory: Any, spec: str) -> nn.Module:
    if not callable(factory):
        raise InvalidInputError(f"'{spec}' is a {type(factory).__name__}, not a module or a function that makes one")
    try:
        model = factory()
    except Exception as error:
        raise InvalidInputError(
            f"'{spec}' could not be called without arguments: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidInputError(f"'{spec}' made a {type(model).__name__}, not a torch.nn.Module")
    return model


@contextmanager
def current_directory_first() -> Iterator[None]:
    """Import from the current directory too, before anything else of the same name."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _with_weights(model: nn.Module, path: Path) -> nn.Module:
    stored = dict(tensors(path))
    own = model.state_dict()
    tied = {t.data_ptr() for name, t in own.items() if name in stored}
    missing = [name for name, t in own.items() if name not in stored and t.data_ptr() not in tied]
    unexpected = [name for name in stored if name not in own]
    shapes = [
        f"'{name}' is {tuple(t.shape)} in the file and {tuple(own[name].shape)} in the model"
        for name, t in stored.items()
        if name in own and t.shape != own[name].shape
    ]
    problems = [
        *([f"missing in the file: {', '.join(missing)}"] if missing else []),
        *([f"not in the model: {', '.join(unexpected)}"] if unexpected else []),
        *shapes,
    ]
    if problems:
        raise InvalidInputError(f"{path} does not fit {type(model).__name__}: {'; '.join(problems)}")
    widest = _widest(stored)
    if widest is not None and widest.itemsize > (_widest(own) or widest).itemsize:
        model = model.to(widest)
    model.load_state_dict(stored, strict=False)
    return model


def _widest(tensors: Mapping[str, Tensor]) -> torch.dtype | None:
    found = [t.dtype for t in tensors.values() if t.is_floating_point()]
    return max(found, key=lambda dtype: dtype.itemsize, default=None)
