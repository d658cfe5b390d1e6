"""`sdsnn verify`: every form of a network file on the same input."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from sdsnn_core.activity import prepare_inputs
from sdsnn_core.compaction import compact
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.files import write_json
from sdsnn_core.network import Network
from sdsnn_core.spike_files import read_spikes
from sdsnn_core.testing import random_spikes

from .nir_writer import write_nir
from .verify import Backend, Certificate, lava_backend, nir_backend, recorded_backend, verify


def read_network(path: Path) -> Network:
    """Read a .nir or .net file. Raises FileError for any other ending."""
    if path.suffix == ".net":
        from .netx_reader import read_netx

        return read_netx(path)
    if path.suffix != ".nir":
        raise FileError(f"network {path}: the ending is {path.suffix!r}, allowed are .nir and .net")
    from .nir_reader import read_nir

    return read_nir(path)


def verify_file(
    path: Path,
    *,
    run: Path | None = None,
    data: Path | None = None,
    n_samples: int = 8,
    n_steps: int = 32,
    seed: int = 0,
    lava: bool = True,
) -> Certificate:
    """Verify a network file and write certificate.json, and traces of a mismatch, beside it.

    run: the run folder it was exported from, whose SLAYER model joins in. data: spikes to use; otherwise `n_samples`
    random ones of `n_steps` steps drawn with `seed`.
    """
    network = read_network(path)
    if data is not None:
        spikes, _ = read_spikes(data)
        inputs, _, _ = prepare_inputs(network, spikes)
    else:
        inputs = random_spikes(np.random.default_rng(seed), network, n_samples, n_steps)
    backends: dict[str, Backend] = {}
    if run is not None:
        backends["slayer"] = _slayer_backend(run, network, inputs)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "network.nir"
        write_nir(network, copy)
        backends["nir"] = nir_backend(copy)
        if lava:
            backends["lava"] = lava_backend()
        certificate = verify(network, inputs, backends, traces=path.parent)
    write_json(path.parent / "certificate.json", certificate.as_dict())
    return certificate


def _slayer_backend(run: Path, network: Network, inputs: dict[str, np.ndarray]) -> Backend:
    from sdsnn.train.loop import load_best
    from sdsnn.train.run_folder import RunFolder

    from .pipeline import lower_result, slayer_spikes

    result = load_best(RunFolder.open(run))
    compaction = compact(lower_result(result))
    if compaction.network.digest() != network.digest():
        raise NetworkError(f"run {run}: its network is another one than that of the file; export it again")
    return recorded_backend(slayer_spikes(result, compaction, next(iter(inputs.values()))))
