# %% [markdown]
# # Placement, energy and what binds
#
# A core of a neuromorphic chip has several limits: neurons, synaptic memory, axons. The one that fills first decides how many cores a network
# needs. This page finds it for a network that you describe by its sizes.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np

import sdsnn
from sdsnn.deploy.placement.chip import load_chip
from sdsnn.deploy.placement.explain import explain

rng = np.random.default_rng(0)


def layered(sizes, density):
    """Return a network of dense layers with random weights, of which a share `density` is present."""
    nodes = {"in": sdsnn.Input((sizes[0],))}
    projections = {}
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        source = "in" if i == 0 else f"layer{i - 1}"
        nodes[f"layer{i}"] = sdsnn.Population((after,), 1024, 128, 64 * 20)
        present = rng.random((after, before)) < density
        weights = np.where(present, rng.integers(-100, 101, (after, before)), 0)
        projections[f"w{i}"] = sdsnn.Synapses.from_dense(source, f"layer{i}", weights)
    nodes["out"] = sdsnn.Output(f"layer{len(sizes) - 2}")
    return sdsnn.Network(nodes, projections)


dense = layered((784, 1024, 512, 10), 1.0)
sparse = layered((784, 1024, 512, 10), 0.1)
for name, network in (("dense", dense), ("a tenth of the synapses", sparse)):
    placement = sdsnn.place(network, "loihi2")
    print(f"{name}: {placement.n_cores} cores; no placement needs fewer than {placement.lower_bound}")

# %% [markdown]
# ## The limit that binds
#
# `load` is the mean use of a resource as a share of its limit. The resource with the highest load binds.

# %%
placement = sdsnn.place(sparse, "loihi2")
load = placement.load
figure, axis = plt.subplots(figsize=(7, 2.5))
axis.barh(list(load), [100 * share for share in load.values()], color="tab:blue")
axis.set(xlabel="mean use of the limit, %")
axis.invert_yaxis()
plt.show()

# %% [markdown]
# `explain` also places variants of the network and reports which change would save cores. It is what `sdsnn place` prints.

# %%
report = explain(dense, load_chip("loihi2"))
for change in report.changes:
    print(f"{change.title}: {'does not fit' if change.cores is None else f'{change.cores} cores'}")

# %% [markdown]
# ## Energy follows the spikes
#
# Energy is counted, not estimated from sizes: each spike that crosses a stored synapse is one synaptic operation. Half the input rate means about half the
# operations of the first layer.

# %%
for rate in (0.02, 0.05, 0.1):
    spikes = (rng.random((4, 50, 784)) < rate).astype(np.uint8)
    activity = sdsnn.simulate(sparse, spikes)
    energy = sdsnn.price(activity, sparse, placement=placement)
    operations = sum(int(counts.sum()) for counts in activity.events.values()) / len(spikes)
    span = energy.range_j
    print(
        f"input rate {rate:.0%}: {operations:,.0f} synaptic operations, {1e6 * span.low:.1f} to {1e6 * span.high:.1f} uJ ({energy.label})"
    )

# %% [markdown]
# Every price has a source and a grade. These are the price lists for chips, with the total that each gives:

# %%
for priced in energy.of_chips:
    print(f"{priced.prices.name}: {1e6 * priced.total.low:.2f} to {1e6 * priced.total.high:.2f} uJ")
