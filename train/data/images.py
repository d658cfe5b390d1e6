"""Images as spikes: scikit-learn's digits; MNIST, Fashion-MNIST and CIFAR-10 from local files or openml."""

import gzip
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import ConfigError, FileError
from sdsnn_core.files import atomic_path
from sdsnn_core.network import Shape

from .augment import Moves, vary
from .datasets import locate, missing
from .encoding import Encode, encoder
from .load import Bins, DataSet, Indices, LazySpikes, Split, split_of
from .recordings import load_arrays
from .settings import DataConfig

Images = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
_SMALL = 2**26  # bytes
_KEYS = ("x_train", "y_train", "x_test", "y_test")
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Code(NamedTuple):
    """How images become spikes.

    Attributes:
        encode: (images (n, *pixels)) -> bins (n, steps, *shape).
        shape: of a bin.
        input_max: largest value of a bin.
        step_s: seconds that a bin covers; None where steps have no length of their own.
    """

    encode: Encode
    shape: Shape
    input_max: int = 1
    step_s: float | None = None


def code_of(config: DataConfig, shape: Shape, full: float) -> Code:
    """Return the code `data.coding` for images of a shape with grey levels 0..full."""
    if config.coding == "delta":
        raise ConfigError(["data.coding: expected rate, latency or direct for images, got delta"])
    encode, input_max = encoder(config.coding, config.n_steps, full, config.levels)
    return Code(encode, shape, input_max)


def image_set(
    config: DataConfig,
    images: Images,
    labels: Labels,
    full: float,
    parts: tuple[Indices, Indices, Indices],
    *,
    picture: Shape | None = None,
    code: Code | None = None,
) -> DataSet:
    """Return images (n, *pixels) of grey levels 0..full as a data set that encodes what a batch asks for.

    picture: shape whose last two axes are rows and columns, for shifts, where images have none. code: instead of
    `data.coding`.
    """
    encode, shape, input_max, step_s = code or code_of(config, images.shape[1:], full)
    moves = Moves.of(config)
    picture = picture or images.shape[1:]

    def make(chosen: Indices) -> Bins:
        return encode(images[chosen])

    def varied(chosen: Indices, rng: np.random.Generator) -> Bins:
        pixels = images[parts[0][chosen]]
        if config.noise:
            pixels = np.clip(np.rint(pixels + rng.normal(0, config.noise, pixels.shape)), 0, full)
        if any(moves):
            pictures = pixels.reshape(len(pixels), *picture).astype(np.float32)
            pixels = np.clip(vary(pictures, moves, rng), 0, full).reshape(pixels.shape)
        return encode(pixels)

    # A small set is encoded once; a large one batch by batch.
    small = len(labels) * config.n_steps * math.prod(shape) <= _SMALL
    lazy = [LazySpikes(part, config.n_steps, shape, make) for part in parts]
    train, validation, test = (
        Split(spikes[:] if small else spikes, labels[part]) for spikes, part in zip(lazy, parts, strict=True)
    )
    n_classes = int(labels.max()) + 1
    augment = varied if config.noise or any(moves) else None
    return DataSet(config.name, shape, n_classes, train, validation, test, augment, input_max, step_s)


