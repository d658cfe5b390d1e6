"""Lava's process models without its runtime: their modules, and the ends of their channels."""

import importlib
import warnings
from types import SimpleNamespace

import numpy as np


def modules(**paths: str) -> SimpleNamespace:
    """Return modules of Lava by name of our own, without the warnings of their import."""
    from sdsnn_core.lava.compat import ensure_lava

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages' own import-time warnings
        ensure_lava()
        return SimpleNamespace(**{name: importlib.import_module(path) for name, path in paths.items()})


class Port:
    """Both ends of a channel that holds one value."""

    value = None

    def send(self, value):
        self.value = np.array(value)

    def recv(self):
        return self.value
