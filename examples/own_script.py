"""A script of your own, pruned to 80 %, exported and verified. The lines with a # are those that sdsnn adds.

The model is a class with a skip connection, delays and dropout, and returns spikes and rates. The loop is its own, too.
"""

import torch
from sklearn.datasets import load_digits

import sdsnn  #
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.lava.compat import import_slayer  # lava.lib.dl.slayer, repaired for current Pythons

slayer = import_slayer()
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.01, "scale_grad": 10}
EPOCHS, STEPS = 16, 12


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = slayer.block.cuba.Dense(NEURON, 64, 96, weight_scale=2, delay=True)
        self.second = slayer.block.cuba.Dense(NEURON, 96, 96, weight_scale=2)
        self.out = slayer.block.cuba.Dense(NEURON, 192, 10, weight_scale=2)
        self.drop = torch.nn.Dropout(0.1)

    def forward(self, x):
        a = self.first(x)
        b = self.second(self.drop(a))
        spikes = self.out(torch.cat([a, b], dim=1))  # the skip connection
        return spikes, [a.mean().item(), b.mean().item()]


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = (torch.rand(len(images), 64, STEPS) < torch.tensor(images / 16)[..., None]).float()
y = torch.tensor(labels)
order = torch.randperm(len(x))
train, test = order[:1400], order[1400:]

net = Net()
optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
developer = sdsnn.Developer(net, x[:1], EPOCHS, sdsnn.DevelopmentConfig(target_sparsity=0.8, regeneration=False))  #
for _ in range(EPOCHS):
    net.train()
    for batch in train[torch.randperm(len(train))].split(64):
        reset_state(net)
        spikes, rates = net(x[batch])
        loss = torch.nn.functional.cross_entropy(spikes.sum(-1), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        developer.step()  #
    developer.epoch_end(optimiser)  #

net.eval()
reset_state(net)
with torch.no_grad():
    right = (net(x[test])[0].sum(-1).argmax(1) == y[test]).float().mean()
print(f"test accuracy {right:.1%}, {developer.connection_sparsity():.1%} of the synapses absent")

small = sdsnn.compact(sdsnn.lower(net, example=x[:1])).network  #
sdsnn.write(small, "network.nir")  #
spikes = x[test[:16]].movedim(-1, 1).numpy().astype("uint8")  # (samples, steps, channels)
proof = sdsnn.verify(sdsnn.read("network.nir"), spikes)  #
print(f"network.nir verified: {proof.verified}")
