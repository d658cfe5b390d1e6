"""Development in a loop of Lightning Fabric: accumulated gradients, and a checkpoint that resumes exactly."""

import sys

import torch
from lightning_fabric import Fabric
from sklearn.datasets import load_digits

import sdsnn
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.lava.compat import import_slayer

EPOCHS, STEPS, PARTS = 8, 8, 2
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.01, "scale_grad": 10}

fabric = Fabric(accelerator="cpu", devices=1)
fabric.launch()
fabric.seed_everything(0)
Dense = import_slayer().block.cuba.Dense
net = torch.nn.Sequential(Dense(NEURON, 64, 64, weight_scale=2), Dense(NEURON, 64, 10, weight_scale=2))
images, labels = load_digits(return_X_y=True)
x = (torch.rand(len(images), 64, STEPS) < torch.tensor(images / 16)[..., None]).float()
y = torch.tensor(labels)

# The developer comes first: it adds the masks, which are part of the model's state.
developer = sdsnn.Developer(net, x[:1], EPOCHS, sdsnn.DevelopmentConfig(target_sparsity=0.8, regeneration=False))
model, optimiser = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=6e-3))
state = {"model": model, "optimiser": optimiser, "developer": developer}
if len(sys.argv) > 1:
    fabric.load(sys.argv[1], state)

for epoch in range(developer.next_epoch, EPOCHS):
    order = torch.randperm(1400, generator=torch.Generator().manual_seed(epoch))
    for batch in order.split(64):
        optimiser.zero_grad()
        with developer.accumulating():
            for part in batch.chunk(PARTS):
                reset_state(net)
                loss = torch.nn.functional.cross_entropy(model(x[part]).sum(-1), y[part], reduction="sum")
                fabric.backward(loss / len(batch))
        optimiser.step()
        developer.step()
    developer.epoch_end(optimiser.optimizer)
    if epoch == EPOCHS // 2:
        fabric.save("half.ckpt", state)

net.eval()
reset_state(net)
with torch.no_grad():
    right = (net(x[1400:]).sum(-1).argmax(1) == y[1400:]).float().mean()
print(f"test accuracy {right:.2%}, {developer.connection_sparsity():.2%} of the synapses absent")
sdsnn.write(sdsnn.compact(sdsnn.lower(net, example=x[:1])).network, "network.nir")
