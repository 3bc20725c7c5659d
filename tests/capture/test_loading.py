"""Models and data from files: what is read is what was saved, and nothing that could run code is opened."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim

from netfold.capture import capture
from netfold.capture.loading import load_data, load_model
from netfold.errors import CaptureError, CorruptFileError, InvalidInputError, UntrustedFileError
from tests.capture.cases import CASES, Calls
from tests.capture.hostile import MARK, Exploding, torch_pickle

FREE = ({0: Dim.DYNAMIC},)


def factory() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.ReLU(), nn.Linear(4, 2))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight  # type: ignore[union-attr]
    return model


def failing() -> nn.Module:
    raise KeyError("size")


INSTANCE = nn.Linear(3, 2)
NUMBER = 3.0
HERE = __name__


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, where no pickle may have run."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / MARK).exists(), "a pickle was opened"


def exported(model: nn.Module, shape: tuple[int, ...], path: str, batch: int | None = None) -> None:
    """Save a model with a free batch axis, or for batches of one fixed size."""
    x = torch.zeros(batch or 3, *shape)
    torch.export.save(torch.export.export(model.eval(), (x,), dynamic_shapes=None if batch else FREE), path)


def points(shape: tuple[int, ...]) -> Tensor:
    return torch.randn((5, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


NETWORKS = [case for case in CASES if case.name in ("resnet", "dense", "conv2d", "writes into slices")]


@pytest.mark.parametrize("batch", [None, 1, 2, 4])
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_exported_programs_give_the_models_numbers(case: Any, batch: int | None, folder: Path) -> None:
    """A .pt2 file gives the model's numbers and layer names, also when saved for a fixed batch size."""
    exported(case.model(), case.shape, "model.pt2", batch)
    program = capture(load_model("model.pt2"))
    x = points(case.shape)
    with torch.no_grad():
        torch.testing.assert_close(program(x), case.model().double()(x), rtol=1e-12, atol=1e-12)
    assert [layer.name for layer in program.layers] == [name for name, _, _ in case.layers]
    assert program.input_shape == case.shape


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_that_cannot_be_freed_is_refused(batch: int, folder: Path) -> None:
    """Where the batch size is part of what the program computes, the error names the way out."""
    exported(Calls(lambda x: x.mean(0, keepdim=True) + x), (3,), "model.pt2", batch)
    with pytest.raises(CaptureError, match=rf"fixed to batches of {batch} .*Dim\.DYNAMIC"):
        capture(load_model("model.pt2"))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_that_hides_among_other_sizes_is_refused(batch: int, folder: Path) -> None:
    """Sizes that are guessed wrongly do not survive the comparison with the program itself."""
    heads = next(case for case in CASES if case.name == "heads")
    exported(heads.model(), heads.shape, "model.pt2", batch)
    with pytest.raises(CaptureError, match=rf"fixed to batches of {batch} .*Dim\.DYNAMIC"):
        capture(load_model("model.pt2"))


