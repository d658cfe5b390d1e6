"""Every back end by name: what `simulate`, `verify` and `sdsnn simulate --target` run.

A back end is a function with the signature of `sdsnn_core.reference.run` (`sdsnn_core.backend.Backend`). To add one,
enter it in BACKENDS.
"""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from sdsnn.export.nir_format.writer import write_nir
from sdsnn.export.verify import backends as files
from sdsnn.export.verify.certificate import Certificate
from sdsnn.export.verify.certificate import verify as compare
from sdsnn_core.activity import Activity
from sdsnn_core.backend import Backend, pick
from sdsnn_core.network import Network

from ..engine import run as run_engine
from ..loihi2.target import run_loihi2

BACKENDS: Final[Mapping[str, Backend]] = {"engine": run_engine, **files.BACKENDS, "loihi2": run_loihi2}


def find_backend(name: str) -> Backend:
    """Return the back end called `name`. Raises NetworkError where there is none."""
    return pick(BACKENDS, name)


def simulate(
    network: Network,
    spikes: Any,
    n_steps: int | None = None,
    *,
    backend: str = "engine",
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
) -> Activity:
    """Simulate a network on spikes, by any back end.

    Args:
        network: the network to run.
        spikes: (steps, *shape) or (samples, steps, *shape) integers, 0/1 or up to the input's max_value; the axes of
            the shape may be flattened. A mapping by input name where the network has several inputs.
        n_steps: steps to run. Default: those of the spikes; fewer cut, more pad with silence.
        backend: engine, reference, nir, netx file, netx, lava or loihi2. All give the same spikes.
        record: nodes whose spikes to keep. Default: all.
        record_state: populations whose current and voltage to keep, in state units.

    Returns:
        The Activity: counts per neuron, spikes, and synaptic events per projection; each sample starts from rest.

    Raises:
        NetworkError: the spikes do not match the network, or there is no such back end.
        UnsupportedNode: the back end cannot hold this network.
        MissingDependency: the back end needs a package that is not installed.
        BackendError: the back end failed.

    Examples:
        >>> import numpy as np, sdsnn
        >>> nodes = {"in": sdsnn.Input((2,)), "a": sdsnn.Population((1,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0, 1], [0, 0], [60, 80])})
        >>> activity = sdsnn.simulate(network, np.ones((1, 5, 2), np.uint8))
        >>> activity.spikes["a"][0, :, 0].tolist(), activity.events["w"].sum().item()
        ([0, 1, 1, 1, 1], 10)
    """
    return find_backend(backend)(network, spikes, n_steps, record=record, record_state=record_state)


def verify(
    network: Network, spikes: Any, backends: Collection[str] | Mapping[str, Backend] | None = None
) -> Certificate:
    """Compare back ends with the reference simulator, in every bin of every population.

    Args:
        network: the network to run.
        spikes: (samples, steps, *shape) integers, or a mapping by input name; see `simulate`.
        backends: names (nir, netx file, netx, lava, engine), or a mapping name -> function with the signature of
            `sdsnn_core.reference.run`. Default: every one that is installed and can hold the network.

    Returns:
        The certificate: `verified`, bins, mismatches and the first difference of each back end.

    Raises:
        NetworkError: the spikes do not match the network, or there is no such back end.

    Examples:
        >>> import numpy as np, sdsnn
        >>> nodes = {"in": sdsnn.Input((2,)), "a": sdsnn.Population((1,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0, 1], [0, 0], [60, 80])})
        >>> certificate = sdsnn.verify(network, np.ones((1, 5, 2), np.uint8), backends=["nir", "engine"])
        >>> certificate.verified, certificate.bins
        (True, 10)
    """
    if isinstance(backends, Mapping):
        return compare(network, spikes, backends)
    if backends is not None:
        return compare(network, spikes, {name: find_backend(name) for name in backends})
    with tempfile.TemporaryDirectory(prefix="sdsnn-") as folder:
        nir_file = write_nir(network, Path(folder) / "network.nir")
        netx = files.write_netx_file(network, Path(folder) / "network.net")
        chosen = files.backends_for(nir_file, netx, lava=True, extra={"engine": run_engine})
        return compare(network, spikes, chosen.run, skipped=chosen.skipped)