def digits(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return scikit-learn's 1,797 handwritten digits: 8 x 8 pixels of 17 grey levels, as 64 channels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    labels = labels.astype(np.int64)
    parts = split_of(config, labels, [len(labels)], seed)
    return image_set(config, images, labels, 16, parts, picture=(8, 8))


def mnist(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return MNIST: 28 x 28 pixels of 256 grey levels, shape (1, 28, 28)."""
    return _openml(config, seed, download, "mnist_784", (28, 28))


def fashion_mnist(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return Fashion-MNIST: 28 x 28 pixels of 256 grey levels, shape (1, 28, 28)."""
    return _openml(config, seed, download, "Fashion-MNIST", (28, 28))


def cifar10(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return CIFAR-10: 32 x 32 pixels of three colours with 256 levels, shape (3, 32, 32)."""
    return _openml(config, seed, download, "CIFAR_10", (32, 32, 3))


def _openml(config: DataConfig, seed: int, download: bool, openml_name: str, pixel_shape: tuple[int, ...]) -> DataSet:
    """Return a set with a test split of its own, from its directory; validation is taken from the training images."""
    images, labels, counts = labelled_images(config, download, openml_name, pixel_shape)
    return image_set(config, images, labels, 255, split_of(config, labels, counts, seed))


def labelled_images(
    config: DataConfig, download: bool, openml_name: str, pixel_shape: tuple[int, ...]
) -> tuple[Images, Labels, list[int]]:
    """Return the images (n, channels, height, width) uint8 of a directory, their labels, and counts of train and test.

    The training images are those of the range `data.images`.
    """
    directory = locate(config)
    archive = directory / f"{config.name}.npz"
    if archive.is_file():
        arrays = _read_npz(archive)
    elif all(idx_files := [_idx_file(directory, name) for name in _IDX]):
        arrays = [_read_idx(path) for path in idx_files if path]
    elif download:
        _download(archive, openml_name, pixel_shape)
        arrays = _read_npz(archive)
    else:
        raise missing(config, directory, "has neither" if directory.is_dir() else "does not exist")
    checked = [_check(directory, arrays[at], arrays[at + 1], pixel_shape) for at in (0, 2)]
    first, end = config.images or (0, len(checked[0][1]))
    if end > len(checked[0][1]):
        raise ConfigError([f"data.images: expected at most the {len(checked[0][1])} training images, got {end}"])
    checked[0] = checked[0][0][first:end], checked[0][1][first:end]
    images = np.concatenate([pair[0] for pair in checked])
    labels = np.concatenate([pair[1] for pair in checked])
    return images, labels, [len(pair[1]) for pair in checked]


def _check(directory: Path, images: Images, labels: Images, pixel_shape: tuple[int, ...]) -> tuple[Images, Labels]:
    """Return images (n, channels, height, width) uint8 and labels (n,) int64, or raise FileError."""
    if images.shape[1:] != pixel_shape or images.dtype != np.uint8:
        raise FileError(
            f"data {directory}: expected images of shape (n, {', '.join(map(str, pixel_shape))}) uint8, "
            f"got {images.shape} {images.dtype}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not len(labels):
        raise FileError(
            f"data {directory}: expected one integer label for each of {len(images)} images, "
            f"got shape {labels.shape} {labels.dtype}"
        )
    if labels.min() < 0 or labels.max() > 9:
        raise FileError(f"data {directory}: expected labels in 0..9, got {labels.min()}..{labels.max()}")
    channels_first = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    return channels_first, labels.astype(np.int64)


def _read_npz(path: Path) -> list[Images]:
    arrays = load_arrays(path)
    if not isinstance(arrays, dict) or not set(_KEYS) <= set(arrays):
        raise FileError(f"data {path}: expected {', '.join(_KEYS)}, got {', '.join(arrays)}")
    return [arrays[key] for key in _KEYS]


def _idx_file(directory: Path, name: str) -> Path | None:
    """Return the path of an IDX file: plain or gzipped, with `-idx` or `.idx`."""
    names = [variant + end for variant in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    paths = [folder / each for each in names for folder in (directory, directory / "raw")]
    return next((path for path in paths if path.is_file()), None)


def _read_idx(path: Path) -> Images:
    """Read an IDX file of unsigned bytes: two zero bytes, type 8, number of axes, sizes in big-endian 32 bits, data."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise FileError(f"data {path}: cannot be read ({error})") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise FileError(f"data {path}: expected an IDX file of unsigned bytes, got another file")
    sizes = np.frombuffer(content, ">u4", content[3], 4) if len(content) >= 4 + 4 * content[3] else np.zeros(0)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes))
    if not len(sizes) or int(np.prod(sizes)) != len(values):
        raise FileError(
            f"data {path}: expected {' x '.join(map(str, sizes))} bytes, got {len(values)}; the file is cut off"
        )
    return values.reshape([int(size) for size in sizes])


def _download(archive: Path, name: str, pixel_shape: tuple[int, ...]) -> None:
    """Fetch a set from openml with scikit-learn and write it as `archive`. The last 10,000 images are the test set."""
    from sklearn.datasets import fetch_openml

    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        images, labels = fetch_openml(
            name, version=1, return_X_y=True, as_frame=False, parser="liac-arff", data_home=str(archive.parent)
        )
    except (OSError, ValueError) as error:
        raise FileError(f"data {archive}: openml did not give {name} ({error})") from None
    if len(pixel_shape) == 3:  # openml's CIFAR-10 has the colours first
        images = np.moveaxis(images.reshape(-1, pixel_shape[2], *pixel_shape[:2]), 1, -1)
    pixels, classes = images.reshape(-1, *pixel_shape).astype(np.uint8), labels.astype(np.int64)
    with atomic_path(archive) as aside, open(aside, "wb") as file:
        np.savez_compressed(
            file, x_train=pixels[:-10_000], y_train=classes[:-10_000], x_test=pixels[-10_000:], y_test=classes[-10_000:]
        )