def test_free_axes_of_a_point_take_a_shape(folder: Path) -> None:
    """A program that leaves other axes free is captured for one shape of points."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    free = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    program = torch.export.export(model, (torch.zeros(3, 1, 8, 9, dtype=torch.float64),), dynamic_shapes=free)
    got = capture(program, shape=(1, 6, 7))
    x = points((1, 6, 7))
    torch.testing.assert_close(got(x), model(x).detach())
    assert got.layers[0].shape == (2, 4, 5)
    with pytest.raises(InvalidInputError, match="capture needs one input"):
        capture(program)
    with pytest.raises(InvalidInputError, match=r"takes points of shape \(1, 0, 0\) \(0: any size\), got \(2, 6, 7\)"):
        capture(program, shape=(2, 6, 7))


def test_factories_and_instances() -> None:
    """A name to import gives the module itself or what the function or class makes, in evaluation mode."""
    assert isinstance(load_model(f"{HERE}:factory"), nn.Sequential)
    assert not load_model(f"{HERE}:factory").training  # type: ignore[union-attr]
    assert load_model(f"{HERE}:INSTANCE") is INSTANCE
    assert isinstance(load_model("torch.nn:Identity"), nn.Identity)


def test_a_factory_in_the_current_directory(folder: Path) -> None:
    """A file beside the user is found by its name, and leaves no entry in the search path."""
    import sys

    (folder / "beside_the_user.py").write_text("import torch\ndef make():\n    return torch.nn.Linear(2, 1)\n")
    before = list(sys.path)
    assert isinstance(load_model("beside_the_user:make"), nn.Linear)
    assert sys.path == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_are_loaded_exactly(dtype: torch.dtype, folder: Path) -> None:
    """Every number of the file reaches the model, also where the file's type is wider than the model's."""
    saved = factory().to(dtype).state_dict()
    save_file(saved, "weights.safetensors")
    loaded = load_model(f"{HERE}:factory", "weights.safetensors").state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name].double(), saved[name].double()) for name in saved)


def test_tied_weights_may_be_stored_once(folder: Path) -> None:
    """Two names of one tensor need one entry in the file."""
    saved = {name: t for name, t in tied().state_dict().items() if name != "2.weight"}
    save_file(saved, "weights.safetensors")
    loaded = load_model(f"{HERE}:tied", "weights.safetensors").state_dict()
    assert torch.equal(loaded["2.weight"], saved["0.weight"])


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("3.", "4."): t for name, t in state.items()}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (renamed, r"missing in the file: 3\.weight, 3\.bias; not in the model: 4\.bias, 4\.weight"),
        (
            lambda s: {**s, "0.bias": torch.zeros(5)},
            r"'0\.bias' is \(5,\) in the file and \(4,\) in the model",
        ),
    ],
)
def test_weights_that_do_not_fit(change: Callable[[Any], Any], text: str, folder: Path) -> None:
    """Names that are missing or unknown, and shapes that differ, are listed."""
    save_file(change(factory().state_dict()), "weights.safetensors")
    with pytest.raises(InvalidInputError, match=text):
        load_model(f"{HERE}:factory", "weights.safetensors")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            "nowhere.pt2",
            r"nowhere\.pt2: there is no such model file; a model is a \.pt2 or \.onnx file or 'module:factory'",
        ),
        ("no_such_module:make", r"cannot import 'no_such_module'"),
        (f"{HERE}:make", r"has no 'make'"),
        (f"{HERE}:NUMBER", r"is a float, not a module or a function that makes one"),
        (f"{HERE}:points", r"could not be called without arguments: TypeError: .*shape"),
        (f"{HERE}:failing", r"could not be called without arguments: KeyError: 'size'"),
        ("builtins:dict", r"made a dict, not a torch\.nn\.Module"),
        ("model.onnx", r"model\.onnx is no \.onnx file, or is damaged"),
        ("model.txt", r"a model is a \.pt2 or \.onnx file or 'module:factory', not a '\.txt' file"),
        ("empty.pt2", r"the model file is empty"),
    ],
)
def test_models_that_are_none(spec: str, text: str, folder: Path) -> None:
    """What cannot be loaded is named, with what a model may be."""
    for name in ("model.onnx", "model.txt"):
        (folder / name).write_text("text")
    (folder / "empty.pt2").touch()
    with pytest.raises((InvalidInputError, CorruptFileError), match=text):
        load_model(spec)


def test_weights_go_with_a_factory_alone(folder: Path) -> None:
    exported(factory(), (3,), "model.pt2")
    save_file(factory().state_dict(), "weights.safetensors")
    with pytest.raises(InvalidInputError, match=r"only a 'module:factory' takes weights"):
        load_model("model.pt2", "weights.safetensors")
    with pytest.raises(InvalidInputError, match=r"weights are a \.safetensors file, not '\.pt2'"):
        load_model(f"{HERE}:factory", "model.pt2")


PICKLES = {
    "model.pt": torch_pickle,
    "model.pth": lambda: b"anything",
    "model.pt2": torch_pickle,
    "model.ckpt": lambda: pickle.dumps(Exploding()),
    "model.pkl": lambda: pickle.dumps(Exploding(), protocol=0),
    "data.npy": lambda: pickle.dumps(Exploding()),
    "data.npz": torch_pickle,
    "data.safetensors": lambda: pickle.dumps(Exploding(), protocol=2),
}


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("load", [load_model, load_data, lambda path: load_model(f"{HERE}:factory", path)])
def test_pickles_are_never_opened(name: str, load: Callable[[Path], Any], folder: Path) -> None:
    """A pickle is known by its suffix or its content, and refused with the safe ways."""
    (folder / name).write_bytes(PICKLES[name]())
    with pytest.raises(UntrustedFileError, match=r"is a pickle.*torch\.export\.save.*safetensors.*numpy\.savez"):
        load(folder / name)


DAMAGED = {
    "model.pt2": lambda b: b[: len(b) // 2],
    "text.pt2": lambda b: b"text",
    "zip.pt2": lambda b: b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_models(name: str, folder: Path) -> None:
    """A file that is cut short or no archive at all is called damaged."""
    exported(nn.Linear(3, 2), (3,), "whole.pt2")
    (folder / name).write_bytes(DAMAGED[name](Path("whole.pt2").read_bytes()))
    with pytest.raises(CorruptFileError, match=r"is not a \.pt2 file, or is damaged"):
        load_model(name)


def test_an_archive_without_a_program(folder: Path) -> None:
    """An archive of something else is called damaged, not trusted."""
    np.savez("data.npz", x=np.zeros((2, 3)))
    Path("data.npz").rename("model.pt2")
    with pytest.raises(CorruptFileError):
        load_model("model.pt2")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.uint8, np.int64])
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_data(suffix: str, kind: Any, folder: Path) -> None:
    """Inputs and labels are what was saved, in float32 or float64."""
    x, y = (10 * np.random.default_rng(0).random((4, 2, 3))).astype(kind), np.arange(4)
    path = f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, x=x, y=y)
    elif suffix == ".npy":
        np.save(path, x)
    else:
        save_file({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    data = load_data(path)
    assert data.inputs.dtype == (np.float32 if kind in (np.float16, np.float32) else np.float64)
    np.testing.assert_array_equal(data.inputs, x.astype(np.float64))
    assert (len(data), data.shape, data.source) == (4, (2, 3), path)
    if suffix == ".npy":
        assert data.labels is None
    else:
        assert data.labels is not None
        np.testing.assert_array_equal(data.labels, y)


def test_the_only_array_holds_the_inputs(folder: Path) -> None:
    """An array of another name is taken where there is no doubt; labels may be a column of whole floats."""
    np.savez("data.npz", images=np.ones((2, 3)), y=np.array([[1.0], [2.0]]))
    data = load_data(folder / "data.npz")
    np.testing.assert_array_equal(data.inputs, np.ones((2, 3)))
    np.testing.assert_array_equal(data.labels, [1, 2])


NAN = np.array([[0.0, 1.0], [np.nan, 1.0], [np.inf, 0.0]])
BAD_DATA: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"x": np.zeros((0, 3))}, r"'x' is empty, its shape is \(0, 3\); at least one row is needed"),
    "NaN": ({"x": NAN}, r"2 of 3 rows of 'x' hold NaN or infinite values, the first is row 1"),
    "one axis": ({"x": np.zeros(3)}, r"'x' must have one input a row, shape \(N, \.\.\.\), got shape \(3,\)"),
    "text": ({"x": np.array([["a", "b"]])}, r"'x' must hold real numbers, got <U1"),
    "complex": ({"x": np.zeros((2, 2), complex)}, r"'x' must hold real numbers, got complex128"),
    "names": ({"a": NAN, "b": NAN}, r"name the inputs 'x' and the labels 'y'; it holds a, b"),
    "labels alone": ({"y": NAN}, r"name the inputs 'x' and the labels 'y'; it holds y"),
    "no array": ({}, r"it holds no array"),
    "label count": (
        {"x": np.zeros((3, 2)), "y": np.zeros(2)},
        r"'y' must have one label a row, shape \(3,\), got \(2,\)",
    ),
    "label type": (
        {"x": np.zeros((2, 2)), "y": np.array([0.5, 1.0])},
        r"'y' must hold class numbers, got float64",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_is_unusable(name: str, folder: Path) -> None:
    """Empty, ambiguous or non-finite data is named with what was expected."""
    arrays, text = BAD_DATA[name]
    np.savez("data.npz", **arrays)
    with pytest.raises(InvalidInputError, match=text):
        load_data("data.npz")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere.npz", "there is no such data file"),
        ("empty.npz", r"the data file is empty \(0 bytes\)"),
        ("data.csv", r"data is a \.npz, \.npy or \.safetensors file, not '\.csv'"),
    ],
)
def test_data_files_that_are_none(name: str, text: str, folder: Path) -> None:
    """A missing file, an empty one and one of another kind are named."""
    (folder / "empty.npz").touch()
    (folder / "data.csv").write_text("1,2")
    with pytest.raises(InvalidInputError, match=text):
        load_data(folder / name)


@pytest.mark.parametrize("name", ["data.npz", "data.npy", "data.safetensors"])
@pytest.mark.parametrize("content", [b"text", b"PK\x03\x04" + b"\0" * 40, b"\x93NUMPY\x01\x00"])
def test_damaged_data(name: str, content: bytes, folder: Path) -> None:
    """A file that is not what its suffix says is called damaged."""
    (folder / name).write_bytes(content)
    with pytest.raises(CorruptFileError, match="or is damaged"):
        load_data(folder / name)


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_arrays_of_objects_are_pickles(save: Callable[..., None], folder: Path) -> None:
    """numpy stores arrays of objects as pickles; they stay closed."""
    name = "data.npy" if save is np.save else "data.npz"
    save(name, np.array([Exploding(), 1], dtype=object))
    with pytest.raises(UntrustedFileError, match="holds pickled Python objects"):
        load_data(name)
