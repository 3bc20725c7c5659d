"""Networks from ``.onnx`` files: they give what ONNX's reference evaluator gives, or one clear error."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx.shape_inference
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import netfold as nf
from netfold.capture.onnx_models.operations import OPERATIONS
from netfold.errors import CaptureError, CorruptFileError, InvalidInputError, NetfoldError, UntrustedFileError
from tests.models import random_model

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def model(
    nodes: list[Any], constants: dict[str, np.ndarray], shape: tuple[Any, ...] = (1, 4), opset: int = 17, **more: Any
) -> onnx.ModelProto:
    """A model from ``x`` to ``y``."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_empty_tensor_value_info(name) for name in more.pop("outputs", ["y"])]
    for value in outputs:
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, None))
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "network", [*inputs, *more.pop("inputs", [])], outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)
    try:
        told = {value.name: value for value in onnx.shape_inference.infer_shapes(made, data_prop=True).graph.output}
    except Exception:  # a file that is to be refused
        return made
    for value in made.graph.output:
        value.CopyFrom(told[value.name])
        value.type.tensor_type.shape.SetInParent()
    return made


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def node(kind: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), ["y"], **attributes)


def case(
    kind: str, shape: tuple[int, ...] = (1, 4), opset: int = 17, more: dict[str, Any] | None = None, **attributes: Any
) -> Any:
    """One operation on the input and constants."""
    constants = {f"c{i}": np.asarray(v) for i, v in enumerate((more or {}).values())}
    return kind, model([node(kind, "x", *constants, **attributes)], constants, shape, opset)


IMAGE = (1, 2, 5, 5)
CASES = [
    case("Gemm", more={"w": weights(4, 3), "b": weights(3)}),
    case("Gemm", more={"w": weights(3, 4), "b": weights(1, 3)}, transB=1, alpha=0.5, beta=2.0),
    case("MatMul", more={"w": weights(4, 3)}),
    case("Add", more={"w": weights(4)}),
    case("Sub", more={"w": weights(1, 4)}),
    case("Mul", more={"w": weights(1)}),
    case("Div", more={"w": weights(4)}),
    case("Sum", more={"a": weights(4), "b": weights(1, 4)}),
    case("Max", more={"a": weights(4)}),
    case("Min", more={"a": weights(4), "b": weights(1, 1)}),
    *(case(kind) for kind in ("Relu", "Abs", "Neg", "Sigmoid", "Tanh", "Erf", "Exp", "Sin", "Cos", "Softplus", "Softsign")),
    *(case(kind) for kind in ("LeakyRelu", "HardSigmoid", "HardSwish", "Elu", "Identity", "Dropout", "Flatten")),
    case("LeakyRelu", alpha=0.3),
    case("HardSigmoid", alpha=0.3, beta=0.1),
    case("PRelu", more={"s": weights(4)}),
    case("PRelu", IMAGE, more={"s": weights(2, 1, 1)}),
    case("Clip", more={"low": np.float32(-0.5), "high": np.float32(0.25)}),
    case("Clip", opset=9, min=-0.5, max=0.25),
    case("Pow", more={"e": np.float32(2.0)}),
    case("Gelu", opset=20),
    case("Gelu", opset=20, approximate="tanh"),
    case("Softmax", axis=-1),
    case("Softmax", opset=11, axis=1),
    case("LogSoftmax", axis=1),
    case("Conv", IMAGE, more={"w": weights(3, 2, 3, 3), "b": weights(3)}, pads=[1, 1, 1, 1], strides=[2, 1]),
    case("Conv", IMAGE, more={"w": weights(4, 1, 3, 2)}, group=2, pads=[1, 0, 0, 1], dilations=[1, 2]),
    case("Conv", IMAGE, more={"w": weights(3, 2, 2, 3)}, auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", IMAGE, more={"w": weights(3, 2, 2, 2)}, auto_pad="SAME_LOWER"),
    case("Conv", (1, 2, 6), more={"w": weights(3, 2, 3)}),
    case("ConvTranspose", IMAGE, more={"w": weights(2, 3, 3, 3), "b": weights(3)}, strides=[2, 2], output_padding=[1, 1]),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 2]),
    case("AveragePool", IMAGE, kernel_shape=[2, 3], strides=[1, 2]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 0, 0, 1], count_include_pad=1),
    case("AveragePool", (1, 2, 6), kernel_shape=[2], strides=[2]),
    *(case(kind, IMAGE) for kind in ("GlobalAveragePool", "GlobalMaxPool", "Flatten")),
    case("ReduceMean", IMAGE, axes=[2, 3], keepdims=0),
    case("ReduceSum", IMAGE, more={"axes": np.array([-1])}),
    case("ReduceMax", IMAGE, axes=[1]),
    case("ReduceMin", IMAGE, axes=[-1]),
    case("BatchNormalization", IMAGE, more={k: np.abs(weights(2)) for k in "sbmv"}, epsilon=0.01),
    case("BatchNormalization", more={k: np.abs(weights(4)) for k in "sbmv"}),
    case("LayerNormalization", more={"s": weights(4), "b": weights(4)}, epsilon=0.01),
    case("Reshape", IMAGE, more={"s": np.array([1, 5, -1])}),
    case("Reshape", IMAGE, more={"s": np.array([0, -1])}),
    case("Squeeze", (1, 1, 4), more={"a": np.array([1])}),
    case("Unsqueeze", more={"a": np.array([1, 3])}),
    case("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    case("Concat", more={"c": weights(1, 2)}, axis=1),
    case("Slice", IMAGE, more={"s": np.array([1, 0]), "e": np.array([9, -1]), "a": np.array([2, -1]), "t": np.array([2, 1])}),
    case("Gather", IMAGE, more={"i": np.array([[3, -1]])}, axis=3),
    case("Gather", IMAGE, more={"i": np.array(1)}, axis=1),
    case("Pad", IMAGE, more={"p": np.array([0, 0, 1, 0, 0, 1, 0, 2]), "v": np.float32(0.5)}),
    case("Pad", IMAGE, more={"p": np.array([0, 0, 1, 0, 0, 0, 0, 2])}, mode="reflect"),
    case("Pad", IMAGE, more={"p": np.array([0, 0, 1, 0, 0, 0, 0, 2])}, mode="edge"),
    case("Cast", to=1),
]  # fmt: skip


