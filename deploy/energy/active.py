"""Active neuron updates, computed from the spikes that came in.

A neuron update is **active** in a step when the neuron receives at least one synaptic event in it, or spikes, or has
a current u other than 0 after the step's update, or has a bias. Otherwise it is inactive. Davies 2018 prices both and
defines neither; this is our definition. The current is not reset by a spike, so it follows from the spikes that came
in, and an Activity that recorded them gives the exact number; otherwise only bounds are known.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.activity import Activity
from sdsnn_core.arithmetic import decay, int32, wrap_current
from sdsnn_core.network import CubaLif, Network, Projection

_CHUNK = 20_000_000  # state values replayed at once, to bound memory


def active_updates(
    network: Network, activity: Activity, population: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (size,) int64 least and greatest number of active updates of each neuron, over all samples and steps.

    Both are equal where the spikes of every source of `population` were recorded.
    """
    node = network.populations[population]
    if not isinstance(node, CubaLif):
        # Nobody has published when a chip counts an update of these neurons as active: at least when they send.
        everything = activity.n_steps * activity.n_samples
        return activity.counts[population].sum(axis=0).astype(np.int64), np.full(node.size, everything, np.int64)
    biased = node.per_neuron("bias") != 0
    everything = activity.n_steps * activity.n_samples
    incoming = [p for _, p in network.incoming(population)]
    if any(p.source not in activity.spikes for p in incoming):
        low = np.where(biased, everything, activity.counts[population].sum(axis=0))
        return low.astype(np.int64), np.full(node.size, everything, np.int64)
    parts = [part for p in incoming for part in _by_delay(network, p)]
    rate = node.per_neuron("current_decay")
    total = np.zeros(node.size, np.int64)
    size = max(1, _CHUNK // (activity.n_steps * node.size))
    for start in range(0, activity.n_samples, size):
        chunk = slice(start, start + size)
        n = min(size, activity.n_samples - start)
        arriving = np.zeros((n, activity.n_steps, node.size), np.int64)
        awake = np.zeros(arriving.shape, np.bool_)
        for source, delay, weight, one in parts:
            later = slice(1 + delay, None)  # the steps in which these synapses deliver
            steps = max(0, activity.n_steps - 1 - delay)
            spikes = activity.spikes[source][chunk, :steps].reshape(n * steps, weight.shape[0])
            values = sparse.csr_matrix(spikes.astype(np.int64))
            arriving[:, later] += (values @ weight).toarray().reshape(n, steps, node.size)
            awake[:, later] |= (values @ one).toarray().reshape(n, steps, node.size) != 0
        current = np.zeros((n, node.size), np.int64)
        for t in range(activity.n_steps):
            current = int32(wrap_current(int32(decay(current, rate) + int32(arriving[:, t] << 6))))
            awake[:, t] |= current != 0
        if population in activity.spikes:
            # A neuron can spike by its voltage alone, long after its current has decayed.
            awake |= activity.spikes[population][chunk] != 0
        total += awake.sum(axis=(0, 1))
    low = np.where(biased, everything, total)
    # With u = 0, no event and no bias the voltage only decays, so it crosses the threshold only from its start value.
    if population in activity.spikes or not node.per_neuron("initial_voltage").any():
        return low, low
    return low, np.minimum(low + activity.counts[population].sum(axis=0), everything)


def _by_delay(network: Network, p: Projection) -> Iterator[tuple[str, int, Any, Any]]:
    """Yield (source, delay, weights, ones) of the synapses of each delay, as sparse (source, target) matrices."""
    synapses = p.synapses(network.shape_of(p.source))
    delays = np.broadcast_to(synapses.delay, synapses.weight.shape)
    for delay in np.unique(delays).tolist():
        chosen = delays == delay
        weight = synapses.weight[chosen].astype(np.int64) << synapses.weight_exp
        where, shape = (
            (synapses.pre[chosen], synapses.post[chosen]),
            (network.size_of(p.source), network.size_of(p.target)),
        )
        matrices = (sparse.csr_matrix((values, where), shape=shape) for values in (weight, np.ones_like(weight)))
        yield (p.source, delay, *matrices)
