"""NIR for sinabs: LIF and IF with time constants in steps, as sinabs 2.0 reads them (sinabs/nir.py, layers/lif.py).

sinabs takes tau for a number of steps, decays by exp(-1 / tau), ignores r and spikes from the threshold on; so

    tau = -1 / ln(1 - b)    (b = 1: 2**-7, exp(-128) = 0 in float32; b = 0: 2**30)    v_threshold = theta + 0.1 LSB

It has no current that decays (CubaLIF), no bias and no delays. By default its neurons emit several spikes per step and
subtract the threshold; docs/formats.md lists the settings that change this after loading.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.files import atomic_path
from sdsnn_core.network import DECAY_UNITY, NEVER_FIRES, CubaLif, Network, Population

from .writer import import_nir, to_nir

AT_ONCE: Final = 2.0**-7  # steps: forgets everything
NEVER: Final = 2.0**30  # steps: forgets nothing


def to_sinabs(network: Network) -> Any:
    """Return `network` as a nir.NIRGraph for sinabs.

    Raises UnsupportedNode for a population or projection that sinabs has no layer for, naming it.
    """
    nir = import_nir()
    for name, output in network.outputs.items():
        if output.signal != "spikes":
            raise UnsupportedNode(
                f"output {name!r}: expected spikes for sinabs, got a voltage, which its files do not name"
            )
    for name, projection in network.projections.items():
        if projection.delay.any():
            raise UnsupportedNode(f"projection {name!r}: expected no delays, got some: sinabs has none")
        if projection.source == projection.target:
            raise UnsupportedNode(f"projection {name!r}: expected no loop, got one, which sinabs cannot read from NIR")
    graph = to_nir(network)
    for name, population in network.populations.items():
        graph.nodes[name] = _neurons(nir, graph.nodes[name], population, f"population {name!r}")
    return nir.NIRGraph(graph.nodes, graph.edges, type_check=False)


def _neurons(nir: Any, node: Any, population: Population, where: str) -> Any:
    if not isinstance(population, CubaLif):
        raise UnsupportedNode(f"{where}: expected CUBA neurons for sinabs, got {type(population).__name__}")
    threshold = node.v_threshold
    for name, wrong, words in (
        (
            "current_decay",
            population.current_decay != DECAY_UNITY,
            "4096 (a sinabs neuron read from NIR has no current)",
        ),
        ("bias", population.bias != 0, "0 (sinabs refuses v_leak)"),
        ("initial_voltage", population.initial_voltage != 0, "0 (sinabs starts from 0)"),
        ("threshold", population.threshold == NEVER_FIRES, f"values below {NEVER_FIRES} (sinabs saturates nothing)"),
    ):
        values = getattr(population, name)
        if wrong.any():
            raise UnsupportedNode(f"{where} {name}: expected {words}, got {values.min()}..{values.max()}")
    decay = population.per_neuron("voltage_decay") / DECAY_UNITY
    level = threshold.reshape(-1)
    if (decay == decay[0]).all() and (level == level[0]).all():
        decay, level = decay[:1], level[:1]
    elif threshold.ndim > 1:  # sinabs 2.0.3 takes the truth of a whole array there
        raise UnsupportedNode(f"{where}: expected one for all its neurons, got values that differ within an image")
    zero = np.zeros(decay.shape)
    if not decay.any():
        return nir.IF(r=zero + 1, v_threshold=level, v_reset=zero)
    tau = np.where(decay == 0, NEVER, AT_ONCE)
    between = (decay > 0) & (decay < 1)
    tau[between] = -1 / np.log1p(-decay[between])
    return nir.LIF(tau=tau, r=zero + 1, v_leak=zero, v_threshold=level, v_reset=zero)


def write_sinabs(network: Network, path: str | Path) -> Path:
    """Write `to_sinabs(network)` to `path`, whole or not at all; return the path. Raises FileError besides."""
    import h5py

    graph = to_sinabs(network)
    with atomic_path(path) as temporary:
        import_nir().write(temporary, graph)
        with h5py.File(temporary, "r+") as file:  # sinabs 3.1.3 asks for nir 1.0.4, whose neurons have no v_reset
            for node in file["node/nodes"].values():
                if "v_reset" in node:
                    del node["v_reset"]
    return Path(path)
