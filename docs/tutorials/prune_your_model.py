# %% [markdown]
# # Prune the SLAYER model you have
#
# You have a module of lava-dl SLAYER blocks, and weights that work. Here it loses 85 % of its synapses while it is fine-tuned, in your own loop. The
# lines that sdsnn adds are marked with `#`. First the model that stands for yours: trained dense, without sdsnn.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

import sdsnn
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.lava.compat import import_slayer  # lava.lib.dl.slayer, repaired for current Pythons

torch.manual_seed(0)
torch.set_num_threads(1)
slayer = import_slayer()
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.01, "scale_grad": 10}
STEPS = 12


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = slayer.block.cuba.Dense(NEURON, 64, 128, weight_scale=2)
        self.second = slayer.block.cuba.Dense(NEURON, 128, 64, weight_scale=2)
        self.out = slayer.block.cuba.Dense(NEURON, 64, 10, weight_scale=2)

    def forward(self, x):
        return self.out(self.second(self.first(x)))


images, labels = load_digits(return_X_y=True)
x = (torch.rand(len(images), 64, STEPS) < torch.tensor(images / 16)[..., None]).float()
y = torch.tensor(labels)
order = torch.randperm(len(x))
train, test = order[:1400], order[1400:]


def epoch(net, optimiser, after_step=lambda: None):
    net.train()
    for batch in train[torch.randperm(len(train))].split(64):
        reset_state(net)
        loss = torch.nn.functional.cross_entropy(net(x[batch]).sum(-1), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        after_step()


def accuracy(net):
    net.eval()
    reset_state(net)
    with torch.no_grad():
        return (net(x[test]).sum(-1).argmax(1) == y[test]).float().mean().item()


net = Net()
optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(16):
    epoch(net, optimiser)
dense = accuracy(net)
dense_network = sdsnn.lower(net, example=x[:1])
print(f"dense: {dense:.1%} of {len(test)} test digits")

# %% [markdown]
# ## Fine-tune and prune
#
# The `Developer` adds masks to the blocks. After each step of the optimiser it keeps the score of every synapse, and at the end of an epoch it removes
# some and grows others back. A smaller learning rate keeps what the model has learned.

# %%
EPOCHS = 16
optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
config = sdsnn.DevelopmentConfig(target_sparsity=0.85, pruning=False, regeneration=False)  #
developer = sdsnn.Developer(net, x[:1], EPOCHS, config)  #
curve = []
for _ in range(EPOCHS):
    epoch(net, optimiser, developer.step)  #
    developer.epoch_end(optimiser)  #
    curve.append((accuracy(net), developer.connection_sparsity()))
print(f"sparse: {curve[-1][0]:.1%}, {curve[-1][1]:.1%} of the synapses absent")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(100 * np.array(curve), label=["accuracy on the test digits", "synapses absent"])
left.axhline(100 * dense, color="grey", linestyle="--", linewidth=1, label="dense")
left.set(xlabel="epoch of fine-tuning", ylabel="%", ylim=(0, 102))
left.legend(frameon=False, loc="lower right")
mask = developer.layers[0].synapses[0].mask.squeeze()
right.imshow(mask.reshape(len(mask), -1).sum(0).reshape(8, 8), cmap="viridis")
right.set(title="synapses that each pixel still has", xticks=[], yticks=[])
figure.colorbar(right.images[0], ax=right)
plt.show()

# %% [markdown]
# The network kept synapses where the digits differ; pixels at the border are always empty and lost theirs.
#
# ## The network of integers
#
# `lower` reads the module, and `compact` leaves out every unit that can no longer change the output. The spikes stay the same, bin by bin.

# %%
masked = sdsnn.lower(net, example=x[:1])
small = sdsnn.compact(masked).network
for name, population in small.populations.items():
    print(f"{name}: {masked.populations[name].size} units, {population.size} after compaction")
spikes = x[test[:16]].movedim(-1, 1).numpy().astype("uint8")  # (samples, steps, channels)
certificate = sdsnn.verify(small, spikes, ["engine", "nir", "netx file"])
for comparison in certificate.comparisons:
    print(f"{comparison.backend:10} {comparison.bins} bins, {comparison.mismatches} mismatches")

# %% [markdown]
# Write the network to files: NIR for simulators, netx for Lava. You can then use `sdsnn check pruned.nir`, `sdsnn simulate pruned.nir` and
# `sdsnn place pruned.nir`.

# %%
folder = Path(tempfile.gettempdir())
for name in ("pruned.nir", "pruned.net"):
    sdsnn.write(small, folder / name)
    print(f"{name}: {(folder / name).stat().st_size / 1024:.0f} KiB")

# %% [markdown]
# What the chip saves, dense and sparse on the same spikes:

# %%
for name, network in (("dense", dense_network), ("sparse", small)):
    operations = sdsnn.simulate(network, spikes).synaptic_operations()
    kibibytes = sdsnn.place(network, "loihi2").synapse_bits / 8 / 1024
    print(f"{name}: {operations:,.0f} synaptic operations per digit, {kibibytes:.1f} KiB of synapses")

# %% [markdown]
# To start from a file instead of a module, use `sdsnn train RECIPE --init theirs.net`. It takes a `.net`, a `.nir` or a state_dict
# ([training](../training.md)).
