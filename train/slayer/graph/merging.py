"""Networks rewritten, with the same spikes, so that SLAYER's blocks can hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Convolution, CubaLif, Network, Node, Projection, Synapses

LARGEST: Final = 2**26
"""Weights of a matrix that a convolution may become: 256 MiB as floats."""

Array = np.ndarray[Any, np.dtype[Any]]


def expressible(network: Network) -> Network:
    """Return a network whose populations SLAYER's blocks can be, with the same spikes; itself where they can already.

    Populations that form a loop become one, whose loop a Recurrent block has. A convolution becomes synapses where a
    Conv block cannot hold it: beside synapses, a loop or another window, in front of a voltage, or with decays of the
    channels' own.

    Raises:
        UnsupportedNode: a loop cannot be merged, or a convolution is too large for a matrix.
    """
    for members in _loops(network):
        network = _merged(network, members)
    projections = {
        name: _as_synapses(network, name, p) if isinstance(p, Convolution) and not _convolves(network, p) else p
        for name, p in network.projections.items()
    }
    if all(projections[name] is p for name, p in network.projections.items()):
        return network
    return replace(network, projections=projections)


def _convolves(network: Network, projection: Convolution) -> bool:
    """Return whether a Conv block can be the target of a convolution."""
    target = projection.target
    if not isinstance(network.populations[target], CubaLif):
        return True  # whether it can is for the rule of its neurons
    incoming = [p for _, p in network.incoming(target)]
    if any(not isinstance(p, Convolution) or p.source == target for p in incoming):
        return False
    if any(port.source == target and port.signal == "voltage" for port in network.outputs.values()):
        return False
    population = network.populations[target]
    if any(np.ptp(getattr(population, key, 0)) for key in ("current_decay", "voltage_decay")):
        return False
    forms = {
        (p.window, p.kernel.shape[2:], network.shape_of(p.source)[1:]) for p in incoming if isinstance(p, Convolution)
    }
    return len(forms) == 1 and (projection.groups == 1 or len(incoming) == 1)


def _as_synapses(network: Network, name: str, projection: Convolution) -> Synapses:
    source, target = network.shape_of(projection.source), network.populations[projection.target]
    if target.size * int(np.prod(source)) > LARGEST:
        raise UnsupportedNode(
            f"projection {name!r}: expected a convolution that stands alone in front of its population, or of at most "
            f"{LARGEST} weights as a matrix, got {target.size * int(np.prod(source))}"
        )
    return projection.synapses(source)


def _loops(network: Network) -> list[list[str]]:
    """Return the sets of two and more populations that reach one another."""
    names = list(network.populations)
    number = {name: at for at, name in enumerate(names)}
    edges = [(number[p.source], number[p.target]) for p in network.projections.values() if p.source in number]
    if not edges:
        return []
    pre, post = zip(*edges, strict=True)
    matrix = coo_array((np.ones(len(edges)), (pre, post)), shape=(len(names), len(names)))
    n_groups, group = connected_components(matrix, connection="strong")
    groups = [[name for name, of in zip(names, group, strict=True) if of == each] for each in range(n_groups)]
    return [members for members in groups if len(members) > 1]


def _merged(network: Network, members: list[str]) -> Network:
    """Return the network with one population for several that form a loop."""
    where = f"the loop over {', '.join(members)}"
    populations = [network.populations[name] for name in members]
    if read := [port.source for port in network.outputs.values() if port.source in members]:
        raise UnsupportedNode(f"{where}: expected populations that no output reads, got {read[0]} read by one")
    if others := [p for p in populations if not isinstance(p, CubaLif)]:
        raise UnsupportedNode(f"{where}: expected CUBA neurons, got {type(others[0]).__name__}")
    exponents = {p.bias_exp for p in populations if isinstance(p, CubaLif) and p.bias.any()} or {6}
    if len(exponents) > 1:
        raise UnsupportedNode(f"{where}: expected biases of one bias_exp, got {', '.join(map(str, sorted(exponents)))}")

    def joined(key: str) -> Array:
        return np.concatenate([p.per_neuron(key) for p in populations])

    keys = ("current_decay", "voltage_decay", "threshold", "bias", "initial_voltage")
    size = sum(p.size for p in populations)
    values = {key: joined(key) for key in keys}
    population = CubaLif((size,), **values, bias_exp=exponents.pop())
    name = _new_name("_".join(members), network)
    first = dict(zip(members, np.cumsum([0, *(p.size for p in populations)]).tolist(), strict=False))
    nodes: dict[str, Node] = {}
    for each, node in network.nodes.items():
        if each == members[0]:
            nodes[name] = population
        elif each not in members:
            nodes[each] = node
    projections: dict[str, Projection] = {}
    loop: list[Synapses] = []
    for key, p in network.projections.items():
        if p.source not in members and p.target not in members:
            projections[key] = p
            continue
        synapses = _as_synapses(network, key, p) if isinstance(p, Convolution) else p
        moved = replace(
            synapses,
            source=name if p.source in members else p.source,
            target=name if p.target in members else p.target,
            pre=synapses.pre + first.get(p.source, 0),
            post=synapses.post + first.get(p.target, 0),
        )
        if moved.source != moved.target:
            projections[key] = moved
            continue
        if not loop:
            projections[key] = moved  # its place in the order
            loop_key = key
        loop.append(moved)
    projections[loop_key] = _one_loop(loop, where)
    return replace(network, nodes=nodes, projections=projections)


def _one_loop(parts: list[Synapses], where: str) -> Synapses:
    """Return projections of a population to itself as one."""
    if any(p.delay.any() for p in parts) or len({p.weight_exp for p in parts}) > 1:
        raise UnsupportedNode(f"{where}: expected synapses without delays and of one weight_exp, got others")

    def joined(of: Callable[[Synapses], Array]) -> Array:
        return np.concatenate([of(p) for p in parts])

    pre, post, weight = joined(lambda p: p.pre), joined(lambda p: p.post), joined(lambda p: p.weight)
    order = np.lexsort((post, pre))
    pre, post, weight = pre[order], post[order], weight[order]
    if len(pre) > 1 and ((np.diff(pre) == 0) & (np.diff(post) == 0)).any():
        raise UnsupportedNode(f"{where}: expected one synapse between two neurons, got several")
    first = parts[0]
    return Synapses(first.source, first.target, pre, post, weight, weight_exp=first.weight_exp)


def _new_name(name: str, network: Network) -> str:
    while name in network.nodes:
        name += "_"
    return name