def agrees(path: Path, shape: tuple[int, ...]) -> nn.Module:
    """The network, which gives in float32 what the reference gives, for a batch."""
    network = nf.load_model(path)
    assert isinstance(network, nn.Module)
    points = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load(path))
    name = [
        v.name for v in onnx.load(path).graph.input if v.name not in {t.name for t in onnx.load(path).graph.initializer}
    ][0]
    wanted = [np.asarray(evaluator.run(None, {name: x[None]})[0]).reshape(-1) for x in points]
    with torch.no_grad():
        found = network(torch.from_numpy(points)).reshape(4, -1).numpy()
    np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-4, atol=1e-5)
    return network


@pytest.mark.parametrize(("kind", "made"), CASES, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(CASES)])
def test_operations(kind, made, tmp_path):
    """Each operation gives what the reference gives, whatever the number of points."""
    agrees(saved(made, tmp_path), tuple(d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim)[1:])


def test_every_operation_has_a_case():
    others = {"Log", "Sqrt", "Split"}  # in the tests below
    assert {kind for kind, _ in CASES} | others == set(OPERATIONS)


def test_constants_are_folded(tmp_path):
    """Shapes and constants are computed before; several outputs of one operation; older files list weights as inputs."""
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array([2], np.int64))),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "two", "two"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["square"]),
        helper.make_node("Split", ["square"], ["a", "b"], axis=1),
        helper.make_node("Exp", ["a"], ["c"]),
        helper.make_node("Log", ["c"], ["d"]),
        helper.make_node("Sqrt", ["c"], ["e"]),
        helper.make_node("Add", ["d", "b"], ["f"]),
        helper.make_node("Add", ["f", "e"], ["y"]),
    ]
    constants = {"zero": np.array([0])}
    made = model(nodes, constants, inputs=[helper.make_tensor_value_info("zero", TensorProto.INT64, [1])], opset=11)
    agrees(saved(made, tmp_path), (4,))


