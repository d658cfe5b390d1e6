"""What `simulate.py` compares the engine with: Lava, SLAYER, a scipy.sparse loop, and readers of NIR."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from simulate_networks import MODELS, NAMED, spikes, with_threshold

from sdsnn_core.arithmetic import decay
from sdsnn_core.network import Convolution, Network, Synapses

LAVA_KINDS = {"dense": "Dense (and Conv)", "sparse": "Sparse (convolutions expanded)", "mixed": "Sparse convolutions"}


def expanded(network: Network) -> Network:
    """Return the network with synapses in place of convolutions."""
    wires = {
        name: p.synapses(network.nodes[p.source].shape) if isinstance(p, Convolution) else p
        for name, p in network.projections.items()
    }
    return Network(network.nodes, wires)


class ScipyLoop:
    """A plain loop over steps: a CSR matrix per projection (and delay) times the spikes, then the neurons in numpy."""

    def __init__(self, network: Network) -> None:
        self.network, self.wires = network, []
        for p in expanded(network).projections.values():
            assert isinstance(p, Synapses)
            shape = (network.size_of(p.target), network.size_of(p.source))
            delays = np.broadcast_to(p.delay, p.weight.shape)
            for d in np.unique(delays).tolist():
                here = delays == d
                entries = (p.weight[here].astype(np.int32), (p.post[here], p.pre[here]))
                self.wires.append((p.source, p.target, d, sparse.csr_matrix(entries, shape=shape)))
        self.depth = 1 + max(d for *_, d, _ in self.wires)

    def run(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """x: (samples, steps, channels). Returns every population's spikes (samples, steps, size)."""
        n, steps, _ = x.shape
        populations = self.network.populations
        du, dv, limit = ({} for _ in range(3))
        u, v, out = {}, {}, {}
        ring = {}
        for name, p in populations.items():
            du[name], dv[name] = (p.per_neuron(key)[:, None] for key in ("current_decay", "voltage_decay"))
            limit[name] = p.per_neuron("threshold")[:, None] * 64
            u[name], v[name] = np.zeros((p.size, n), np.int64), np.zeros((p.size, n), np.int64)
            out[name] = np.zeros((n, steps, p.size), np.uint8)
            ring[name] = np.zeros((self.depth + 1, p.size, n), np.int32)
        columns = np.ascontiguousarray(x.transpose(1, 2, 0), dtype=np.int32)
        for t in range(steps):
            fired = {"input": columns[t]}
            for name in populations:
                slot = ring[name][t % (self.depth + 1)]
                u[name] = decay(u[name], du[name]) + (slot.astype(np.int64) << 6)
                slot[:] = 0
                v[name] = decay(v[name], dv[name]) + u[name]
                spike = v[name] > limit[name]
                v[name][spike] = 0
                fired[name] = spike.astype(np.int32)
                out[name][:, t] = spike.T
            for source, target, d, matrix in self.wires:
                ring[target][(t + 1 + d) % (self.depth + 1)] += matrix @ fired[source]
        return out


def slayer_model(network: Network):
    """Return blocks of SLAYER with the network's weights, or None where they cannot hold it (recurrent with delays)."""
    import warnings

    import torch

    from sdsnn_core.lava.compat import import_slayer

    if any(p.source == p.target for p in network.projections.values()):
        return None
    cuba, blocks, flat = import_slayer().block.cuba, [], False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for p in network.projections.values():
            target, source = network.nodes[p.target], network.nodes[p.source]
            neuron = {
                "threshold": int(target.threshold) / 64,
                "current_decay": int(target.current_decay) / 4096,
                "voltage_decay": int(target.voltage_decay) / 4096,
            }
            if isinstance(p, Convolution):
                c_out, c_in, k, _ = p.kernel.shape
                block = cuba.Conv(neuron, c_in, c_out, k, stride=p.stride[0], padding=p.padding[0])
                weight = p.kernel[..., None]
            else:
                if len(source.shape) == 3 and not flat:
                    blocks.append(cuba.Flatten())
                flat = True
                block = cuba.Dense(neuron, source.size, target.size)
                weight = p.to_dense(target.size, source.size)[:, :, None, None, None]
            block.neuron.threshold_eps = 1 / block.neuron.s_scale
            with torch.no_grad():
                block.synapse.weight[:] = torch.from_numpy(np.asarray(weight / 64, np.float32))
            blocks.append(block)
    return torch.nn.Sequential(*blocks).eval()


def slayer_run(model, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the last block's spikes (samples, steps, size)."""
    import torch

    n, steps, _ = x.shape
    given = torch.from_numpy(np.moveaxis(x.reshape(n, steps, *shape), 1, -1).astype(np.float32))
    with torch.no_grad():
        return np.moveaxis(model(given).numpy(), -1, 1).reshape(n, steps, -1).astype(np.uint8)


def lava_child(payload: dict) -> dict:
    """Run sample after sample in Lava and time each but the first; called in a child process."""
    import warnings

    from sdsnn.export.lava.processes import build, restarting_models
    from sdsnn.export.lava.run import make_record_files
    from sdsnn_core.lava.compat import ensure_lava

    warnings.simplefilter("ignore")
    ensure_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    network = {**NAMED, **MODELS}[payload["name"]]()
    for name, threshold in payload["thresholds"].items():
        network = with_threshold(network, name, threshold)
    samples, steps = payload["samples"], payload["steps"]
    x = spikes(network, samples, steps, payload["activity"])
    if payload["kind"] != "dense":
        network = expanded(network)
    storage = {"dense": "dense", "sparse": "sparse", "mixed": "auto"}[payload["kind"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        process = build(network, {"input": x}, make_record_files(network, path, samples, steps, ()), storage)
        config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=restarting_models())
        seconds = []
        try:
            for _ in range(samples):
                begin = time.perf_counter()
                process.run(condition=RunSteps(num_steps=steps), run_cfg=config)
                seconds.append(time.perf_counter() - begin)
        finally:
            process.stop()
        trains = {n: np.load(path / f"spikes.{n}.npy") for n in network.populations}
    return {"step_s": [s / steps for s in seconds[1:]], "spikes": trains}


def lava(name: str, network: Network, kind: str, samples: int, steps: int, activity: float) -> dict:
    """Return {"step_s": seconds per step of each timed sample, "spikes": population -> spikes}."""
    from sdsnn_core.lava.child import run_in_child

    thresholds = {n: int(p.threshold) for n, p in network.populations.items() if hasattr(p, "threshold")}
    payload = {"name": name, "thresholds": thresholds, "kind": kind, "samples": samples, "steps": steps}
    return run_in_child("simulate_rivals:lava_child", {**payload, "activity": activity}, 900.0)


def reader(tool: str, python: str, network: Network, x: np.ndarray) -> dict | None:
    """Run a NIR reader under the interpreter `python`; None where it is not installed or cannot read the network."""
    from sdsnn.export.nir_format.writer import write_nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_nir(network, path / "network.nir")
        np.save(path / "x.npy", x.reshape(*x.shape[:2], *network.inputs["input"].shape))
        script = Path(__file__).with_name("simulate_reader.py")
        done = subprocess.run([python, script, tool, folder], capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            return None
        spikes_ = np.load(path / "out.npy")
        return {**json.loads(done.stdout.splitlines()[-1]), "spikes": spikes_.reshape(*x.shape[:2], -1)}
