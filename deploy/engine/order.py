"""The order in which populations are computed: strongly connected components, upstream ones first."""

from __future__ import annotations

from sdsnn_core.network import Network, Population


def components(network: Network) -> list[list[str]]:
    """Return the populations in groups, each connected in a circle, every group after those that feed it.

    A group of one population without a projection to itself is a feed-forward stretch: it can run over many steps
    at once. The others need a loop over steps. (Tarjan 1972, without recursion, on the reversed graph.)
    """
    feeders = {name: [] for name in network.populations}  # type: dict[str, list[str]]
    for projection in network.projections.values():
        if isinstance(network.nodes[projection.source], Population):
            feeders[projection.target].append(projection.source)
    groups: list[list[str]] = []
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    is_open: set[str] = set()
    for root in feeders:
        if root in number:
            continue
        path = [(root, iter(feeders[root]))]
        number[root] = low[root] = len(number)
        open_nodes.append(root)
        is_open.add(root)
        while path:
            name, rest = path[-1]
            for feeder in rest:
                if feeder not in number:
                    number[feeder] = low[feeder] = len(number)
                    open_nodes.append(feeder)
                    is_open.add(feeder)
                    path.append((feeder, iter(feeders[feeder])))
                    break
                if feeder in is_open:
                    low[name] = min(low[name], number[feeder])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == number[name]:
                    group: list[str] = []
                    while not group or group[-1] != name:
                        group.append(open_nodes.pop())
                        is_open.discard(group[-1])
                    groups.append(group[::-1])
    return groups