def exported(net: nn.Module, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}}}
        torch.onnx.export(net, (torch.zeros(1, *shape),), file, dynamo=False, opset_version=17, **names)
    return file.getvalue()


@pytest.mark.parametrize("family", range(4))
def test_exports_of_torch(family, tmp_path):
    """What torch exports is the network: as it stands, and in its number of regions."""
    net, shape = random_model(21 + family, family)
    net = net.float()
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(net, shape))
    read = agrees(path, shape)
    points = torch.randn(5, *shape)
    torch.testing.assert_close(read(points), net(points), rtol=1e-4, atol=1e-5)
    line = nf.Line(torch.zeros(shape), torch.ones(shape) * 3)
    assert nf.trace_path(read, line).regions == nf.trace_path(net, line).regions


def test_counts(tmp_path):
    """The shape of the input is known, and a count is that of the module that was exported."""
    net = nf.random_network(inputs=3, width=5, depth=2, outputs=2, activation="relu", sigma_b=1.0, seed=1).float()
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(net, (3,)))
    assert int(nf.count_regions(nf.load_model(path))) == int(nf.count_regions(net))


RELU = [helper.make_node("Relu", ["x"], ["y"])]
PLUS = [helper.make_node("Add", ["x", "c"], ["y"])]


def external(**told: Any) -> onnx.ModelProto:
    made = model(PLUS, {"c": weights(4)})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in told.items():
        tensor.external_data.add(key=key, value=str(value))
    return made


def changed(
    change: Callable[[onnx.ModelProto], Any], nodes: Any = RELU, constants: Any = None, **more: Any
) -> onnx.ModelProto:
    made = model(nodes, constants or {}, **more)
    change(made)
    return made


def bomb(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [2**20, 2**20]
    made.graph.initializer[0].ClearField("raw_data")


def sparse(made: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(weights(1), "c")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1])), [4]))


