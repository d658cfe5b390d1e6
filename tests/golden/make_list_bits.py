"""Make list_bits.json: synaptic memory of Loihi 1 as nengo-loihi counts it. Needs `pip install nengo-loihi numpy<1.24`.

Lists of every width, dense and sparse; and matrices of 8-bit weights, full ones dense (compression 3) and the others
sparse (compression 0) with the index width that nengo-loihi chooses. Seed 0. Run: `python make_list_bits.py [FILE]`.
"""

import json
import sys
from pathlib import Path

import nengo_loihi
import numpy as np
from nengo_loihi.block import Synapse, SynapseConfig


def main() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for weight in range(1, 8):
        for index in range(1, 8):
            for delay in (0, 3, 6):
                for compression in (0, 3):
                    config = SynapseConfig(
                        weight_bits=weight, idx_bits=index, delay_bits=delay, compression=compression, n_synapses=63
                    )
                    bits = config.real_weight_bits + delay + (config.real_idx_bits if compression == 0 else 0)
                    n = int(rng.integers(1, 1025))
                    widths.append({"synapses": n, "bits_each": bits, "bits": config.bits_per_axon(n)})
    matrices = []
    for n_pre, n_post, percent in [(64, 10, 100), (128, 64, 100), (200, 300, 10), (784, 1024, 5), (30, 1000, 50)]:
        pre, post = np.indices((n_pre, n_post))
        here = (pre * 37 + post * 53 + pre * post) % 100 < percent
        rows = [np.flatnonzero(row)[None] for row in here]
        weights = [np.full(row.shape, 2, np.float32) for row in rows]
        synapse = Synapse(n_pre)
        synapse._set_weights_indices(weights, rows, compression=3 if percent == 100 else 0)
        matrices.append({"n_pre": n_pre, "n_post": n_post, "percent": percent, "bits": int(synapse.bits())})
    content = {"nengo_loihi": nengo_loihi.__version__, "lists": widths, "matrices": matrices}
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("list_bits.json")
    target.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
