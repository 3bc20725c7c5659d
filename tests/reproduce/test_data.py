"""MNIST and CIFAR-10 in their published formats, and files that are something else."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from netfold.errors import CorruptFileError, InvalidInputError, UntrustedFileError
from netfold.reproduce.data import digits, read_cifar, read_idx, read_images


def idx(values: np.ndarray) -> bytes:
    """The format as its page describes it, written by hand."""
    return (
        struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    )


def mnist(folder: Path, prefix: str, count: int, seed: int, zipped: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 4), np.uint8)
    labels = rng.integers(0, 10, count, np.uint8)
    for name, values in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        content = idx(values)
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return images, labels


def cifar(path: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 256, (count, 3072), np.uint8), rng.integers(0, 10, count, np.uint8)
    path.write_bytes(b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels, strict=True)))
    return pixels, labels


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_comes_back_as_it_was_written(tmp_path: Path, zipped: bool) -> None:
    """Pixels over 255, one channel, labels in order; training and test files are not mixed."""
    train, train_labels = mnist(tmp_path, "train", 7, 0, zipped)
    test, test_labels = mnist(tmp_path, "t10k", 5, 1, zipped)
    found = read_images(tmp_path)
    assert found.name == "MNIST"
    assert found.shape == (1, 3, 4)
    assert found.size == 12
    np.testing.assert_array_equal(found.train[:, 0], (train / 255).astype(np.float32))
    np.testing.assert_array_equal(found.test[:, 0], (test / 255).astype(np.float32))
    assert found.train_labels.tolist() == train_labels.tolist()
    assert found.test_labels.tolist() == test_labels.tolist()


def test_cifar_planes_are_channels(tmp_path: Path) -> None:
    """A label byte, then red, green and blue planes of 32 rows; batches follow each other."""
    first, labels = cifar(tmp_path / "data_batch_1.bin", 3, 0)
    second, more = cifar(tmp_path / "data_batch_2.bin", 2, 1)
    cifar(tmp_path / "test_batch.bin", 2, 2)
    found = read_images(tmp_path)
    assert (found.name, found.train.shape, found.test.shape) == ("CIFAR-10", (5, 3, 32, 32), (2, 3, 32, 32))
    assert found.train[1, 2, 5, 7] == np.float32(first[1, 2 * 1024 + 5 * 32 + 7]) / np.float32(255)
    assert found.train[4, 0, 0, 1] == np.float32(second[1, 1]) / np.float32(255)
    assert found.train_labels.tolist() == [*labels.tolist(), *more.tolist()]


def test_one_file_is_split_and_says_so(tmp_path: Path) -> None:
    """Every image is in exactly one part, with its own label, by a seed."""
    (tmp_path / "raw").mkdir()
    images, labels = mnist(tmp_path / "raw", "t10k", 11, 0)
    found = read_images(tmp_path, seed=3)
    assert (len(found.train), len(found.test)) == (9, 2)
    assert "kept aside" in found.source
    by_pixels = {image.tobytes(): label for image, label in zip((images / 255).astype(np.float32), labels, strict=True)}
    for some, classes in ((found.train, found.train_labels), (found.test, found.test_labels)):
        assert [by_pixels.pop(image.tobytes()) for image in some[:, 0]] == classes.tolist()
    assert not by_pixels
    assert read_images(tmp_path, seed=3).digest == found.digest
    assert read_images(tmp_path, seed=4).digest != found.digest


def test_digits_are_called_digits() -> None:
    """Never MNIST; a coordinate of the standardised ones has mean square 1."""
    found = digits()
    assert found.name == "digits"
    assert (len(found.train), len(found.test)) == (1347, 450)
    scaled = found.standardised()
    assert abs(float((scaled.train.astype(np.float64) ** 2).mean()) - 1) < 1e-5
    assert abs(float(scaled.train.mean(dtype=np.float64))) < 1e-5
    spread = found.train.std(dtype=np.float64)
    np.testing.assert_allclose(scaled.test, (found.test - found.train.mean(dtype=np.float64)) / spread, atol=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"GIF89a..........",
        b"\0\0\x0d\x01\0\0\0\x01....",  # floats
        b"\0\0\x08\x03\0\0\0\x02",  # header cut short
        idx(np.zeros((2, 3, 4), np.uint8))[:-1],
        idx(np.zeros((2, 3, 4), np.uint8)) + b"\0",
        b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 9,  # sizes beyond 64 bits
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """With the file's name."""
    (tmp_path / "some-idx3-ubyte").write_bytes(content)
    with pytest.raises(CorruptFileError, match="some-idx3-ubyte"):
        read_idx(tmp_path / "some-idx3-ubyte")


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    """Cut short, or no gzip at all."""
    for name, content in (("a.gz", gzip.compress(idx(np.zeros((9, 9, 9), np.uint8)))[:-9]), ("b.gz", b"plain text")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptFileError, match=f"{name}.*unpacked"):
            read_idx(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\0" * 3072, b"\x0a" + b"\0" * 3072])
def test_what_is_no_cifar_batch_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, no whole row, a label above 9."""
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(CorruptFileError, match="data_batch_1"):
        read_cifar(tmp_path / "data_batch_1.bin")


def test_folders_without_one_data_set(tmp_path: Path) -> None:
    """None, none that is known, half of one, two of them, a pickle: each says what to do."""
    with pytest.raises(InvalidInputError, match="does not exist"):
        read_images(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match=r"expected MNIST .* or CIFAR-10"):
        read_images(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04")
    with pytest.raises(UntrustedFileError, match="binary version"):
        read_images(tmp_path)
    cifar(tmp_path / "data_batch_1.bin", 5, 0)
    assert read_images(tmp_path).name == "CIFAR-10"
    mnist(tmp_path, "train", 5, 0)
    with pytest.raises(InvalidInputError, match="holds MNIST and CIFAR-10"):
        read_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InvalidInputError, match="without its labels"):
        read_images(tmp_path)


def test_labels_must_fit_images(tmp_path: Path) -> None:
    """One label an image."""
    mnist(tmp_path, "train", 6, 0)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(CorruptFileError, match=r"6 images.*5 labels"):
        read_images(tmp_path)
