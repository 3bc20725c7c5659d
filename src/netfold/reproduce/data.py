"""Images for the experiments: scikit-learn's digits, or MNIST and CIFAR-10 in the formats they are published in."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netfold.errors import CorruptFileError, InvalidInputError, UntrustedFileError
from netfold.files import require_file

IDX_BYTES = 0x08
"""The type code of unsigned bytes in an IDX file; pixels and labels of MNIST have no other."""

PIXELS = 3 * 32 * 32
"""Of a CIFAR-10 image: three planes of 32 rows of 32, after one byte for the label."""

UNPACKED = 2**30
"""Most bytes that a compressed file may unpack to."""

KEPT_ASIDE = 5
"""Without files of its own for testing, one image in five is kept aside."""

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images, split into those to train on and those kept aside.

    Attributes:
        name: ``digits``, ``MNIST`` or ``CIFAR-10``: what a caption must call them.
        train: float32 in [0, 1], shape ``(images, channels, height, width)``.
        train_labels: their classes, int64, and likewise ``test`` and ``test_labels``.
        source: where they come from and how they were split, in words.
    """

    name: str
    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    @property
    def size(self) -> int:
        """Numbers in an image."""
        return self.train[0].size

    def standardised(self) -> Images:
        """The same images less the mean of all training pixels, over their standard deviation.

        A coordinate then has mean square 1 over the training images, as the theory of random networks supposes.

        Raises:
            InvalidInputError: all pixels are the same.
        """
        mean, deviation = float(self.train.mean(dtype=np.float64)), float(self.train.std(dtype=np.float64))
        if not deviation > 0:
            raise InvalidInputError(
                f"all pixels of {self.name} are {mean:g}: there is nothing to learn from ({self.source})"
            )
        train, test = ((x - np.float32(mean)) / np.float32(deviation) for x in (self.train, self.test))
        return Images(self.name, train, self.train_labels, test, self.test_labels, f"{self.source}; standardised")

    @cached_property
    def digest(self) -> str:
        """A hash of all pixels and labels, to tell other data by."""
        found = hashlib.sha256()
        for array in (self.train, self.train_labels, self.test, self.test_labels):
            found.update(repr((array.shape, array.dtype.str)).encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()[:16]


def digits(seed: int = 0) -> Images:
    """scikit-learn's 1,797 digits of 8x8 pixels, which need no download: 450, drawn at random, are kept aside.

    Example:
        >>> digits().test.shape
        (450, 1, 8, 8)
    """
    from netfold.training.digits import load_digits

    found = load_digits(seed)
    train, test = (x.reshape(-1, 1, *found.shape) for x in (found.train, found.test))
    source = "scikit-learn's digits, 8x8 pixels; 1,347 to train on, 450 kept aside at random"
    return Images("digits", train, found.train_labels, test, found.test_labels, source)


def read_images(folder: str | os.PathLike[str], seed: int = 0) -> Images:
    """MNIST or CIFAR-10 from a folder, whichever it holds.

    MNIST: ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, ``t10k-...`` for testing, with or without
    ``.gz``. CIFAR-10: ``data_batch_1.bin`` to ``data_batch_5.bin`` (as many as there are) and ``test_batch.bin``.
    They may lie in the folder or up to two folders below it. Where there are files for training or for testing only,
    one image in five of them, drawn at random, is kept aside for testing.

    Args:
        folder: where to look.
        seed: of that split.

    Raises:
        InvalidInputError: no such folder, no such files in it, or both data sets.
        CorruptFileError: a file is not what its name says, or is cut short.
        UntrustedFileError: CIFAR-10 is there only as Python pickles.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InvalidInputError(f"the data folder {place} does not exist or is no folder")
    # Several folders may hold one data set (copies, another format): the one nearest to the top is taken.
    folders = [
        place,
        *sorted(p for p in place.glob("*") if p.is_dir()),
        *sorted(p for p in place.glob("*/*") if p.is_dir()),
    ]
    digits_at = next((f for f in folders if any(_idx_files(f).values())), None)
    cifar_at = next((f for f in folders if any(_cifar_files(f).values())), None)
    if digits_at and cifar_at:
        raise InvalidInputError(f"{place} holds MNIST and CIFAR-10; name one: --data {digits_at} or --data {cifar_at}")
    if digits_at:
        return _images(
            "MNIST",
            {part: _read_idx_pair(*files) for part, files in _idx_files(digits_at).items() if files},
            digits_at,
            seed,
        )
    if cifar_at:
        return _images(
            "CIFAR-10",
            {part: _read_batches(files) for part, files in _cifar_files(cifar_at).items() if files},
            cifar_at,
            seed,
        )
    pickles = next((f / "data_batch_1" for f in folders if (f / "data_batch_1").is_file()), None)
    if pickles:
        raise UntrustedFileError(
            f"{pickles} is CIFAR-10 as a Python pickle, which could run any code when opened; get its binary version "
            "(data_batch_1.bin, test_batch.bin)"
        )
    raise InvalidInputError(
        f"{place} holds no data that netfold knows: expected MNIST (train-images-idx3-ubyte[.gz], "
        "train-labels-idx1-ubyte[.gz], t10k-...) or CIFAR-10 (data_batch_1.bin, test_batch.bin)"
    )


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, with or without gzip.

    Args:
        path: two zero bytes, the type 0x08, the number of dimensions, each dimension as a big-endian 32-bit number,
            then the data.

    Raises:
        CorruptFileError: the file does not start so, or holds fewer or more bytes than it says.
    """
    content = _bytes(Path(path))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != IDX_BYTES or not content[3]:
        raise CorruptFileError(
            f"{path} is no IDX file of unsigned bytes: it starts with {content[:4].hex(' ') or 'nothing'}, "
            "expected 00 00 08 and the number of dimensions"
        )
    begin = 4 + 4 * content[3]
    if len(content) < begin:
        raise CorruptFileError(f"{path} is cut short: {len(content):,} bytes, its header alone has {begin}")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", content[3], 4))
    # Python's own numbers: a header of nonsense must not overflow.
    size = int(np.prod([1, *shape], dtype=object))
    if len(content) - begin != size:
        raise CorruptFileError(
            f"{path} holds {len(content) - begin:,} bytes after its header, which says {size:,} ({shape})"
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def read_cifar(path: str | os.PathLike[str]) -> Arrays:
    """Images ``(count, 3, 32, 32)`` and labels of a CIFAR-10 binary batch: rows of a label byte and 3,072 pixel bytes.

    Raises:
        CorruptFileError: the file is empty, is not a whole number of rows, or has a label above 9.
    """
    content = np.frombuffer(_bytes(Path(path)), np.uint8)
    if not len(content) or len(content) % (1 + PIXELS):
        raise CorruptFileError(
            f"{path} is no CIFAR-10 batch: {len(content):,} bytes are not a whole number of rows of {1 + PIXELS:,}"
        )
    rows = content.reshape(-1, 1 + PIXELS)
    if rows[:, 0].max() > 9:
        raise CorruptFileError(f"{path} is no CIFAR-10 batch: it has a label {rows[:, 0].max()}, expected 0 to 9")
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def _bytes(path: Path) -> bytes:
    require_file(path)
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            content = file.read(UNPACKED + 1)
        if len(content) > UNPACKED:
            raise CorruptFileError(f"{path} unpacks to more than {UNPACKED:,} bytes; no data set of ours does")
        return content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptFileError(f"{path} cannot be unpacked ({error}): it is damaged or no gzip file") from error


def _idx_files(folder: Path) -> dict[str, tuple[Path, Path] | None]:
    found = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        files = [
            _first(folder / f"{prefix}-{what}{ending}" for ending in ("", ".gz"))
            for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]
        if any(files) and not all(files):
            there, missing = (files[0], "labels") if files[0] else (files[1], "images")
            raise InvalidInputError(f"{there} lies there without its {missing}; put both files in the folder")
        found[part] = tuple(files) if all(files) else None
    return found


def _cifar_files(folder: Path) -> dict[str, list[Path]]:
    return {"train": sorted(folder.glob("data_batch_[1-5].bin")), "test": sorted(folder.glob("test_batch.bin"))}


def _first(files: Iterable[Path]) -> Path | None:
    return next((file for file in files if file.is_file()), None)


def _read_idx_pair(images: Path, labels: Path) -> Arrays:
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or classes.ndim != 1 or not pixels.size:
        raise CorruptFileError(
            f"{images} and {labels} have shapes {pixels.shape} and {classes.shape}; expected (images, rows, columns) "
            "and (images,)"
        )
    if len(pixels) != len(classes):
        raise CorruptFileError(f"{images} holds {len(pixels):,} images, {labels} {len(classes):,} labels")
    return pixels[:, None], classes.astype(np.int64)


def _read_batches(files: list[Path]) -> Arrays:
    images, labels = zip(*(read_cifar(file) for file in files), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _images(name: str, parts: dict[str, Arrays], folder: Path, seed: int) -> Images:
    shapes = {images.shape[1:] for images, _ in parts.values()}
    if len(shapes) > 1:
        raise CorruptFileError(f"{folder}: images of different sizes to train on and to test: {sorted(shapes)}")
    if len(parts) == 2:
        train, test = parts["train"], parts["test"]
        how = f"{len(train[1]):,} images to train on, {len(test[1]):,} to test"
    else:
        [(part, (images, labels))] = parts.items()
        if len(labels) < KEPT_ASIDE:
            raise InvalidInputError(f"{folder} holds {len(labels)} images, too few to keep some aside for testing")
        order = np.random.default_rng(seed).permutation(len(labels))
        kept, others = order[: len(order) // KEPT_ASIDE], order[len(order) // KEPT_ASIDE :]
        train, test = (images[others], labels[others]), (images[kept], labels[kept])
        how = f"its {part} images only, {len(others):,} of them to train on, {len(kept):,} kept aside at random"
    x, z = (images.astype(np.float32) / np.float32(255) for images, _ in (train, test))
    return Images(name, x, train[1], z, test[1], f"folder {folder.name}: {how}")
