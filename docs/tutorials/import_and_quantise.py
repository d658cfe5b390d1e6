# %% [markdown]
# # Import a float model through NIR
#
# snnTorch, norse, sinabs and others write NIR: a graph of nodes with float parameters. A chip computes in integers. This page takes such a graph,
# makes a network of integers from it, and measures what that costs.
#
# The model stands for one of snnTorch: two layers of `Leaky` neurons with beta = 0.9 and a reset to zero, trained with a surrogate gradient.

# %%
import logging
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nir
import numpy as np
import torch
from sklearn.datasets import load_digits

import sdsnn

logging.disable(logging.WARNING)
torch.manual_seed(0)
torch.set_num_threads(1)
BETA, STEPS = 0.9, 16


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance):
        ctx.save_for_backward(distance)
        return (distance > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        (distance,) = ctx.saved_tensors
        return gradient / (1 + 10 * distance.abs()) ** 2


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(64, 96), torch.nn.Linear(96, 10)])

    def forward(self, x):  # (samples, steps, 64)
        voltages, out = [0.0, 0.0], []
        for step in x.unbind(1):
            for i, layer in enumerate(self.layers):
                voltage = BETA * voltages[i] + layer(step)
                step = Spike.apply(voltage - 1.0)
                voltages[i] = voltage * (1 - step.detach())
            out.append(step)
        return torch.stack(out, 1)


images, labels = load_digits(return_X_y=True)
x = (torch.rand(len(images), STEPS, 64) < torch.tensor(images / 16)[:, None] * 0.5).float()
y = torch.tensor(labels)
order = torch.randperm(len(x))
train, test = order[:1400], order[1400:]
net = Net()
optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(12):
    for batch in train[torch.randperm(len(train))].split(64):
        loss = torch.nn.functional.cross_entropy(net(x[batch]).sum(1), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
with torch.no_grad():
    floats = net(x[test]).sum(1)
print(f"float model: {(floats.argmax(1) == y[test]).float().mean():.1%} of {len(test)} test digits")

# %% [markdown]
# ## The file
#
# `snntorch.export_nir` would write this graph. Its neurons carry tau = dt / (1 - beta) and r = tau / dt, with a step of 0.1 ms, which NIR does not
# store.

# %%
DT = 1e-4
folder = Path(tempfile.mkdtemp())
nodes = {"input": nir.Input({"input": np.array([64])}), "output": nir.Output({"output": np.array([10])})}
edges, last = [], "input"
for i, layer in enumerate(net.layers):
    size = layer.out_features
    tau = np.full(size, DT / (1 - BETA))
    weight, bias = (parameter.detach().numpy() for parameter in (layer.weight, layer.bias))
    nodes[f"{2 * i}"] = nir.Affine(weight, bias)
    nodes[f"{2 * i + 1}"] = nir.LIF(tau, tau / DT, np.zeros(size), np.ones(size), v_reset=np.zeros(size))
    edges += [(last, f"{2 * i}"), (f"{2 * i}", f"{2 * i + 1}")]
    last = f"{2 * i + 1}"
nir.write(folder / "theirs.nir", nir.NIRGraph(nodes, [*edges, (last, "output")]))

# %% [markdown]
# ## The import
#
# `import_` first compares its reading of the file with a node-by-node run of the graph. Then it chooses a scale for every neuron, based on
# the spikes that you pass as `calibrate`, and rounds.
# The report says for each population how far weights and thresholds moved, and how its rate changed.

# %%
calibration = x[train[:64]].numpy().astype(np.uint8)
imported = sdsnn.import_(folder / "theirs.nir", dt=DT, calibrate=calibration)
print(f"read as {imported.writer}; {imported.checked:,} bins of the reading compared")
for node in imported.reports:
    print(
        f"{node.name}: {node.neurons} neurons, largest weight error {node.weight_error:.2%}, "
        f"spike rate {node.rate:.3f} (float {node.rate_float:.3f})"
    )

# %% [markdown]
# ## What quantising costs
#
# Every layer of a chip takes one step, so the samples get two silent steps at their end.

# %%
spikes = np.pad(x[test].numpy().astype(np.uint8), ((0, 0), (0, 2), (0, 0)))
activity = sdsnn.simulate(imported.network, spikes)
counts = activity.counts[imported.network.outputs["output"].source]
right = counts.argmax(1) == y[test].numpy()
same = (counts == floats.numpy()).mean()
print(f"integers: {right.mean():.1%}; {same:.1%} of the output counts are those of the float model")

# %%
figure, (left, middle) = plt.subplots(1, 2, figsize=(9, 3.2))
jitter = np.random.default_rng(0).normal(0, 0.12, (2, counts.size))
left.scatter(floats.numpy().ravel() + jitter[0], counts.ravel() + jitter[1], s=3, alpha=0.3)
left.set(xlabel="output spikes, float", ylabel="output spikes, integers")
weight = net.layers[0].weight.detach().numpy().ravel()
[projection] = [p for p in imported.network.projections.values() if p.source in imported.network.inputs]
integers = np.zeros((96, 64))
integers[projection.post, projection.pre] = projection.weight
middle.scatter(weight, integers.ravel(), s=3, alpha=0.3, color="tab:orange")
middle.set(xlabel="float weight of the first layer", ylabel="integer")
plt.tight_layout()
plt.show()

# %% [markdown]
# The points of each neuron lie on a line with its own slope, because each neuron has its own scale. Its threshold has the same scale. The
# distance from the line is rounding to 8 bits.
#
# The result is a network like any other. Place it, price it, or remove synapses from it with `sdsnn train --init ours.nir`.

# %%
sdsnn.write(imported.network, folder / "ours.nir")
placement = sdsnn.place(imported.network, "loihi2")
energy = sdsnn.price(activity, imported.network, placement=placement)
print(f"{placement.n_cores} core; {1e6 * energy.range_j.low:.2f} to {1e6 * energy.range_j.high:.2f} uJ, {energy.label}")

# %% [markdown]
# On the command line: `sdsnn import theirs.nir --dt 1e-4 --calibrate data.npz`. Tools differ in what their parameters mean and in how neurons reset;
# [formats](../formats.md) lists what is read from whom.
