"""Run a NIR file in norse or snnTorch and time it: simulate_reader.py TOOL FOLDER, on any Python with it."""

import json
import statistics
import sys
import time
from pathlib import Path

import nir
import numpy as np
import torch


def main(tool: str, folder: Path) -> None:
    """Read network.nir and x.npy (samples, steps, *shape); write out.npy and print {"step_s": ...}."""
    graph = nir.read(folder / "network.nir")
    if tool == "norse":
        import norse.torch

        network = norse.torch.from_nir(graph, dt=1e-4)
    else:
        from snntorch.import_nir import import_from_nir

        network = import_from_nir(graph)
    x = torch.from_numpy(np.load(folder / "x.npy").astype(np.float32)).transpose(0, 1).contiguous()
    seconds = []
    with torch.no_grad():
        for repeat in range(3):
            state, out, begin = None, [], time.perf_counter()
            for step in x:
                spikes, state = network(step, state)
                out.append(spikes)
            seconds.append(time.perf_counter() - begin)
            if not repeat:  # snnTorch goes on from the state of the run before, whatever it is given
                np.save(folder / "out.npy", torch.stack(out, 1).numpy().astype(np.uint8))
    print(json.dumps({"step_s": statistics.median(seconds) / len(x) / x.shape[1]}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
