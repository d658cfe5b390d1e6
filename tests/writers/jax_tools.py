"""Build small networks in a tool on JAX, write them as NIR with its own exporter, and run them.

    python jax_tools.py TOOL FOLDER

Files as torch_tools.py writes them. Imports nothing of sdsnn.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

N_SAMPLES, N_STEPS = 3, 50


def spikes(shape, seed):
    """Draw (samples, steps, *shape) binary spikes."""
    return (np.random.default_rng(seed).random((N_SAMPLES, N_STEPS, *shape)) < 0.25).astype(np.float32)


def weights(n_in, n_out, seed):
    """Draw normal weights of mean 0.4 and deviation 1, over the root of the fan-in."""
    return ((np.random.default_rng(100 + seed).standard_normal((n_in, n_out)) + 0.4) * 1.5 / n_in**0.5).astype("f4")


def save(folder, name, graph, x, y):
    """Write one case."""
    import nir

    nir.write(folder / f"{name}.nir", graph)
    np.save(folder / f"{name}.npy", x.astype(np.uint8))
    np.save(folder / f"{name}.out.npy", np.asarray(y))


def spyx(folder):
    """LIF, CubaLIF and a recurrent LIF; all subtract their threshold, a step late. A step is one unit of time."""
    import spyx.nn as snn
    from flax import nnx
    from spyx.nir import to_nir

    rngs, x = nnx.Rngs(0), spikes((12,), 0)
    neurons = {
        "lif": snn.LIF((16,), beta=0.9, rngs=rngs),
        "cuba": snn.CuBaLIF((16,), alpha=0.5, beta=0.8, rngs=rngs),
        "if": snn.IF((16,)),
        "loop": snn.RLIF((16,), beta=0.9, rngs=rngs),
    }
    for seed, (name, layer) in enumerate(neurons.items()):
        linear = nnx.Linear(12, 16, use_bias=False, rngs=rngs)
        linear.kernel[...] = jnp.array(weights(12, 16, seed))
        model = snn.Sequential(linear, layer)
        y, _ = snn.run(model, jnp.array(x.transpose(1, 0, 2)))
        graph = to_nir(model, {"input": np.array([12])}, {"output": np.array([16])}, dt=1)
        save(folder, name, graph, x, np.asarray(y).transpose(1, 0, 2))


def jaxsnn(folder):
    """CubaLIF, event by event with exact solutions between events; input spikes at whole steps of 1 ms.

    "cuba": thresholds that nothing reaches, and the voltages at the end of each step. "default": spikes, by the step in
    which they fall.
    """
    import jax
    from jaxsnn.event import to_nir
    from jaxsnn.event.functional.lif.dynamics import lif_exponential_flow
    from jaxsnn.event.modules import LIF, LIFParameters, Linear, Source
    from jaxsnn.event.states import LIFState
    from jaxsnn.event.topology import Topology
    from jaxsnn.event.types import Spike

    dt, x, drawn = 1e-3, spikes((12,), 0), weights(12, 16, 0)
    most = int(x.sum(axis=(1, 2)).max())

    def network(threshold, n_events, t_max):
        parameters = LIFParameters(v_th=threshold, tau_mem=1e-2, tau_syn=5e-3)
        topology = Topology(t_max=t_max)
        source = Source(12)
        source.n_steps = n_events
        topology.add({"in": source, "w": Linear(pre_weights=jnp.array(drawn)), "lif": LIF(16, n_events, parameters)})
        topology.connect([("in", "w"), ("w", "lif")])
        initial, apply = topology.done()
        state = initial(jax.random.PRNGKey(0))
        return to_nir(topology, state, output=["lif"]), state, apply

    flow = lif_exponential_flow(5e-3, 1e-2, 0.0)
    voltages = np.zeros((*x.shape[:2], 16))
    for sample, train in enumerate(x):
        state = LIFState(V=jnp.zeros(16), I=jnp.zeros(16))
        for t, row in enumerate(train):
            state.I = state.I + row @ drawn
            state = flow(state, dt)
            voltages[sample, t] = state.V
    graph, *_ = network(1000.0, 10, dt)
    save(folder, "cuba", graph, x, voltages)

    graph, state, apply = network(0.6, most + 600, N_STEPS * dt)
    sample, t, channel = (x > 0).nonzero()
    out = np.zeros((*x.shape[:2], 16))
    for i in range(N_SAMPLES):
        times = np.full(most, np.inf, "f4")
        channels = np.full(most, -1)
        count = int((sample == i).sum())
        times[:count], channels[:count] = t[sample == i] * dt, channel[sample == i]
        given = Spike(
            time=jnp.array(times[None]), idx=jnp.array(channels[None]), current=jnp.zeros((1, most)),
            layer_idx=jnp.zeros((1, most), int), internal=jnp.ones((1, most), bool),
        )  # fmt: skip
        answer = apply({"in": given}, state)["lif"]
        events = zip(*(np.asarray(part[0]) for part in (answer.time, answer.idx, answer.internal)), strict=True)
        for time, neuron, internal in events:
            if internal and neuron >= 0 and time < N_STEPS * dt:
                out[i, int(time / dt), neuron] += 1
    save(folder, "default", graph, x, out)


if __name__ == "__main__":
    {"spyx": spyx, "jaxsnn": jaxsnn}[sys.argv[1]](Path(sys.argv[2]))
