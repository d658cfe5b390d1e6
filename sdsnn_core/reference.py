"""What a Network means: a plain, slow, obvious simulator in numpy. The oracle of every other back end.

One step, for every population at once, from the spikes of earlier steps:

    a  = sum of weights of the spikes that arrive now, times 2**weight_exp      (one step of transport, plus the delay)
    u  = decay(u, current_decay) + 64 a                                          wraps at 24 bits
    v  = decay(v, voltage_decay) + u + bias * 2**bias_exp                        saturates at +-(2**23 - 1)
    spike where v > 64 * threshold, and there v = 0; u is kept

    decay(x, d) = sign(x) * (|x| * (4096 - d) >> 12)                             towards zero

This is lava.proc.lif PyLifModelBitAcc behind lava.proc.dense / sparse PyDenseModelBitAcc (lava-nc 0.10.0), which
model the chip: Lava's wrap subtracts 2**24 once, and its accumulators are 32-bit integers. Both are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .activity import Activity, prepare_inputs
from .arithmetic import decay, int32, saturate, wrap_current
from .network import Network, Population, Synapses
from .rules import Rules


class _Neurons:
    """State of one population for a batch of samples."""

    def __init__(self, population: Population, n_samples: int) -> None:
        self.current_decay = population.per_neuron("current_decay")
        self.voltage_decay = population.per_neuron("voltage_decay")
        self.threshold = population.per_neuron("threshold") * 64
        self.bias = population.per_neuron("bias") << population.bias_exp
        self.current = np.zeros((n_samples, population.size), np.int64)
        self.voltage = np.tile(population.per_neuron("initial_voltage"), (n_samples, 1))

    def step(self, arriving: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Advance by one step; arriving: (n_samples, size) int64 sum of weights. Returns the spikes."""
        current = int32(decay(self.current, self.current_decay) + int32(arriving << 6))
        self.current = int32(wrap_current(current))
        voltage = int32(decay(self.voltage, self.voltage_decay) + self.current + self.bias)
        self.voltage = saturate(voltage)
        spike = self.voltage > self.threshold
        self.voltage[spike] = 0
        return spike


# type of neurons -> (neurons, n_samples) -> their state, with `step(arriving)`, `current` and `voltage`
NEURONS: Rules[type[_Neurons]] = Rules("reference: neurons", {Population: _Neurons})


class _Wires:
    """One projection: a sparse matrix per delay, and the sums that are still on their way."""

    def __init__(self, synapses: Synapses, n_pre: int, n_post: int, n_samples: int) -> None:
        delay = np.broadcast_to(synapses.delay, synapses.weight.shape)
        self.by_delay: dict[int, sparse.csr_matrix] = {}
        for d in np.unique(delay).tolist():
            here = delay == d
            entries = (synapses.weight[here].astype(np.int64), (synapses.post[here], synapses.pre[here]))
            self.by_delay[d] = sparse.csr_matrix(entries, shape=(n_post, n_pre))
        self.weight_exp = synapses.weight_exp
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
) -> Activity:
    """Simulate a network, all samples from the initial state.

    Args:
        network: The network.
        spikes: (steps, *shape) or (samples, steps, *shape) of integers, the node's axes flattened or not; a mapping by
            input name where there are several inputs.
        n_steps: Steps to simulate, default those of `spikes`; fewer cut the input, more pad it with silence.
        record: Nodes whose spikes to keep, default all.
        record_state: Populations whose current and voltage to keep, in state units.

    Returns:
        The counts and synaptic events of every node and projection, and what was recorded.

    Raises:
        NetworkError: The data do not match the network.

    Examples:
        >>> from sdsnn_core.network import Input, Output
        >>> nodes = {"input": Input((1,)), "a": Population((1,), 4096, 2048, 15), "output": Output("a")}
        >>> network = Network(nodes, {"w": Synapses.from_dense("input", "a", [[10]])})
        >>> run(network, [[1], [1], [0], [1]]).spikes["a"][0, :, 0]
        array([0, 0, 0, 0], dtype=uint8)
        >>> run(network, np.ones((8, 1)), record_state=["a"]).voltage["a"][0, :4, 0]
        array([  0, 640, 960,   0], dtype=int32)
    """
    inputs, n_samples, length = prepare_inputs(network, spikes, n_steps)
    keep = {*network.inputs, *network.populations} if record is None else set(record)
    neurons = {name: NEURONS.for_(node)(node, n_samples) for name, node in network.populations.items()}
    wires = {
        name: _Wires(network.synapses(name), network.size_of(p.source), network.size_of(p.target), n_samples)
        for name, p in network.projections.items()
    }
    emitted = {name: np.zeros((n_samples, length, network.size_of(name)), np.uint8) for name in neurons}
    emitted.update(inputs)
    events = {name: np.zeros((n_samples, length), np.int64) for name in wires}
    currents = {name: np.zeros(emitted[name].shape, np.int32) for name in record_state}
    voltages = {name: np.zeros(emitted[name].shape, np.int32) for name in record_state}
    for t in range(length):
        arriving = {name: np.zeros_like(state.current) for name, state in neurons.items()}
        for name, p in network.projections.items():
            arriving[p.target] += wires[name].arrive()
        for name, state in neurons.items():
            emitted[name][:, t] = state.step(arriving[name])
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
