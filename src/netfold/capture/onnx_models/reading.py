"""Reading ``.onnx`` files: what a file may hold, constants, shapes, and the replay of what was made of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netfold.capture.onnx_models.network import OnnxNetwork, OnnxStep
from netfold.capture.onnx_models.operations import OPERATIONS, OnnxNode, UnsupportedError
from netfold.errors import (
    CaptureError,
    CorruptFileError,
    InvalidInputError,
    NetfoldError,
    UntrustedFileError,
    first_line,
)
from netfold.files import require_file

OLDEST = 7
"""The first version of operations that is read: before it, values were spread over others by other rules."""

LARGEST_FILE, NODES, ENTRIES = 2**31, 20_000, 2**28
"""Bytes of a file, operations of a network, and entries of one value, at most."""

FOLDED = ("Constant", "Shape", "ConstantOfShape", "Identity", "Cast", "Concat", "Gather", "Unsqueeze", "Squeeze",
          "Reshape", "Slice", "Add", "Sub", "Mul", "Div", "Transpose", "Flatten", "Neg", "Sqrt")  # fmt: skip
"""Operations on constants alone that are computed once, by ONNX's own reference."""

TOLERANCE = 1e-9
"""Allowed rounding of the replay in float64, relative to the largest output."""

ROUGH, ROUGH_TOLERANCE = ("Erf", "Gelu", "HardSwish"), 1e-6
"""Operations that the reference computes in float32 whatever it is given, and what is allowed for them."""

POINTS = 3


