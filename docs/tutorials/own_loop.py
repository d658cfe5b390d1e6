# %% [markdown]
# # A training loop of your own
#
# Your data, your loss, your optimiser, your scheduler: sdsnn adds three lines to the loop. The task:
# a bar moves over an event sensor of 12 x 12 pixels in one of eight directions; a network with a recurrent layer names the direction.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import sdsnn
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.lava.compat import import_slayer

torch.manual_seed(0)
torch.set_num_threads(1)
slayer = import_slayer()
SIZE, STEPS, CLASSES = 12, 20, 8


def bars(n, seed):
    """Return events (n, 144, steps) of moving bars, with noise, and the directions."""
    rng = np.random.default_rng(seed)
    direction = rng.integers(CLASSES, size=n)
    angle = direction * 2 * np.pi / CLASSES
    row, column = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    along = np.cos(angle)[:, None, None] * column + np.sin(angle)[:, None, None] * row
    place = np.linspace(-SIZE / 2, SIZE / 2, STEPS) + rng.normal(0, 1, (n, 1))
    bar = np.abs(along[..., None] - place[:, None, None]) < 0.8
    events = (bar & (rng.random(bar.shape) < 0.7)) | (rng.random(bar.shape) < 0.02)
    return torch.tensor(events.reshape(n, -1, STEPS), dtype=torch.float32), torch.tensor(direction)


x, y = bars(800, 0)
x_test, y_test = bars(400, 1)
figure, axes = plt.subplots(1, 4, figsize=(9, 2.4))
for axis, step in zip(axes, (4, 8, 12, 16)):
    axis.imshow(x[0, :, step].reshape(SIZE, SIZE), cmap="gray_r")
    axis.set(title=f"step {step}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Model and loss
#
# Any module of SLAYER blocks will do. The loss is cross entropy on the spike counts plus a price on spikes.

# %%
NEURON = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.1, "tau_grad": 0.03, "scale_grad": 3}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = slayer.block.cuba.Dense(NEURON, SIZE * SIZE, 64, weight_scale=3)
        self.remember = slayer.block.cuba.Recurrent(dict(NEURON), 64, 64, weight_scale=2)  # it changes its dictionary
        self.decide = slayer.block.cuba.Dense(NEURON, 64, CLASSES, weight_scale=3)

    def forward(self, x):
        return self.decide(self.hidden(x))

    def hidden(self, x):
        return self.remember(self.encode(x))


def loss_of(net, batch):
    reset_state(net)
    hidden = net.hidden(x[batch])
    out = net.decide(hidden)
    return torch.nn.functional.cross_entropy(out.sum(-1), y[batch]) + 0.5 * hidden.mean()


def accuracy(net):
    net.eval()
    reset_state(net)
    with torch.no_grad():
        return (net(x_test).sum(-1).argmax(1) == y_test).float().mean().item()


# %% [markdown]
# ## The loop
#
# Gradients of two batches are accumulated before each step of the optimiser; the developer counts optimiser steps, so accumulation needs no
# other change. For checkpoints, save `developer.state_dict()` with those of the model and the optimiser ([development](../development.md)).

# %%
EPOCHS = 16
config = sdsnn.DevelopmentConfig(target_sparsity=0.8, regeneration=False)


def build():
    net = Net()
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    return net, optimiser, scheduler, sdsnn.Developer(net, x[:1], EPOCHS, config)  # adds masks and scores


net, optimiser, scheduler, developer = build()
history = []
for _ in range(EPOCHS):
    net.train()
    for i, batch in enumerate(torch.randperm(len(x)).split(40)):
        (loss_of(net, batch) / 2).backward()
        if i % 2:
            optimiser.step()
            developer.step()  # scores the synapses by weights and gradients
            optimiser.zero_grad()
    scheduler.step()
    records = developer.epoch_end(optimiser)  # removes and grows
    units = [record["alive_units"] for record in records]
    history.append((accuracy(net), developer.connection_sparsity(), *units))
print(f"test accuracy {history[-1][0]:.1%}, {history[-1][1]:.1%} of the synapses absent")

# %%
curves = np.array(history)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(100 * curves[:, :2], label=["accuracy on test data", "synapses absent"])
left.set(xlabel="epoch", ylabel="%")
left.legend(frameon=False)
right.plot(curves[:, 2:], label=["encode", "remember", "decide"])
right.set(xlabel="epoch", ylabel="units alive")
right.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Off to the chip
#
# The recurrent layer becomes a projection from a population to itself, with one more step of transport than SLAYER has outside a loop; `lower` takes
# care of that, and `verify` shows that the spikes agree.

# %%
network = sdsnn.compact(sdsnn.lower(net, example=x[:1])).network
spikes = x_test[:16].movedim(-1, 1).numpy().astype("uint8")
certificate = sdsnn.verify(network, spikes, ["engine", "nir"])
print(f"verified: {certificate.verified}, {certificate.bins:,} bins")
activity = sdsnn.simulate(network, spikes)
placement = sdsnn.place(network, "loihi2")
print(f"{placement.n_cores} core, {activity.synaptic_operations():,.0f} synaptic operations per sample")
