# %% [markdown]
# # From data to a chip
#
# Train a spiking network on handwritten digits, remove most of its synapses while it learns, and see what a Loihi 2 would need for it. This takes
# about a minute on one CPU core.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import sdsnn

run = Path(tempfile.mkdtemp()) / "digits"
settings = ["optimiser.epochs=15", "development.synapse_target=0.8", "threads=1"]
result = sdsnn.train("digits", run, settings=settings)
print(f"epoch {result.best_epoch} chosen on validation, test accuracy {result.test.accuracy:.1%}")

# %% [markdown]
# The run folder holds the configuration, the history and the checkpoints. One line of the history is one epoch:

# %%
history = result.folder.history()
epochs = [line["epoch"] for line in history]
figure, left = plt.subplots(figsize=(7, 3))
left.plot(
    epochs, [100 * line["validation_accuracy"] for line in history], label="validation accuracy", color="tab:blue"
)
left.plot(epochs, [100 * line["connection_sparsity"] for line in history], label="synapses absent", color="tab:orange")
left.set(xlabel="epoch", ylabel="%", ylim=(0, 100))
left.legend(loc="lower right", frameon=False)
plt.show()

# %% [markdown]
# ## The network in integers
#
# `lower` turns the SLAYER blocks into Loihi's integers. It rounds nothing: SLAYER's weights are multiples of 2/64 already. `compact` removes the
# units that cannot change the output.

# %%
model, data = result.trainer.model, result.trainer.data
network = sdsnn.lower(model, data.shape)
small = sdsnn.compact(network).network
for name, population in small.populations.items():
    print(f"{name}: {network.populations[name].size} units, {population.size} after compaction")
weights = sum(network.n_dense(name) for name in network.projections)
print(f"{weights:,} weights in the matrices, {small.n_synapses():,} synapses stored")

# %% [markdown]
# ## The same spikes everywhere
#
# `verify` runs the network on every back end that is installed, Lava's fixed-point processes among them, and compares each bin.

# %%
spikes = data.test.spikes[:16]
certificate = sdsnn.verify(small, spikes, ["engine", "nir", "netx file", "lava"])
for comparison in certificate.comparisons:
    print(f"{comparison.backend:10} {comparison.bins} bins, {comparison.mismatches} mismatches")

# %%
activity = sdsnn.simulate(small, data.test.spikes[:1])
names = list(small.populations)
figure, axes = plt.subplots(len(names), 1, figsize=(7, 4), sharex=True)
for axis, name in zip(axes, names, strict=True):
    steps, units = np.nonzero(activity.spikes[name][0])
    axis.scatter(steps, units, s=4, color="black")
    axis.set(ylabel=name)
axes[-1].set(xlabel="step")
plt.show()

# %% [markdown]
# ## The chip
#
# `place` assigns every neuron to a core and counts the memory. `price` multiplies the counted operations by published energies.
# A price that nobody
# published is left out, and the total then says "partial".

# %%
activity = sdsnn.simulate(small, data.test.spikes)
placement = sdsnn.place(small, "loihi2")
energy = sdsnn.price(activity, small, placement=placement)
print(f"{placement.n_cores} core, {placement.synapse_bits / 8 / 1024:.1f} KiB of synapses")
print(
    f"{1e6 * energy.range_j.low:.2f} to {1e6 * energy.range_j.high:.2f} uJ per inference, {energy.label}, {energy.wording}"
)

# %% [markdown]
# Write the network for other tools. `sdsnn export` does all of this for a run folder and adds a certificate.

# %%
sdsnn.write(small, run / "small.nir")
sdsnn.write(small, run / "small.net")
assert sdsnn.read(run / "small.nir").digest() == small.digest()
