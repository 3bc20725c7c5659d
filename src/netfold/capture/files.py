"""What reading models and reading data have in common."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from netfold.capture.archive import refuse_pickle
from netfold.errors import CorruptFileError, InvalidInputError, NetfoldError
from netfold.files import require_file

Spec = str | os.PathLike[str]


def existing(spec: Spec, what: str) -> Path:
    """The path of a file that exists, holds something and is no pickle.

    Raises:
        InvalidInputError: it does not exist, is empty, or no file but a device or a pipe.
        UntrustedFileError: it is a pickle.
    """
    path = Path(spec)
    hint = "; a model is a .pt2 or .onnx file or 'module:factory'" if what == "model" else ""
    try:
        require_file(path, f"{what} file")
    except (OSError, ValueError) as error:
        if isinstance(error, NetfoldError):
            raise
        raise InvalidInputError(f"{path}: there is no such {what} file{hint}") from error
    if path.stat().st_size == 0:
        raise InvalidInputError(f"{path}: the {what} file is empty (0 bytes)")
    refuse_pickle(path)
    return path


def tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file.

    Raises:
        InvalidInputError: the file has another suffix.
        CorruptFileError: it is damaged.
    """
    if path.suffix.lower() != ".safetensors":
        raise InvalidInputError(f"{path}: weights are a .safetensors file, not '{path.suffix}'")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, ValueError) as error:
        raise CorruptFileError(f"{path} is not a safetensors file, or is damaged: {error}") from error
