"""The order in which populations are computed: strongly connected components, upstream ones first."""

from graphlib import TopologicalSorter

import numpy as np
from scipy import sparse

from sdsnn_core.network import Network


def components(network: Network) -> list[list[str]]:
    """Return the populations in groups, each connected in a circle, every group after those that feed it.

    A group of one population without a projection to itself is a feed-forward stretch: it can run over many steps
    at once. The others need a loop over steps.
    """
    names = list(network.populations)
    edges = [(names.index(p.source), names.index(p.target)) for p in network.projections.values() if p.source in names]
    ends = np.array(edges, int).reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(len(edges)), tuple(ends)), (len(names), len(names)))
    group = sparse.csgraph.connected_components(graph, connection="strong")[1].tolist()
    feeders: dict[int, set[int]] = {each: set() for each in group}
    for source, target in edges:
        feeders[group[target]] |= {group[source]} - {group[target]}
    order = TopologicalSorter(feeders).static_order()
    return [[name for name, own in zip(names, group, strict=True) if own == each] for each in order]
