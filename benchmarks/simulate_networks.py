"""The networks and inputs that `simulate.py` measures, made from a seed and brought to one level of activity."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from sdsnn.deploy.engine import Engine
from sdsnn_core.network import (
    AdaptiveLif,
    Convolution,
    CubaLif,
    Input,
    Network,
    Output,
    Population,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
    Synapses,
)

CUBA = {"current_decay": 1024, "voltage_decay": 128}


def pruned(rng: np.random.Generator, source: str, target: str, n_pre: int, n_post: int, sparsity: float) -> Synapses:
    """Draw even weights as SLAYER makes them; a share `sparsity` of the pairs has none."""
    n = round(n_pre * n_post * (1 - sparsity))
    pairs = np.sort(rng.choice(n_pre * n_post, n, replace=False)) if sparsity else np.arange(n)
    weight = np.clip(np.rint(rng.normal(2, 24, n)), -127, 127).astype(np.int16) * 2
    weight[weight == 0] = 2
    pre, post = np.divmod(pairs, n_post)
    return Synapses(source, target, pre, post, weight)


def chain(nodes: dict, projections: dict, last: str) -> Network:
    """Return a network whose output is the spikes of `last`."""
    return Network({**nodes, "output": Output(last)}, projections)


def mlp(sparsity: float, sizes: tuple[int, ...] = (2312, 512, 512, 10), seed: int = 0) -> Network:
    """Return a multilayer perceptron with that share of every matrix pruned."""
    rng = np.random.default_rng(seed)
    names = ["input", *(f"layer{i}" for i in range(1, len(sizes)))]
    nodes: dict = {"input": Input((sizes[0],))}
    wires = {}
    for i in range(1, len(sizes)):
        nodes[names[i]] = Population((sizes[i],), threshold=1000, **CUBA)
        wires[f"wires{i}"] = pruned(rng, names[i - 1], names[i], sizes[i - 1], sizes[i], sparsity)
    return chain(nodes, wires, names[-1])


def recurrent(sparsity: float = 0.9, seed: int = 0) -> Network:
    """Return 700-512-20 with a pruned recurrent projection in the hidden layer, delayed by 1 to 8 steps."""
    rng = np.random.default_rng(seed)
    around = pruned(rng, "hidden", "hidden", 512, 512, sparsity)
    nodes = {
        "input": Input((700,)),
        "hidden": Population((512,), threshold=1000, **CUBA),
        "readout": Population((20,), threshold=1000, **CUBA),
    }
    wires = {
        "feed": pruned(rng, "input", "hidden", 700, 512, sparsity),
        "around": replace(around, delay=rng.integers(0, 8, 512)[around.pre]),
        "out": pruned(rng, "hidden", "readout", 512, 20, 0.5),
    }
    return chain(nodes, wires, "readout")


def conv_net(shape: tuple[int, int, int], layers: list[tuple[int, int, int]], classes: int, seed: int = 0) -> Network:
    """Return convolutions (channels, kernel, stride), then 512 neurons, then the classes."""
    rng = np.random.default_rng(seed)
    nodes: dict = {"input": Input(shape)}
    wires: dict = {}
    last = "input"
    for i, (channels, kernel, stride) in enumerate(layers):
        name = f"conv{i + 1}"
        weight = np.clip(np.rint(rng.normal(2, 24, (channels, shape[0], kernel, kernel))), -127, 127) * 2
        wires[f"to_{name}"] = Convolution(last, name, weight, stride=(stride, stride), padding=(kernel // 2,) * 2)
        shape = wires[f"to_{name}"].output_shape(shape)
        nodes[name] = Population(shape, threshold=1000, **CUBA)
        last = name
    sizes = [int(np.prod(shape)), 512, classes]
    for name, n_pre, n_post in (("hidden", *sizes[:2]), ("readout", *sizes[1:])):
        wires[f"to_{name}"] = pruned(rng, last, name, n_pre, n_post, 0.0)
        nodes[name] = Population((n_post,), threshold=1000, **CUBA)
        last = name
    return chain(nodes, wires, last)


def nmnist_conv() -> Network:
    """Return 34x34x2 - 16c5s2 - 32c3s2 - 512 - 10."""
    return conv_net((2, 34, 34), [(16, 5, 2), (32, 3, 2)], 10)


def dvs_conv() -> Network:
    """Return 128x128x2 - 16c5s4 - 32c3s2 - 64c3s2 - 512 - 11."""
    return conv_net((2, 128, 128), [(16, 5, 4), (32, 3, 2), (64, 3, 2)], 11)


def model_chain(kind: str, seed: int = 0) -> Network:
    """Return 784-512-512-10 of one neuron model, 90 % of every matrix pruned, at a few percent of activity."""
    rng = np.random.default_rng(seed)
    sizes = {"input": 784, "layer1": 512, "layer2": 512, "layer3": 10}
    decays = {"current_decay": 2048, "voltage_decay": 512}
    make = {
        "CubaLif": lambda n, last: CubaLif((n,), threshold=1400, **decays),
        "RefractoryLif": lambda n, last: RefractoryLif((n,), threshold=1000, refractory=3, **decays),
        "AdaptiveLif": lambda n, last: AdaptiveLif(
            (n,), threshold=600, threshold_step=60, threshold_decay=400, refractory_decay=400, **decays
        ),
        "Resonator": lambda n, last: Resonator((n,), 1200, 3600, 900),
        "Resonator, reset": lambda n, last: Resonator((n,), 1200, 3600, 1300, reset=True),
        "SigmaDelta": lambda n, last: Sigma((n,)) if last else SigmaDelta((n,), 6, state_exp=0),
    }[kind]
    nodes: dict = {"input": Input((784,))}
    wires: dict = {}
    for source, target in pairwise(sizes):
        nodes[target] = make(sizes[target], target == "layer3")
        more = {"weight_exp": 6} if (kind, source) == ("SigmaDelta", "input") else {}
        wires[f"to_{target}"] = replace(pruned(rng, source, target, sizes[source], sizes[target], 0.9), **more)
        if kind.startswith("Resonator"):
            part = pruned(rng, source, target, sizes[source], sizes[target], 0.9)
            wires[f"to_{target}_imaginary"] = replace(part, imaginary=True)
        if kind == "SigmaDelta" and source != "input":
            nodes[target] = nodes[target] if target == "layer3" else SigmaDelta((sizes[target],), 6)
    return chain(nodes, wires, "layer3")


def spikes(network: Network, samples: int, steps: int, activity: float, seed: int = 1) -> np.ndarray:
    """Return (samples, steps, channels) uint8, each bin a spike with that probability."""
    shape = (samples, steps, network.size_of("input"))
    return (np.random.default_rng(seed).random(shape, np.float32) < activity).astype(np.uint8)


def calibrated(network: Network, activity: float, rate: float, steps: int = 50) -> Network:
    """Return the network with thresholds at which every population spikes in about `rate` of its bins.

    Population by population along the network, by bisection, on two samples of random input.
    """
    x = spikes(network, 2, steps, activity, seed=2)
    for name, population in network.populations.items():
        if not hasattr(population, "threshold"):
            continue
        low, high = 0, 2**17 - 1
        while high - low > max(1, low // 50):
            middle = (low + high) // 2
            network = with_threshold(network, name, middle)
            counts = Engine(network).run(x, record="counts").counts[name]
            low, high = (middle, high) if counts.mean() / steps > rate else (low, middle)
        network = with_threshold(network, name, high)
    return network


def with_threshold(network: Network, name: str, threshold: int) -> Network:
    """Return the network with one threshold for a population."""
    changed = replace(network.populations[name], threshold=threshold)
    return Network({**network.nodes, name: changed}, network.projections)


NAMED = {
    "mlp dense": lambda: mlp(0.0),
    "mlp 90 %": lambda: mlp(0.9),
    "mlp 99 %": lambda: mlp(0.99),
    "nmnist conv": nmnist_conv,
    "128x128 conv": dvs_conv,
    "recurrent": recurrent,
}
KINDS = ("CubaLif", "RefractoryLif", "AdaptiveLif", "Resonator", "Resonator, reset", "SigmaDelta")
MODELS = {kind: partial(model_chain, kind) for kind in KINDS}
