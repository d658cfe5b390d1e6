# %% [markdown]
# # Add a chip
#
# A chip is one TOML file: limits with their sources. No code changes. Start from a shipped file and change what differs. Here: a made-up chip with small
# cores.

# %%
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np

import sdsnn

text = (files("sdsnn.deploy.chips") / "loihi2.toml").read_text()
text = text.replace('name = "loihi2"', 'name = "tiny"').replace(
    'title = "Intel Loihi 2"', 'title = "A chip with small cores"'
)
text = text.replace("value = 4096\n", "value = 256\n", 1)  # neurons per core
chip = Path(tempfile.mkdtemp()) / "tiny.toml"
chip.write_text(text)

# %%
rng = np.random.default_rng(0)
nodes = {"in": sdsnn.Input((256,)), "a": sdsnn.Population((1000,), 1024, 128, 640), "out": sdsnn.Output("a")}
weights = rng.integers(-20, 30, (1000, 256))
network = sdsnn.Network(nodes, {"w": sdsnn.Synapses.from_dense("in", "a", weights)})
for name in ("loihi2", chip):
    placement = sdsnn.place(network, name)
    print(f"{placement.chip}: {placement.n_cores} cores, at most {max(placement.use['neurons'])} neurons on one")

# %% [markdown]
# If a file lacks something, reading it fails at once, with every problem in one message:

# %%
chip.write_text(text.replace("word_bits = 64\n", ""))
try:
    sdsnn.place(network, chip)
except sdsnn.ConfigError as error:
    print(error)

# %% [markdown]
# On the command line: `sdsnn place network.nir --chip tiny.toml`. If others can use the chip, put its file into `deploy/chips/`, with a test of the
# published figures that it must meet ([contributing](../architecture.md#extension-points)).