def read_onnx(path: Path) -> OnnxNetwork:
    """The network in an ``.onnx`` file, which gives what ONNX's reference evaluator gives, at random points.

    Raises:
        InvalidInputError: the package ``onnx`` is missing, the file is too large, or it has several inputs or outputs,
            sizes that are not fixed, or a version of operations that is not known.
        CorruptFileError: it is no such file, or damaged.
        UntrustedFileError: weights lie outside its folder.
        CaptureError: it has an operation that is not followed, or does not give what the reference gives.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.reference
        import onnx.shape_inference
    except ImportError as error:
        raise InvalidInputError(f"{path}: reading ONNX needs the package onnx: pip install 'netfold[onnx]'") from error
    if path.stat().st_size >= LARGEST_FILE:
        raise InvalidInputError(f"{path}: {path.stat().st_size:,} bytes; an .onnx file has at most {LARGEST_FILE:,}")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:
        raise CorruptFileError(f"{path} is no .onnx file, or is damaged ({first_line(error)})") from error
    return _Reader(path, model, onnx).read()


class _Reader:
    """Makes a network of a file's graph."""

    def __init__(self, path: Path, model: Any, onnx: Any) -> None:
        self.path, self.model, self.graph, self.onnx = path, model, model.graph, onnx
        self.constants: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def read(self) -> OnnxNetwork:
        """Read, build, replay."""
        self.opset = self._version()
        self._require_known()
        for tensor in self._tensors():
            self._take_in(tensor)
        try:
            self.onnx.checker.check_model(self.model)
        except Exception as error:
            raise CorruptFileError(f"{self.path} is no valid ONNX model ({first_line(error)})") from error
        source, result, shape = self._ends()
        self._infer(source, shape)
        network = OnnxNetwork(list(self._steps(source, result)), source, result, shape[1:]).eval()
        self._replay(network, shape)
        return network

    def _version(self) -> int:
        versions = {entry.domain or "ai.onnx": entry.version for entry in self.model.opset_import}
        foreign = sorted(name for name in versions if name != "ai.onnx")
        newest = self.onnx.defs.onnx_opset_version()
        used = {node.domain for node in self.graph.node} - {"", "ai.onnx"}
        if used or self.model.functions:
            names = ", ".join(sorted(used)) or ", ".join(foreign) or "functions of its own"
            raise CaptureError(f"{self.path}: it has operations of {names}; only those of ONNX itself are followed")
        version = versions.get("ai.onnx", 0)
        if not OLDEST <= version <= newest:
            raise InvalidInputError(
                f"{self.path}: its operations are of version (opset) {version}; {OLDEST} to {newest} are read: convert "
                "it with onnx.version_converter.convert_version"
            )
        return version

    def _require_known(self) -> None:
        if len(self.graph.node) > NODES:
            raise InvalidInputError(f"{self.path}: {len(self.graph.node):,} operations; at most {NODES:,} are read")
        if self.graph.sparse_initializer or self.graph.quantization_annotation or self.model.training_info:
            raise CaptureError(f"{self.path}: sparse or quantised weights and training steps are not followed")
        for node in self.graph.node:
            if node.op_type not in OPERATIONS and node.op_type not in FOLDED:
                raise CaptureError(
                    f"{self.path}: the operation {node.op_type} ({_named(node)}) is not followed; these are: "
                    f"{', '.join(sorted(OPERATIONS))}"
                )

    def _tensors(self) -> Iterator[Any]:
        yield from self.graph.initializer
        for node in self.graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                if (
                    attribute.HasField("g")
                    or attribute.graphs
                    or attribute.tensors
                    or attribute.HasField("sparse_tensor")
                ):
                    raise CaptureError(
                        f"{self.path}: {_named(node)} holds a graph or sparse values, which is not followed"
                    )

    def _take_in(self, tensor: Any) -> None:
        """Refuse a tensor that is not what it says; read one that lies in another file, if it may be read."""
        size = math.prod(tensor.dims)
        if any(d < 0 for d in tensor.dims) or size > ENTRIES:
            raise InvalidInputError(f"{self.path}: the weights '{tensor.name}' have shape {tuple(tensor.dims)}")
        if tensor.data_type not in _TYPES:
            kind = self.onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type < 30 else tensor.data_type
            raise CaptureError(f"{self.path}: the weights '{tensor.name}' are of type {kind}, not float32 or float64")
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            tensor.raw_data = self._elsewhere(tensor, size * _TYPES[tensor.data_type])
            tensor.data_location = self.onnx.TensorProto.DEFAULT
            del tensor.external_data[:]

    def _elsewhere(self, tensor: Any, size: int) -> bytes:
        told = {entry.key: entry.value for entry in tensor.external_data}
        location, folder = told.get("location", ""), self.path.parent.resolve()
        file = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not file.is_relative_to(folder) or file == folder:
            raise UntrustedFileError(
                f"{self.path}: the weights '{tensor.name}' lie in '{location}', outside its folder"
            )
        try:
            require_file(file, "file of weights")
            offset, length = int(told.get("offset") or 0), int(told.get("length") or size)
            if offset < 0 or length != size:
                raise ValueError(f"{length} bytes for {size}")
            with file.open("rb") as opened:
                opened.seek(offset)
                data = opened.read(size)
            if len(data) != size:
                raise ValueError(f"only {len(data)} bytes for {size}")
        except NetfoldError:
            raise
        except (OSError, ValueError) as error:
            raise CorruptFileError(
                f"{self.path}: the weights '{tensor.name}' in {file} are damaged ({error})"
            ) from error
        return data

    def _ends(self) -> tuple[str, str, tuple[int, ...]]:
        """The names of input and output, and the input's shape with a batch of 1."""
        known = {tensor.name for tensor in self.graph.initializer}
        inputs = [value for value in self.graph.input if value.name not in known]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise InvalidInputError(
                f"{self.path}: a network has one input and one output, this one takes "
                f"{', '.join(v.name for v in inputs) or 'nothing'} and gives "
                f"{', '.join(v.name for v in self.graph.output)}"
            )
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in (1, 11):
            raise CaptureError(f"{self.path}: its input is no tensor of float32 or float64")
        sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
        told = [d.dim_param or str(d.dim_value) for d in kind.shape.dim]
        if len(sizes) < 2 or any(d < 1 for d in sizes[1:]) or math.prod(sizes[1:]) > ENTRIES:
            raise InvalidInputError(
                f"{self.path}: its input has shape ({', '.join(told)}); "
                "it must have a batch axis first, and fixed sizes"
            )
        self.dtype = torch.float32 if kind.elem_type == 1 else torch.float64
        return inputs[0].name, self.graph.output[0].name, (1, *sizes[1:])

    def _infer(self, source: str, shape: tuple[int, ...]) -> None:
        """The shapes of all values for a batch of 1, by ONNX's own inference; what is constant then is computed."""
        for value in self.model.graph.output:
            value.type.tensor_type.ClearField("shape")
        for value in self.model.graph.input:
            if value.name == source:
                for size, dim in zip(shape, value.type.tensor_type.shape.dim, strict=True):
                    dim.Clear()
                    dim.dim_value = size
        for tensor in self.model.graph.initializer:
            self.constants[tensor.name] = self._array(tensor)
        while True:
            del self.model.graph.value_info[:]
            try:
                told = self.onnx.shape_inference.infer_shapes(self.model, True, True, True)
            except Exception as error:
                raise CorruptFileError(f"{self.path}: its shapes do not fit together ({first_line(error)})") from error
            self.shapes = {name: array.shape for name, array in self.constants.items()}
            for value in [*told.graph.value_info, *told.graph.input, *told.graph.output]:
                kind = value.type.tensor_type
                if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
                    self.shapes.setdefault(value.name, tuple(d.dim_value for d in kind.shape.dim))
            if not self._fold_all():
                return

    def _fold_all(self) -> bool:
        """Compute operations on constants, which become weights; whether there were any."""
        left, needed, count = [], self._needed(), len(self.constants)
        for node in self.model.graph.node:
            read = [name for name in node.input if name]
            constant = all(name in self.constants for name in read)
            shaped = node.op_type == "Shape" and node.input[0] in self.shapes
            if not needed.intersection(node.output):
                continue
            if node.op_type in FOLDED and (constant or shaped):
                self._fold(node)
                name = node.output[0]
                self.model.graph.initializer.append(self.onnx.numpy_helper.from_array(self.constants[name], name))
            else:
                left.append(node)
        kept = [self.onnx.NodeProto.FromString(node.SerializeToString()) for node in left]
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)
        return len(self.constants) > count

    def _steps(self, source: str, result: str) -> Iterator[OnnxStep]:
        """The operations that are left when those on constants are done."""
        made = {source}
        for node in self.model.graph.node:
            read = [name for name in node.input if name]
            lost = [name for name in read if name not in self.constants and name not in made]
            unknown = [name for name in (*read, *filter(None, node.output)) if name not in self.shapes]
            if lost or unknown:
                what = f"nothing makes '{lost[0]}'" if lost else f"the shape of '{unknown[0]}' is not known"
                raise CaptureError(f"{self.path}: {_named(node)}: {what} before it runs")
            self._require_small(node, max(math.prod(self.shapes[name]) for name in node.output if name))
            yield self._step(node)
            made.update(node.output)
        if result not in made:
            raise CaptureError(f"{self.path}: its output '{result}' does not depend on its input")

    def _needed(self) -> set[str]:
        """The values that the output depends on."""
        needed = {value.name for value in self.model.graph.output}
        for node in reversed(self.model.graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
        return needed

    def _array(self, tensor: Any) -> NDArray[Any]:
        try:
            array = self.onnx.numpy_helper.to_array(tensor)
        except Exception as error:
            raise CorruptFileError(
                f"{self.path}: the weights '{tensor.name}' are damaged ({first_line(error)})"
            ) from error
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidInputError(f"{self.path}: the weights '{tensor.name}' hold numbers that are not finite")
        return array

    def _fold(self, node: Any) -> None:
        """Compute an operation on constants."""
        if node.op_type == "Shape":
            begin = next((a.i for a in node.attribute if a.name == "start"), 0)
            end = next((a.i for a in node.attribute if a.name == "end"), None)
            found = np.array(self.shapes[node.input[0]][begin:end], np.int64)
        else:
            if node.op_type == "ConstantOfShape":
                self._require_small(node, math.prod(max(0, int(d)) for d in self.constants[node.input[0]].tolist()))
            values = {name: self.constants[name] for name in node.input if name}
            infos = [
                self.onnx.helper.make_tensor_value_info(n, self.onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                for n, v in values.items()
            ]
            outputs = [self.onnx.helper.make_empty_tensor_value_info(node.output[0])]
            graph = self.onnx.helper.make_graph([node], "constants", infos, outputs)
            versions = [self.onnx.helper.make_opsetid("", self.opset)]
            try:
                evaluator = self.onnx.reference.ReferenceEvaluator(
                    self.onnx.helper.make_model(graph, opset_imports=versions)
                )
                found = np.asarray(evaluator.run(None, values)[0])  # type: ignore[index]
            except Exception as error:
                raise CaptureError(
                    f"{self.path}: {_named(node)} could not be computed ({first_line(error)})"
                ) from error
        self._require_small(node, found.size)
        self.constants[node.output[0]], self.shapes[node.output[0]] = found, found.shape

    def _require_small(self, node: Any, size: int) -> None:
        if size > ENTRIES:
            raise InvalidInputError(f"{self.path}: {_named(node)} makes {size:,} numbers; at most {ENTRIES:,} are held")

    def _step(self, node: Any) -> OnnxStep:
        value = self.onnx.helper.get_attribute_value
        stated = self.onnx.defs.get_schema(node.op_type, self.opset).attributes
        attributes = {name: value(a.default_value) for name, a in stated.items() if a.default_value.name}
        attributes |= {a.name: value(a) for a in node.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        known = tuple(self._tensor(self.constants[n]) if n in self.constants else None for n in node.input)
        outputs = tuple(name for name in node.output if name)
        try:
            made = OPERATIONS[node.op_type](
                OnnxNode(
                    attributes,
                    known,
                    tuple(self.shapes[n] if n else None for n in node.input),
                    tuple(self.shapes[n] for n in outputs),
                    self.opset,
                )
            )
        except UnsupportedError as error:
            raise CaptureError(f"{self.path}: {_named(node)} ({node.op_type}) is not followed: {error}") from error
        except (AssertionError, ValueError, TypeError, LookupError, RuntimeError) as error:
            raise CaptureError(
                f"{self.path}: {_named(node)} ({node.op_type}) is not followed ({first_line(error)})"
            ) from error
        return OnnxStep(made, tuple(n for n in node.input if n and n not in self.constants), outputs)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        found = torch.from_numpy(np.array(array))
        return found.to(self.dtype) if found.is_floating_point() else found

    def _replay(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        """The network must give what ONNX's reference evaluator gives, point by point, in float64."""
        draws = torch.randn((POINTS, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        points = draws * torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64).reshape(-1, *([1] * len(shape)))
        try:
            evaluator = self.onnx.reference.ReferenceEvaluator(_in_float64(self.model, self.onnx))
            name = network.source
            expected = [np.asarray(evaluator.run(None, {name: point.numpy()})[0]) for point in points]  # type: ignore[index]
            with torch.no_grad():
                found = copy.deepcopy(network).double()(points.reshape(POINTS, *shape[1:])).reshape(POINTS, -1).numpy()
        except Exception as error:
            raise CaptureError(f"{self.path} could not be replayed ({first_line(error)})") from error
        wanted = np.stack(expected).reshape(POINTS, -1)
        rough = any(node.op_type in ROUGH for node in self.model.graph.node)
        limit = (ROUGH_TOLERANCE if rough else TOLERANCE) * max(1e-300, float(np.abs(wanted).max(initial=0.0)))
        if found.shape != wanted.shape or not (np.abs(found - wanted) <= limit).all():
            raise CaptureError(
                f"{self.path}: what was made of it does not give what ONNX's reference evaluator gives, at random "
                "points; please report this model"
            )


_TYPES = {1: 4, 11: 8, 6: 4, 7: 8, 9: 1}
"""Types of constants by their number, with the bytes of an entry: float32, float64, int32, int64, bool."""


def _named(node: Any) -> str:
    """How an error calls an operation."""
    return f"'{node.name or (node.output[0] if node.output else node.op_type)}'"[:120]


def _in_float64(model: Any, onnx: Any) -> Any:
    """The model with float64 in place of float32."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.value_info[:]
    for value in [*wide.graph.input, *wide.graph.output]:
        if value.type.tensor_type.elem_type == 1:
            value.type.tensor_type.elem_type = 11
    tensors = [*wide.graph.initializer]
    for node in wide.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == 1:
                attribute.i = 11
    for tensor in tensors:
        if tensor.data_type == 1:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return wide
