"""A `.net` file of the size of PilotNet (Bojarski et al. 2016, arXiv:1604.07316), CUBA neurons of random integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

IMAGE = (3, 66, 200)
CONVOLUTIONS = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))  # channels, kernel, stride
DENSE = (100, 50, 10, 1)


def write_pilotnet(path: Path, image: tuple[int, int, int] = IMAGE, seed: int = 0) -> Path:
    """Write the file as lava-dl does: an input layer with neurons, convolutions, a flatten layer, dense layers."""
    rng = np.random.default_rng(seed)

    def neurons(group: Any, threshold: int) -> None:
        values = {"type": b"CUBA", "iDecay": 4096, "vDecay": 1024, "vThMant": threshold, "refDelay": 1}
        for name, value in values.items():
            group[f"neuron/{name}"] = value

    def weights(*shape: int) -> Any:
        fan_in = int(np.prod(shape[1:]))
        largest = max(2, int(200 / fan_in**0.5))
        return (2 * rng.integers(-largest // 2, largest // 2 + 1, shape)).astype("f4")

    with h5py.File(path, "w") as file:
        numbers = iter(range(20))

        def layer(kind: str, shape: tuple[int, ...]) -> Any:
            group = file.create_group(f"layer/{next(numbers)}")
            group["type"], group["shape"] = np.array([kind], "S10"), np.array(shape)
            return group

        group = layer("input", image)
        group["weight"], group["bias"] = 40.0, 36.0
        neurons(group, 25)
        shape = image
        for channels, kernel, stride in CONVOLUTIONS:
            size = tuple((n - kernel) // stride + 1 for n in shape[1:])
            group = layer("conv", (channels, *size))
            group["weight"] = weights(channels, shape[0], kernel, kernel)
            group["bias"] = rng.integers(-10, 20, channels).astype("f4")
            for name, value in (("stride", stride), ("padding", 0), ("dilation", 1)):
                group[name] = np.array([value, value])
            group["groups"] = 1
            neurons(group, 120)
            shape = (channels, *size)
        n_inputs = int(np.prod(shape))
        layer("flatten", (n_inputs, 1, 1))
        for size in DENSE:
            group = layer("dense", (size,))
            group["weight"] = weights(size, n_inputs)
            neurons(group, 120)
            n_inputs = size
    return path
