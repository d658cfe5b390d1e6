"""Build small networks in a tool on PyTorch, write them as NIR with its own exporter, and run them.

    python torch_tools.py TOOL FOLDER

For every network: FOLDER/NAME.nir, its input NAME.npy (samples, steps, *shape) and the tool's spikes NAME.out.npy
(samples, steps, size). Neurons reset to zero and spike at most once per step, as NIR's LIF does; rockpool, which can
only subtract, is run below its threshold, and writes voltages. Imports nothing of sdsnn.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

N_SAMPLES, N_STEPS = 3, 50
OTHER_RELEASE = 3  # exit status: the tool is installed in a release that writes otherwise


def weights(model, seed, mean=0.4):
    """Fill with normal weights of this mean and deviation 1, over the root of the fan-in; no biases."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            fan_in = module.weight[0].numel()
            drawn = torch.randn(module.weight.shape, generator=generator)
            module.weight.data = (drawn + mean) * 1.5 / fan_in**0.5
            if module.bias is not None:
                module.bias.data.zero_()
    return model


def spikes(shape, seed):
    """Draw (samples, steps, *shape) binary spikes."""
    generator = torch.Generator().manual_seed(100 + seed)
    return (torch.rand((N_SAMPLES, N_STEPS, *shape), generator=generator) < 0.25).float()


def save(folder, name, graph, x, y):
    """Write one case."""
    import nir

    nir.write(folder / f"{name}.nir", graph)
    np.save(folder / f"{name}.npy", x.numpy().astype(np.uint8))
    np.save(folder / f"{name}.out.npy", y.detach().flatten(2).numpy())


def stepwise(model, x):
    """Run a model of single steps with a state that it returns, from rest."""
    state, out = None, []
    for step in x.transpose(0, 1):
        y, state = model(step, state)
        out.append(y)
    return torch.stack(out, 1)


def norse(folder):
    """Boxes (LIF) and cells with a synapse (CubaLIF), time step 1 ms, of releases that write tau times dt."""
    import norse.torch as norse

    if "time_scaling_factor" in inspect.signature(norse.to_nir).parameters:
        sys.exit(OTHER_RELEASE)
    boxes_and_cells(folder)


def norse_2025(folder):
    """The same of releases since May 2025, which write tau in seconds."""
    import norse.torch as norse

    if "time_scaling_factor" not in inspect.signature(norse.to_nir).parameters:
        sys.exit(OTHER_RELEASE)
    boxes_and_cells(folder)


def boxes_and_cells(folder):
    """Write what all releases of norse have."""
    import norse.torch as norse

    def p(kind, size, **of):  # a value for each neuron: nir cannot write single ones
        return kind(v_leak=torch.zeros(size), **{key: torch.full((size,), value) for key, value in of.items()})

    boxes = [
        norse.LIFBoxCell(p(norse.LIFBoxParameters, size, tau_mem_inv=rate, v_th=threshold))
        for size, rate, threshold in ((16, 100.0, 0.2), (8, 20.0, 0.1))
    ]
    model = weights(norse.SequentialState(nn.Linear(12, 16), boxes[0], nn.Linear(16, 8), boxes[1]), 0)
    x = spikes((12,), 0)
    save(folder, "lif", norse.to_nir(model, x[0, :1]), x, stepwise(model, x))
    cell = norse.LIFCell(p(norse.LIFParameters, 16, tau_mem_inv=100.0, tau_syn_inv=200.0, v_th=0.3))
    model = weights(norse.SequentialState(nn.Linear(12, 16), cell), 1)
    save(folder, "cuba", norse.to_nir(model, x[0, :1]), x, stepwise(model, x))


def snntorch(folder):
    """Leaky (LIF), Synaptic (CubaLIF), a convolution with average pooling, a loop as a subgraph."""
    import snntorch as snn
    from snntorch.export_nir import export_to_nir

    def leaky(*shape, **of):
        of = {"beta": torch.full(shape, 0.9), "threshold": torch.ones(shape), **of}
        return snn.Leaky(init_hidden=True, reset_mechanism="zero", reset_delay=False, **of)

    def run(model, x):
        for module in model.modules():
            if isinstance(module, snn.SpikingNeuron):
                module.reset_mem()
                if hasattr(module, "recurrent"):
                    module.spk = torch.zeros(())
        out = [model(step) for step in x.transpose(0, 1)]
        return torch.stack([y[0] if isinstance(y, tuple) else y for y in out], 1)

    x = spikes((12,), 0)
    model = weights(nn.Sequential(nn.Linear(12, 16), leaky(16), nn.Linear(16, 8), leaky(8, output=True)), 0)
    y = run(model, x)
    save(folder, "lif", export_to_nir(model, x[:, 0], ignore_dims=[0]), x, y)
    loop = snn.RLeaky(
        beta=torch.full((16,), 0.9), threshold=torch.ones(16), linear_features=16, reset_mechanism="zero",
        reset_delay=False, init_hidden=True, output=True,
    )  # fmt: skip
    model = weights(nn.Sequential(nn.Linear(12, 16), loop), 3, mean=0.0)
    y = run(model, x)
    save(folder, "loop", export_to_nir(model, x[:, 0], ignore_dims=[0]), x, y)
    plain = snn.Leaky(
        beta=torch.full((16,), 0.9), threshold=torch.full((16,), 0.5), init_hidden=True, output=True
    )  # subtracts, a step late
    model = weights(nn.Sequential(nn.Linear(12, 16), plain), 0)
    y = run(model, x)
    save(folder, "default", export_to_nir(model, x[:, 0], ignore_dims=[0]), x, y)
    image = spikes((2, 8, 8), 1)
    parts = [nn.Conv2d(2, 4, 3, padding=1), leaky(4, 8, 8), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)]
    model = weights(nn.Sequential(*parts, leaky(10, output=True)), 1, mean=0.1)
    y = run(model, image)
    save(folder, "conv", export_to_nir(model, image[:, 0], ignore_dims=[0]), image, y)


