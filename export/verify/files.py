"""`sdsnn verify`: every form of a network file on the same input."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdsnn_core.activity import prepare_inputs, random_spikes
from sdsnn_core.compaction import compact
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.files import write_json
from sdsnn_core.network import Network
from sdsnn_core.spike_files import read_spikes

from ..nir_format.writer import write_nir
from ..resolution import resolution_of, with_resolution
from .backends import Backends, NetxFile, backends_for, write_netx_file
from .certificate import Backend, Certificate, recorded_backend, verify


def read_network(path: Path) -> Network:
    """Read a .nir or .net file. Raises FileError for any other ending."""
    if path.suffix == ".net":
        from ..netx.reader import read_netx

        return read_netx(path)
    if path.suffix != ".nir":
        raise FileError(f"network {path}: the ending is {path.suffix!r}, allowed are .nir and .net")
    from ..nir_format.reader import read_nir

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
    extra: Mapping[str, Backend] | None = None,
) -> Certificate:
    """Verify a network file and write certificate.json, and traces of a mismatch, beside it.

    run: the run folder it was exported from, whose SLAYER model joins in. data: spikes to use; otherwise `n_samples`
    random ones of `n_steps` steps drawn with `seed`. lava: run Lava's processes and lava-dl's netx too. extra: more
    back ends, of stages that come after this one.
    """
    network = read_network(path)
    if data is not None:
        spikes, _ = read_spikes(data)
        inputs, _, _ = prepare_inputs(network, spikes)
    else:
        inputs = random_spikes(np.random.default_rng(seed), network, n_samples, n_steps)
    first = {} if run is None else {"slayer": _slayer_backend(run, network, inputs)}
    with tempfile.TemporaryDirectory() as folder:
        nir_file = write_nir(network, Path(folder) / "network.nir")
        netx = _netx_file(path, network, Path(folder))
        backends: Backends = backends_for(network, nir_file, netx, lava=lava, extra=extra)
        certificate = verify(network, inputs, {**first, **backends.run}, traces=path.parent, skipped=backends.skipped)
    write_json(path.parent / "certificate.json", certificate.as_dict())
    return certificate


def _netx_file(path: Path, network: Network, folder: Path) -> NetxFile:
    """Return the file itself if it is a netx file, else one written for the purpose."""
    if path.suffix != ".net":
        return write_netx_file(network, folder / "network.net")
    if "input_weight" in network.provenance:
        return NetxFile(None, None, "its first layer has neurons, whose bias is the input; this back end has no way in")
    return NetxFile(path, "sdsnn", None)


def _slayer_backend(run: Path, network: Network, inputs: dict[str, np.ndarray]) -> Backend:
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.trained import load_trained

    from ..pipeline import lower_trained, slayer_spikes

    trained = load_trained(RunFolder.open(run))
    compaction = compact(with_resolution(lower_trained(trained), resolution_of(network)))
    if compaction.network.digest() != network.digest():
        raise NetworkError(f"run {run}: its network is another one than that of the file; export it again")
    return recorded_backend(slayer_spikes(trained, compaction, next(iter(inputs.values()))))
