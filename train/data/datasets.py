"""The data sets that `data.name` can name: one entry each. Readers are imported when a set is loaded.

A set of your own needs no entry: `data.name = "package.module:function"` names a function
(DataConfig, seed, download) -> DataSet, and `data.name = "folder"` reads events or arrays from files.
"""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from sdsnn_core.errors import ConfigError, FileError

from .settings import NAMES, DataConfig

Loader = Callable[[DataConfig, int, bool], Any]
"""(configuration, seed, whether to download) -> DataSet"""


@final
@dataclass(frozen=True)
class Entry:
    """load: module in this folder and function. folders: names looked for under $SDSNN_DATA. get: what, from where."""

    load: str
    about: str
    folders: tuple[str, ...] = ()
    get: str = ""


DATA_SETS = {
    "digits": Entry("images:digits", "1,797 handwritten digits, 8 x 8, with scikit-learn"),
    "mnist": Entry(
        "images:mnist", "60,000 + 10,000 handwritten digits, 28 x 28", ("mnist", "MNIST"),
        "mnist.npz (x_train, y_train, x_test, y_test) or the four IDX files of MNIST; --download takes it from openml "
        "(mnist_784)",
    ),
    "mnist_saccades": Entry(
        "sensors.saccades:mnist_saccades", "MNIST in front of a simulated event camera, 34 x 34 x 2",
        ("mnist", "MNIST"), "the files of data.name = mnist; --download takes them from openml (mnist_784)",
    ),
    "fashion_mnist": Entry(
        "images:fashion_mnist", "60,000 + 10,000 garments, 28 x 28", ("fashion_mnist", "FashionMNIST"),
        "fashion_mnist.npz (x_train, y_train, x_test, y_test) or the four IDX files of Fashion-MNIST; --download takes "
        "it from openml (Fashion-MNIST)",
    ),
    "cifar10": Entry(
        "images:cifar10", "50,000 + 10,000 colour images, 32 x 32", ("cifar10", "cifar-10-batches-py"),
        "cifar10.npz (x_train, y_train, x_test, y_test; images (n, 32, 32, 3) uint8); --download takes it from openml "
        "(CIFAR_10)",
    ),
    "nmnist": Entry(
        "events:nmnist", "MNIST in front of an event camera, 34 x 34 x 2", ("nmnist", "NMNIST", "nmnist_1100"),
        "folders Train/<digit>/*.bin and Test/<digit>/*.bin (https://www.garrickorchard.com/datasets/n-mnist); "
        "--download takes them with tonic",
    ),
    "dvs_gesture": Entry(
        "events:dvs_gesture", "11 gestures, 128 x 128 x 2", ("dvs_gesture", "DVSGesture"),
        "folders ibmGestureTrain and ibmGestureTest of user*/<class>.npy, as tonic unpacks them "
        "(https://research.ibm.com/interactive/dvsgesture/); --download takes them with tonic",
    ),
    "shd": Entry(
        "events:shd", "20 spoken digits, 700 channels", ("shd", "SHD"),
        "shd_train.h5 and shd_test.h5 (https://zenkelab.org/datasets); --download takes them with tonic",
    ),
    "ssc": Entry(
        "events:ssc", "35 spoken words, 700 channels", ("ssc", "SSC"),
        "ssc_train.h5, ssc_valid.h5 and ssc_test.h5 (https://zenkelab.org/datasets); --download takes them with tonic",
    ),
    "cifar10_dvs": Entry(
        "events:cifar10_dvs", "10,000 CIFAR-10 images before an event camera, 128 x 128 x 2",
        ("cifar10_dvs", "CIFAR10DVS"),
        "folders airplane to truck of *.aedat4 files, as tonic unpacks them "
        "(https://doi.org/10.6084/m9.figshare.4724671); --download takes them with tonic",
    ),
    "ev_objects": Entry(
        "sensors.touch:ev_objects", "36 objects held by an event skin, 78 channels", ("evtouch", "Ev-Objects"),
        "objects_train.npz and objects_test.npz (spikes (n, bins, 78), labels), or the folders train and test of "
        "Ev-Objects.zip (https://github.com/clear-nus/TactileSGNet)",
    ),
    "ev_containers": Entry(
        "sensors.touch:ev_containers", "20 containers held by an event skin, 78 channels", ("evtouch", "Ev-Containers"),
        "containers_train.npz and containers_test.npz (spikes (n, bins, 78), labels), or the folders train and test of "
        "Ev-Containers.zip (https://github.com/clear-nus/TactileSGNet)",
    ),
    "braille": Entry(
        "sensors.touch:braille", "27 Braille letters, 12 taxels", ("braille", "braille_letters"),
        "braille_taxels_27x50.npz (taxel (n, frames, 12) uint8, length, label, letters, repetition), made of the data "
        "of spytorch's fifth tutorial (https://github.com/fzenke/spytorch)",
    ),
    "fsdd": Entry(
        "sensors.speech:fsdd", "3,000 spoken digits of 6 speakers, 8 kHz", ("fsdd", "free-spoken-digit-dataset"),
        "fsdd_8khz_int16.npz (audio, offsets, digit, speaker, speaker_names, recording) or the folder recordings of "
        "*.wav (https://github.com/Jakobovski/free-spoken-digit-dataset)",
    ),
    "ecg_qtdb": Entry(
        "sensors.ecg:ecg_qtdb", "759 electrocardiograms as events, a wave for each step", ("ecg_qtdb",),
        "qtdb_events.npz (x_train, y_train, mask_train, ...) or QTDB_train.mat and QTDB_test.mat "
        "(https://github.com/byin-cwi/Efficient-spiking-networks)",
    ),
    "uea": Entry(
        "sensors.series:uea", "a set of the UCR/UEA archive of time series", ("uea", "timeseries_small"),
        "<data.series>.npz (x_train, y_train, length_train, ...) or <data.series>_TRAIN.ts and _TEST.ts "
        "(https://timeseriesclassification.com)",
    ),
    "folder": Entry(
        "folder:folder", "your own events or arrays", (),
        "train.npz and test.npz with `spikes` and `labels`, or <class>/<file> of events (docs/data.md)",
    ),
}  # fmt: skip
assert tuple(DATA_SETS) == NAMES


def find(name: str) -> Loader:
    """Return the loader of a data set, by name or import path. Raises ConfigError where there is none."""
    loader: Loader = import_object(f"{__package__}.{DATA_SETS[name].load}" if name in DATA_SETS else name, "data.name")
    return loader


def import_object(path: str, key: str) -> Any:
    """Return what `package.module:attribute` names. Raises ConfigError naming `key` where that fails."""
    module, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where the user's own modules lie; the `sdsnn` command does not look there
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module of the user's own may raise anything
        raise ConfigError([f"{key}: got {path!r}, which cannot be imported ({error})"]) from None


def locate(config: DataConfig) -> Path:
    """Return the directory of a data set: `data.directory`, or a folder of $SDSNN_DATA, whether it exists or not."""
    if config.directory is not None:
        return Path(config.directory).expanduser()
    home = Path(os.environ.get("SDSNN_DATA") or Path.home() / ".cache" / "sdsnn" / "data")
    places = [home / name for name in DATA_SETS[config.name].folders or (config.name,)]
    return next((place for place in places if place.is_dir()), places[0])


def missing(config: DataConfig, directory: Path, what: str) -> FileError:
    """Return the error of a missing data set: what is missing where, what to get and from where."""
    return FileError(
        f"data {config.name}: expected {DATA_SETS[config.name].get}, got {directory}, which {what}; "
        "set data.directory, or SDSNN_DATA to its parent"
    )
