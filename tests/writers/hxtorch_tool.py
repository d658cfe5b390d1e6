"""Build a small network in hxtorch, write it as NIR with its exporter, and run it in its software model (`mock`).

    python hxtorch_tool.py hxtorch FOLDER

hxtorch imports compiled modules for its chip. Its software model calls none of them, so empty ones stand in for those
that are not installed. Files as torch_tools.py writes them. Imports nothing of sdsnn.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch_tools import save, spikes

COMPILED = (
    "pylogging",
    "_hxtorch_core",
    "_hxtorch_perceptron",
    "_hxtorch_spiking",
    "_hxtorch",
    "dlens_vx_v3",
    "pygrenade_vx",
    "calix",
    "quantities",
)


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of the chip, all empty."""

    def find_spec(self, name, path, target=None):
        """Return a module's specification, None for those of others."""
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in COMPILED else None

    def create_module(self, spec):
        """Return an empty module, which has every name."""
        return MagicMock(__path__=[], __spec__=spec, __name__=spec.name)

    def exec_module(self, module):
        """Do nothing."""


def hxtorch(folder):
    """Neurons with a synapse; time constants of 10 and 5 us, a step of 1 us, as long as on the chip."""
    import hxtorch.spiking as hx
    from hxtorch.spiking.handle import LIFObservables
    from hxtorch.spiking.modules import neuron
    from hxtorch.spiking.utils.to_nir import SNN, to_nir

    if isinstance(sys.modules.get("pygrenade_vx"), MagicMock):
        neuron.SingleCompartmentNeuron = MagicMock()  # where a neuron lies on the chip

    class Network(SNN):
        def __init__(self):
            super().__init__(dt=1e-6)
            self.synapse = hx.Synapse(12, 16, experiment=self.exp)
            self.lif = hx.LIF(
                16,
                experiment=self.exp,
                leak=0.0,
                reset=0.0,
                threshold=0.3,
                tau_mem=1e-5,
                tau_syn=5e-6,
                refractory_time=0.0,  # NIR has no field for it; 1 us by default
            )

        def forward(self, x):
            answer = self.lif(self.synapse(LIFObservables(spikes=x)))
            hx.run(self.exp, x.shape[0])
            return answer.spikes

    torch.manual_seed(0)
    model, x = Network(), spikes((12,), 0)
    model.synapse.weight.data = (torch.randn(16, 12) + 0.4) * 1.5 / 12**0.5
    y = model(x.transpose(0, 1)).transpose(0, 1)
    save(folder, "cuba", to_nir(model, x.transpose(0, 1)), x, y)


if __name__ == "__main__":
    if importlib.util.find_spec("pygrenade_vx") is None:
        sys.meta_path.append(EmptyModules())
    hxtorch(Path(sys.argv[2]))
