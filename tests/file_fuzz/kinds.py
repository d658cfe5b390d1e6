"""The kinds of files: how valid ones are made, read and changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from . import events, networks, runs
from .damage import Rng


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        seeds: (folder) -> valid files.
        read: reads a file as sdsnn does.
        meant: mutations that know the format: ending -> (bytes, generator) -> bytes.
    """

    seeds: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    meant: Mapping[str, Callable[[bytes, Rng], bytes]]


ARRAYS = {".npy": events.change_npy, ".npz": events.change_npz, ".mat": events.change_mat, ".pt": events.change_pt}
KINDS = {
    "events": Kind(events.event_seeds, events.read_events, ARRAYS),
    "nir": Kind(networks.nir_seeds, networks.read_nir_file, {".nir": networks.change_hdf5}),
    "net": Kind(networks.net_seeds, networks.read_net_file, {".net": networks.change_hdf5}),
    "checkpoint": Kind(runs.checkpoint_seeds, runs.read_checkpoint, {".pt": runs.change_checkpoint}),
    "config": Kind(runs.config_seeds, runs.read_config, {".toml": runs.change_config}),
}