def with_branch() -> onnx.ModelProto:
    inner = helper.make_graph(RELU, "then", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return model([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], {"c": np.array(True)})


IMAGES = {"shape": (1, 2, 4)}
REFUSED: dict[str, tuple[onnx.ModelProto | bytes, type[NetfoldError], str]] = {
    "noise": (b"\x00\xffnot a model" * 50, CorruptFileError, "no .onnx file"),
    "torn": (model(PLUS, {"c": weights(4)}).SerializeToString()[:-7], CorruptFileError, "onnx"),
    "empty": (b"", InvalidInputError, "empty"),
    "unknown operation": (model([node("NonZero", "x")], {}), CaptureError, "NonZero"),
    "foreign domain": (model([node("Relu", "x", domain="com.shop")], {}), CaptureError, "com.shop"),
    "old opset": (model(RELU, {}, opset=6), InvalidInputError, "opset"),
    "opset to come": (model(RELU, {}, opset=999), InvalidInputError, "opset"),
    "changed opset": (model([node("Clip", "x", min=0.0)], {}, opset=17), CorruptFileError, "no valid"),
    "weights at a path": (external(location="/etc/passwd"), UntrustedFileError, "outside its folder"),
    "weights above": (external(location="../c.bin"), UntrustedFileError, "outside its folder"),
    "weights behind a link": (external(location="link/c.bin"), UntrustedFileError, "outside its folder"),
    "weights nowhere": (external(), UntrustedFileError, "outside its folder"),
    "weights too short": (external(location="short.bin"), CorruptFileError, "damaged"),
    "weights absent": (external(location="none.bin"), CorruptFileError, "damaged"),
    "weights far off": (external(location="short.bin", offset=2**62), CorruptFileError, "damaged"),
    "a bomb of weights": (changed(bomb, PLUS, {"c": weights(4)}), InvalidInputError, "shape"),
    "a bomb of constants": (
        model([helper.make_node("ConstantOfShape", ["n"], ["c"]), *PLUS], {"n": np.array([2**30, 4])}),
        InvalidInputError, "numbers",
    ),
    "8-bit weights": (model(PLUS, {"c": np.ones(4, np.int8)}), CaptureError, "INT8"),
    "sparse weights": (changed(sparse), CaptureError, "sparse"),
    "not finite": (model(PLUS, {"c": np.full(4, np.nan, np.float32)}), InvalidInputError, "not finite"),
    "two inputs": (
        model(RELU, {}, inputs=[helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 4))]),
        InvalidInputError, "one input and one output",
    ),
    "two outputs": (
        model([*RELU, helper.make_node("Abs", ["x"], ["z"])], {}, outputs=["y", "z"]),
        InvalidInputError, "one input and one output",
    ),
    "free sizes": (model(RELU, {}, shape=("batch", "n")), InvalidInputError, "fixed sizes"),
    "no batch axis": (model(RELU, {}, shape=(4,)), InvalidInputError, "batch axis"),
    "a branch": (with_branch(), CaptureError, "If"),
    "out of order": (model([helper.make_node("Abs", ["h"], ["y"]), helper.make_node("Relu", ["x"], ["h"])], {}), CorruptFileError, "valid"),
    "shapes that do not fit": (model(PLUS, {"c": weights(3)}), CorruptFileError, "shapes"),
    "the batch moved": (model([node("Transpose", "x", perm=[1, 0, 2])], {}, **IMAGES), CaptureError, "batch"),
    "the batch joined": (model([node("Reshape", "x", "s")], {"s": np.array([2, 4])}, **IMAGES), CaptureError, "batch"),
    "the batch reduced": (model([node("ReduceMean", "x", axes=[0])], {}, **IMAGES), CaptureError, "batch"),
    "the batch softened": (model([node("Softmax", "x", axis=0)], {}), CaptureError, "batch"),
    "training": (
        model([node("BatchNormalization", "x", *"sbmv", training_mode=1)], {k: np.abs(weights(4)) for k in "sbmv"}),
        CorruptFileError, "Training",
    ),
    "an old softmax over all": (model([node("Softmax", "x", axis=1)], {}, opset=11, **IMAGES), CaptureError, "version 13"),
    "weights from the network": (model([node("Conv", "x", "x")], {}, shape=(1, 1, 3, 3)), CaptureError, "constants"),
    "an output of its own": (model([node("Identity", "c")], {"c": weights(1, 4)}), CaptureError, "does not depend"),
    "whole numbers": (
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT64)),
        CaptureError, "float32 or float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    """Hostile, damaged and unsupported files: one clear error of the right kind, which names the file."""
    made, kind, words = REFUSED[name]
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "c.bin").write_bytes(weights(4).tobytes())
    (folder / "link").symlink_to(tmp_path)
    (folder / "short.bin").write_bytes(b"1234")
    path = folder / "model.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    with pytest.raises(kind, match=words) as error:
        nf.load_model(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1200


def test_weights_beside_the_file(tmp_path):
    """Weights in another file of the folder are read."""
    array = weights(4)
    (tmp_path / "c.bin").write_bytes(b"head" + array.tobytes())
    path = saved(external(location="c.bin", offset=4, length=16), tmp_path)
    read = nf.load_model(path)
    assert isinstance(read, nn.Module)
    assert torch.equal(read(torch.zeros(1, 4))[0], torch.from_numpy(array))


def test_what_is_made_is_replayed(monkeypatch, tmp_path):
    """An operation that is read wrongly is found out."""
    monkeypatch.setitem(OPERATIONS, "LeakyRelu", lambda node: nn.LeakyReLU(0.011))
    with pytest.raises(CaptureError, match="reference evaluator"):
        nf.load_model(saved(model([node("LeakyRelu", "x")], {}), tmp_path))
