"""How an output is read: by its spikes or by its voltage, and the threshold of what never fires."""

from dataclasses import replace
from typing import Literal

import numpy as np

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import NEVER_FIRES, CubaLif, Network, Node, RefractoryLif
from sdsnn_core.reachability import can_fire

Signal = Literal["spikes", "voltage"]


def with_readout(network: Network, signal: Signal) -> Network:
    """Return the network with outputs that are read by `signal`.

    Neurons that are read by their voltage never fire: those that could reach their threshold get one that is out of
    reach. The others keep theirs.
    """
    nodes: dict[str, Node] = dict(network.nodes)
    fires = can_fire(network) if signal == "voltage" else {}
    for name, output in network.outputs.items():
        nodes[name] = replace(output, signal=signal)
        source = network.populations[output.source]
        if signal == "voltage" and isinstance(source, CubaLif | RefractoryLif) and fires[output.source].any():
            if isinstance(source, RefractoryLif):  # what never fires needs no period
                source = CubaLif(**{key: getattr(source, key) for key in ("shape", "bias_exp", *CubaLif.ranges)})
            kept = np.broadcast_to(source.threshold, source.shape)
            threshold = np.where(fires[output.source].reshape(source.shape), NEVER_FIRES, kept)
            nodes[output.source] = replace(source, threshold=threshold)
    return replace(network, nodes=nodes)


def voltage_where_silent(network: Network) -> Network:
    """Return the network with outputs that no input can make fire read by their voltage."""
    fires = can_fire(network)
    silent = {name: output for name, output in network.outputs.items() if not fires[output.source].any()}
    nodes = {name: replace(output, signal="voltage") for name, output in silent.items()}
    return replace(network, nodes={**network.nodes, **nodes}) if nodes else network


def with_readout_threshold(network: Network, threshold: int) -> Network:
    """Return the network with `threshold` for neurons that never fire, which has fewer bits than NEVER_FIRES.

    Raises NetworkError where the threshold could be reached.
    """
    if not 0 < threshold < NEVER_FIRES:
        raise NetworkError(f"readout threshold: expected 1..{NEVER_FIRES - 1}, got {threshold}")
    nodes: dict[str, Node] = dict(network.nodes)
    silent = {
        name: p for name, p in network.populations.items() if type(p) is CubaLif and (p.threshold == NEVER_FIRES).any()
    }
    for name, population in silent.items():
        lower = np.where(population.threshold == NEVER_FIRES, threshold, population.threshold)
        nodes[name] = replace(population, threshold=lower)
    lowered = replace(network, nodes=nodes)
    fires, fired = can_fire(lowered), can_fire(network)
    for name, population in silent.items():
        if reached := int((fires[name] & ~fired[name]).sum()):
            raise NetworkError(
                f"population {name!r}: expected a drive that stays below a threshold of {threshold}, got "
                f"{reached} of {population.size} neurons that could reach it"
            )
    return lowered
