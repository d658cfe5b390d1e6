"""Record tests/golden/literal_masks.json: masks of the authors' released class on a toy network.

    git clone https://github.com/BrainCog-X/Brain-Cog && git -C Brain-Cog checkout 3998fd5
    python tests/golden/make_literal_masks.py Brain-Cog

Needs torch and numpy. Nothing of that repository is kept but the numbers below. The class moves tensors to a GPU, which
is patched away, and sorts unstably, which is made stable so that the numbers depend on no version of torch.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from literal_toy import EPOCHS, PERSISTENCE, SHAPES, Learning, digest

OUT = Path(__file__).with_name("literal_masks.json")
COMMIT = "3998fd504c1a03376c2e96f14ddf98aee9f5370a"


def main() -> None:
    """Run the class over all epochs, in the order of its script, and write the masks' digests."""
    sys.path.insert(0, str(Path(sys.argv[1]) / "examples" / "Structural_Development" / "SD-SNN"))
    released: Any = importlib.import_module("prun_and_generation")
    torch.Tensor.cuda = lambda self, *_arguments, **_options: self  # type: ignore[method-assign]
    torch.argsort = functools.partial(torch.argsort, stable=True)
    learning = Learning()
    weights = {name: torch.nn.Parameter(torch.from_numpy(start.copy())) for name, start in learning.start.items()}
    convs = [SimpleNamespace(conv=SimpleNamespace(weight=weights[name])) for name in ("conv0", "conv1")]
    dense = SimpleNamespace(fc=SimpleNamespace(weight=weights["dense"]))
    rules = released.Mask(SimpleNamespace(convlayer=[0, 1, 2], feature=convs, fc_prun=[dense]), PERSISTENCE)
    lines = []
    for epoch in range(EPOCHS):
        for name, weight in weights.items():
            weight.data = torch.from_numpy(learning.step(name, weight.detach().numpy(), epoch))
        with contextlib.redirect_stdout(io.StringIO()):
            if epoch == 0:
                rules.init_length()
            else:
                rules.init_mask_dsd()
                if epoch > PERSISTENCE:
                    rules.do_mask_dsd()
                if epoch > 2 * PERSISTENCE:
                    rules.do_growth_ww(epoch)
                    rules.do_pruning_dsd(epoch)
        masks = [np.asarray(rules.codebook[index].reshape(SHAPES[name]) != 0) for index, name in enumerate(SHAPES)]
        rates = [float((rules.prune if index == 2 else rules.pruncc)[index]) for index in range(3)]
        lines.append({
            "masked": [int((~mask).sum()) for mask in masks],
            "digest": [digest(mask) for mask in masks],
            "percent": rates,
            "weights": [float(np.abs(weight.detach().numpy()).sum(dtype=np.float64)) for weight in weights.values()],
        })  # fmt: skip
    source = {"repository": "BrainCog-X/Brain-Cog", "commit": COMMIT, "torch": torch.__version__}
    OUT.write_text(json.dumps({"source": source, "epochs": lines}, indent=0) + "\n")


if __name__ == "__main__":
    main()
