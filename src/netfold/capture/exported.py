"""Exported programs from ``.pt2`` files, of which nothing but numbers and a checked graph is read.

``torch.export.load`` trusts its file: it unpickles sample inputs, tensors and objects (also where its own safe
unpickler has refused them), loads compiled libraries, evaluates size expressions and guards as Python, and looks up
operations by name anywhere in ``torch``. So it never sees a user's file. The members that a program needs are read here
by their exact names; the graph is copied by the rules of `netfold.capture.grammar`, tensors are made of raw bytes, and
``torch`` is given the two. Sample inputs, guards and all else that it would take as well stay unread.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from netfold.capture.archive import SAFE_WAYS, Archive
from netfold.capture.grammar import PAYLOADS, PROGRAM, Rule, Unexpected
from netfold.capture.untouched import silent
from netfold.errors import CorruptFileError, UntrustedFileError
from netfold.progress import held

GRAPH, WEIGHTS, CONSTANTS = "models/model.json", "data/weights/", "data/constants/"
CONFIGS = {WEIGHTS: f"{WEIGHTS}model_weights_config.json", CONSTANTS: f"{CONSTANTS}model_constants_config.json"}
STATED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
"""Members with one possible content."""

UNREAD = re.compile(r"data/sample_inputs/model\.pt|\.data/(version|serialization_id)|extra/.+")
"""Members that ``torch.export.save`` writes too, and that nothing here needs."""

TENSOR = {WEIGHTS: re.compile(r"weight_\d+"), CONSTANTS: re.compile(r"tensor_\d+")}

LARGEST_TEXT = 2**26
"""Bytes of the longest JSON text that is read; a graph of 10,000 operations takes some 2**24."""

EXPANDED = 2**24
"""Entries that a tensor may have beyond those in its bytes, where several places share one (``expand``)."""

AGAIN = (
    "export the model again, with torch 2.9 or later: torch.export.save(torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), path)"
)

_one_at_a_time = threading.Lock()
"""The deserializer keeps what it is at in a global."""


def read_program(path: Path) -> ExportedProgram:
    """The program in a ``.pt2`` file.

    Raises:
        UntrustedFileError: it holds something that no program of plain tensors needs, or that could run code.
        CorruptFileError: it is no such file, damaged, or of another version of ``torch``.
        InvalidInputError: it is larger than this machine's memory.
    """
    with Archive(path) as archive:
        members = _Members(archive)
        tree = members.checked(GRAPH, PROGRAM)
        state = members.tensors(WEIGHTS)
        constants = members.tensors(CONSTANTS)
        members.require_all_read()
    try:
        with held(), _one_at_a_time, silent():
            return _built(tree, state, constants)
    except Exception as error:
        raise CorruptFileError(
            f"{path} could not be read by torch {torch.__version__}: {type(error).__name__}: {error}; {AGAIN}"
        ) from error


def _built(tree: Any, state: dict[str, Tensor], constants: dict[str, Tensor]) -> ExportedProgram:
    # Given values in place of bytes, the deserializer opens no file and no pickle.
    from torch._export.serde import schema
    from torch._export.serde.serialize import ExportedProgramDeserializer, _dict_to_dataclass

    return ExportedProgramDeserializer().deserialize(
        _dict_to_dataclass(schema.ExportedProgram, tree), dict(state), dict(constants), None
    )


class _Members:
    """The members of an archive by their names below its one folder; each is read once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._root = next(iter(archive.sizes), "").partition("/")[0] + "/"
        self._left = {name.removeprefix(self._root) for name in archive.sizes}
        if "serialized_exported_program.json" in archive.sizes:
            raise CorruptFileError(f"{archive.path} was written by torch 2.7 or earlier; {AGAIN}")
        for name, expected in STATED.items():
            if (found := self.read(name).tobytes()) != expected:
                raise self._corrupt(name, f"holds {found[:20]!r}, expected {expected!r}")

    def read(self, name: str) -> NDArray[Any]:
        """The content of a member that must be there."""
        if name not in self._left:
            raise self._corrupt(name, "is missing")
        self._left.remove(name)
        return self._archive.read(self._root + name)

    def checked(self, name: str, rule: Rule) -> Any:
        """What a JSON member says, copied by a rule."""
        if self._archive.sizes.get(self._root + name, 0) > LARGEST_TEXT:
            raise self._corrupt(name, f"is longer than {LARGEST_TEXT:,} bytes")
        try:
            return rule(json.loads(self.read(name).tobytes()), ())
        except Unexpected as error:
            raise UntrustedFileError(
                f"{self._archive.path}, member '{name}': {error}; anything else could run code when opened, so netfold "
                f"reads none of it; {SAFE_WAYS}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise self._corrupt(name, f"is no JSON text ({type(error).__name__}: {error})") from error

    def tensors(self, folder: str) -> dict[str, Tensor]:
        """The tensors that the configuration of a folder names."""
        told: Mapping[str, Any] = self.checked(CONFIGS[folder], PAYLOADS)["config"]
        stored: dict[str, NDArray[Any]] = {}
        found: dict[str, Tensor] = {}
        for name, payload in told.items():
            file = payload["path_name"]
            if not TENSOR[folder].fullmatch(file):
                raise self._untrusted(
                    CONFIGS[folder], f"reads '{name}' from {file!r}, which is not a plain tensor's name"
                )
            if file not in stored:
                stored[file] = self.read(folder + file)
            try:
                found[name] = _tensor(stored[file], payload)
            except (ValueError, RuntimeError, KeyError) as error:
                raise self._corrupt(folder + file, f"does not hold '{name}' ({error})") from error
        return found

    def require_all_read(self) -> None:
        """Refuse an archive with more in it."""
        more = sorted(name for name in self._left if not UNREAD.fullmatch(name))
        if more:
            raise self._untrusted(more[0], "is none that a program of plain tensors has")

    def _corrupt(self, name: str, what: str) -> CorruptFileError:
        return CorruptFileError(
            f"{self._archive.path} is not a .pt2 file of torch.export.save, or is damaged: its member '{name}' {what}; "
            f"{AGAIN}"
        )

    def _untrusted(self, name: str, what: str) -> UntrustedFileError:
        return UntrustedFileError(
            f"{self._archive.path}: its member '{name}' {what}; it could run code when opened, so netfold reads none "
            f"of it; {SAFE_WAYS}"
        )


def _tensor(content: NDArray[Any], payload: Mapping[str, Any]) -> Tensor:
    """A tensor of raw bytes, which must hold all its entries."""
    from torch._export.serde.serialize import deserialize_scalar_type

    told = payload["tensor_meta"]
    dtype = deserialize_scalar_type(told["dtype"])
    size, stride = ([entry["as_int"] for entry in told[key]] for key in ("sizes", "strides"))
    offset = told["storage_offset"]["as_int"]
    stored, rest = divmod(len(content), dtype.itemsize)
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
    if rest or last >= stored or count > stored + EXPANDED or min([*size, *stride, offset], default=0) < 0:
        raise ValueError(
            f"it has {len(content):,} bytes; a tensor of {dtype} with shape {tuple(size)}, strides {tuple(stride)} and "
            f"offset {offset} does not lie in them"
        )
    flat = torch.frombuffer(content, dtype=dtype) if stored else torch.empty(0, dtype=dtype)
    view = flat.to(torch.device(told["device"]["type"], told["device"]["index"])).as_strided(size, stride, offset)
    return nn.Parameter(view, requires_grad=told["requires_grad"]) if payload["is_param"] else view
