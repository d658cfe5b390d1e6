"""What a Network means: a plain, slow, obvious simulator in numpy. The oracle of every other back end.

One step, for every population at once, from what was sent in earlier steps:

    a  = sum of weights times values of the events that arrive now, times 2**weight_exp
                                                                (one step of transport, plus the delay)

and then the step of its neuron model, in `neurons/steps.py`.
"""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .activity import Activity, event_dtype, prepare_inputs
from .network import Network, Synapses
from .neurons.resets import check_resets, depths, resets_at, zeroed
from .neurons.steps import STEPS


class _Wires:
    """One projection: a sparse matrix per delay, and the sums that are still on their way."""

    def __init__(self, synapses: Synapses, n_pre: int, n_post: int, n_samples: int) -> None:
        delay = np.broadcast_to(synapses.delay, synapses.weight.shape)
        self.by_delay: dict[int, sparse.csr_matrix] = {}
        for d in np.unique(delay).tolist():
            chosen = delay == d
            entries = (synapses.weight[chosen].astype(np.int64), (synapses.post[chosen], synapses.pre[chosen]))
            self.by_delay[d] = sparse.csr_matrix(entries, shape=(n_post, n_pre))
        self.weight_exp, self.imaginary = synapses.weight_exp, synapses.imaginary
        self.fan_out = np.bincount(synapses.pre, minlength=n_pre)
        self.on_the_way = np.zeros((1 + max(self.by_delay, default=0), n_samples, n_post), np.int64)

    def arrive(self) -> npt.NDArray[np.int64]:
        """Take the sums that arrive in this step."""
        now: npt.NDArray[np.int64] = self.on_the_way[0] << self.weight_exp
        self.on_the_way = np.concatenate([self.on_the_way[1:], np.zeros_like(now)[None]])
        return now

    def send(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Put the spikes of this step, (n_samples, n_pre), on their way; return synaptic events per sample."""
        for d, matrix in self.by_delay.items():
            self.on_the_way[d] += (matrix @ values.T).T
        return np.asarray((values != 0).astype(np.int64) @ self.fan_out)


def run(
    network: Network,
    spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    n_steps: int | None = None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
    reset_every: int = 0,
    reset_offset: int = 1,
) -> Activity:
    """Simulate a network, all samples from the initial state.

    Args:
        network: The network.
        spikes: (steps, *shape) or (samples, steps, *shape) of integers, the node's axes flattened or not; a mapping by
            input name where there are several inputs.
        n_steps: Steps to simulate, default those of `spikes`; fewer cut the input, more pad it with silence.
        record: Nodes whose spikes to keep, default all.
        record_state: Populations whose current and voltage to keep, in state units.
        reset_every: Steps between two resets of all neurons within a sample; 0: none. States go to 0, what is on its
            way stays (netx's reset_interval).
        reset_offset: The neurons of layer k (from 0) are reset at the start of the steps reset_offset + k, then every
            `reset_every` steps. 1 is right where input begins at step 0: it reaches layer k at step 1 + k.

    Returns:
        The counts and synaptic events of every node and projection, and what was recorded.

    Raises:
        NetworkError: The data do not match the network.

    Examples:
        >>> from sdsnn_core.network import Input, Output, Population
        >>> nodes = {"input": Input((1,)), "a": Population((1,), 4096, 2048, 15), "output": Output("a")}
        >>> network = Network(nodes, {"w": Synapses.from_dense("input", "a", [[10]])})
        >>> run(network, [[1], [1], [0], [1]]).spikes["a"][0, :, 0]
        array([0, 0, 0, 0], dtype=uint8)
        >>> run(network, np.ones((8, 1)), record_state=["a"]).voltage["a"][0, :4, 0]
        array([  0, 640, 960,   0], dtype=int32)
    """
    inputs, n_samples, length = prepare_inputs(network, spikes, n_steps)
    keep = {*network.inputs, *network.populations} if record is None else set(record)
    neurons = {name: STEPS.for_(node)(node, n_samples) for name, node in network.populations.items()}
    wires = {
        name: _Wires(network.synapses(name), network.size_of(p.source), network.size_of(p.target), n_samples)
        for name, p in network.projections.items()
    }
    emitted = {
        name: np.zeros((n_samples, length, network.size_of(name)), event_dtype(network.nodes[name])) for name in neurons
    }
    emitted.update(inputs)
    events = {name: np.zeros((n_samples, length), np.int64) for name in wires}
    currents = {name: np.zeros(emitted[name].shape, np.int32) for name in record_state}
    voltages = {name: np.zeros(emitted[name].shape, np.int32) for name in record_state}
    check_resets(reset_every)
    depth = depths(network)
    for t in range(length):
        for name, node in network.populations.items():
            if resets_at(t, depth[name], reset_every, reset_offset):
                neurons[name] = STEPS.for_(node)(zeroed(node), n_samples)
        arriving = {name: np.zeros((2, *state.current.shape), np.int64) for name, state in neurons.items()}
        for name, p in network.projections.items():
            arriving[p.target][int(wires[name].imaginary)] += wires[name].arrive()
        for name, state in neurons.items():
            emitted[name][:, t] = state.step(*arriving[name])
            if name in currents:
                currents[name][:, t], voltages[name][:, t] = state.current, state.voltage
        for name, p in network.projections.items():
            events[name][:, t] = wires[name].send(emitted[p.source][:, t].astype(np.int64))
    fired = {name: (train != 0) for name, train in emitted.items()}
    return Activity(
        n_steps=length,
        n_samples=n_samples,
        counts={name: train.sum(axis=1, dtype=np.int64) for name, train in fired.items()},
        spikes_per_step={name: train.sum(axis=2, dtype=np.int64) for name, train in fired.items()},
        events=events,
        spikes={name: train for name, train in emitted.items() if name in keep},
        current=currents,
        voltage=voltages,
    )
