"""Development under the Trainer of Lightning, as a callback whose state is in Lightning's checkpoints."""

import sys

import lightning
import torch
from sklearn.datasets import load_digits

import sdsnn
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.lava.compat import import_slayer

EPOCHS, STEPS = 8, 8
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1, "tau_grad": 0.01, "scale_grad": 10}


class Develop(lightning.Callback):
    def __init__(self, example, n_epochs, config):
        self.arguments = example, n_epochs, config

    def setup(self, trainer, module, stage):  # before a checkpoint is loaded: masks are part of the model's state
        self.developer = sdsnn.Developer(module.net, *self.arguments)

    def on_train_batch_end(self, trainer, module, *_):
        self.developer.step()

    def on_train_epoch_end(self, trainer, module):
        self.developer.epoch_end(trainer.optimizers[0])

    def state_dict(self):
        return self.developer.state_dict()

    def load_state_dict(self, state):
        self.developer.load_state_dict(state)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        dense = import_slayer().block.cuba.Dense
        self.net = torch.nn.Sequential(dense(NEURON, 64, 64, weight_scale=2), dense(NEURON, 64, 10, weight_scale=2))

    def training_step(self, batch, _):
        reset_state(self.net)
        return torch.nn.functional.cross_entropy(self.net(batch[0]).sum(-1), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=6e-3)


lightning.seed_everything(0, verbose=False)
images, labels = load_digits(return_X_y=True)
x = (torch.rand(len(images), 64, STEPS) < torch.tensor(images / 16)[..., None]).float()
y = torch.tensor(labels)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:1400], y[:1400]), 64, shuffle=False)
develop = Develop(x[:1], EPOCHS, sdsnn.DevelopmentConfig(target_sparsity=0.8, regeneration=False))
module = Module()
keep = lightning.pytorch.callbacks.ModelCheckpoint(".", "epoch{epoch}", save_top_k=-1, auto_insert_metric_name=False)
trainer = lightning.Trainer(
    accelerator="cpu", max_epochs=EPOCHS, callbacks=[develop, keep], logger=False,
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
trainer.fit(module, loader, ckpt_path=sys.argv[1] if len(sys.argv) > 1 else None)

module.eval()
reset_state(module)
with torch.no_grad():
    right = (module.net(x[1400:]).sum(-1).argmax(1) == y[1400:]).float().mean()
print(f"test accuracy {right:.2%}, {develop.developer.connection_sparsity():.2%} of the synapses absent")
sdsnn.write(sdsnn.compact(sdsnn.lower(module.net, example=x[:1])).network, "network.nir")