def spikingjelly(folder):
    """IF and LIF of both kinds, CUBA, a convolution with average pooling."""
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def run(model, x):
        functional.reset_net(model)
        return torch.stack([model(step) for step in x.transpose(0, 1)], 1)

    x, image = spikes((12,), 0), spikes((2, 8, 8), 1)
    kinds = {
        "if": neuron.IFNode(v_reset=0.0),
        "lif": neuron.LIFNode(tau=10.0, decay_input=False, v_reset=0.0),
        "averaging": neuron.LIFNode(tau=4.0, decay_input=True, v_reset=0.0, v_threshold=0.3),
        "cuba": neuron.CUBALIFNode(c_decay=0.5, v_decay=0.9, v_reset=0.0),
    }
    for seed, (name, node) in enumerate(kinds.items()):
        model = weights(nn.Sequential(nn.Linear(12, 16), node), seed)
        functional.set_step_mode(model, "s")
        y = run(model, x)
        save(folder, name, export_to_nir(model, x[:, 0]), x, y)
    lif = [neuron.LIFNode(tau=8.0, decay_input=False, v_reset=0.0) for _ in range(2)]
    parts = [nn.Conv2d(2, 4, 3, padding=1), lif[0], nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10), lif[1]]
    model = weights(nn.Sequential(*parts), 5, mean=0.1)
    y = run(model, image)
    save(folder, "conv", export_to_nir(model, image[:, 0]), image, y)


def sinabs(folder):
    """LIF and IF, a convolution with sum pooling; single spikes and reset to zero set by hand."""
    import sinabs.layers as sl
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.nir import to_nir

    def layer(kind, *shape, **of):
        of["spike_threshold"] = torch.ones(shape)
        return kind(batch_size=N_SAMPLES, spike_fn=SingleSpike, reset_fn=MembraneReset(), min_v_mem=None, **of)

    def run(model, x):
        for module in model.modules():
            if isinstance(module, sl.StatefulLayer):
                module.reset_states()
        return model(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    x, image = spikes((12,), 0), spikes((2, 8, 8), 1)
    model = nn.Sequential(
        nn.Linear(12, 16), layer(sl.LIFSqueeze, 16, tau_mem=torch.full((16,), 10.0), norm_input=False)
    )
    y = run(weights(model, 0), x)
    save(folder, "lif", to_nir(model, x.flatten(0, 1)), x, y)
    plain = sl.LIFSqueeze(
        batch_size=N_SAMPLES, tau_mem=torch.full((16,), 10.0), spike_threshold=torch.full((16,), 0.05)
    )  # norm_input, several spikes a step, subtraction
    model = nn.Sequential(nn.Linear(12, 16), plain)
    y = run(weights(model, 0), x)
    save(folder, "default", to_nir(model, x.flatten(0, 1)), x, y)
    parts = [
        nn.Conv2d(2, 4, 3, padding=1),
        layer(sl.IAFSqueeze, 4, 8, 8),
        sl.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    ]
    model = weights(nn.Sequential(*parts, layer(sl.IAFSqueeze, 10)), 1, mean=0.0)
    y = run(model, image)
    graph = to_nir(model, image.flatten(0, 1))
    graph.infer_types()  # sinabs leaves shapes open, which nir cannot write
    save(folder, "conv", graph, image, y)


def rockpool(folder):
    """LIF with a synapse and without, dt 1 ms; thresholds that nothing reaches, voltages instead of spikes."""
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFNeuronTorch, LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir

    x = spikes((12,), 0)
    for name, kind, of in (("cuba", LIFTorch, {"tau_syn": 0.01}), ("lif", LIFNeuronTorch, {})):
        torch.manual_seed(0)
        neurons = kind(16, tau_mem=0.02, threshold=1000.0, dt=1e-3, **of)
        model = Sequential(LinearTorch((12, 16), has_bias=False), neurons)
        _, _, record = model(x, record=True)
        (states,) = (part for key, part in record.items() if key.endswith(kind.__name__))
        voltage = next(value for key, value in states.items() if key.lower() == "vmem")
        save(folder, name, to_nir(model, x), x, voltage)
    torch.manual_seed(0)
    neurons = LIFTorch(16, tau_mem=0.02, tau_syn=0.01, threshold=0.2, dt=1e-3)  # subtracts, several spikes a step
    model = Sequential(LinearTorch((12, 16), has_bias=False), neurons)
    y, _, _ = model(x)  # before the export, which runs the model too
    save(folder, "default", to_nir(model, x), x, y)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tools = {
        "norse": norse, "norse-2025": norse_2025, "snntorch": snntorch, "spikingjelly": spikingjelly, "sinabs": sinabs,
        "rockpool": rockpool,
    }  # fmt: skip
    tools[sys.argv[1]](Path(sys.argv[2]))
