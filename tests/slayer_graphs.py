"""Random graphs of SLAYER blocks for differential tests: skips, joins, sums, slices, several inputs and outputs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from slayer_models import draw_neuron

from sdsnn_core.lava.compat import import_slayer

Rng = np.random.Generator


class Graph(torch.nn.Module):
    """Runs a list of steps, each a function of earlier values; the blocks are attributes."""

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple[int, ...]]] = []  # function or name of a module, its operands
        self.outputs: list[int] = []
        self.n_inputs = n_inputs

    def forward(self, *inputs: torch.Tensor) -> Any:
        values = list(inputs)
        for function, operands in self.steps:
            act = getattr(self, function) if isinstance(function, str) else function
            values.append(act(*(values[number] for number in operands)))
        results = tuple(values[number] for number in self.outputs)
        return results if len(results) > 1 else results[0]


class _Drawer:
    """A graph that grows step by step on an example."""

    def __init__(self, rng: Rng, biased: bool) -> None:
        self.rng, self.biased = rng, biased
        self.shapes = [self._shape() for _ in range(int(rng.choice([1, 1, 2])))]
        self.model = Graph(len(self.shapes))
        self.values = [torch.zeros(2, *shape, 4) for shape in self.shapes]
        self.used: set[int] = set()
        self.spiking: set[int] = set()  # values that are a block's own output

    def _shape(self) -> tuple[int, ...]:
        if self.rng.random() < 0.4:
            return (int(self.rng.integers(1, 4)), int(self.rng.integers(4, 7)), int(self.rng.integers(4, 7)))
        return (int(self.rng.integers(3, 12)),)

    def pick(self, dim: int | None = None) -> int | None:
        """Return a value, the newest ones most likely; None if there is none of that many axes."""
        numbers = [n for n, value in enumerate(self.values) if dim is None or value.dim() == dim]
        if not numbers:
            return None
        weight = np.arange(1, len(numbers) + 1) ** 1.5
        return int(self.rng.choice(numbers, p=weight / weight.sum()))

    def step(self, function: Any, *operands: int) -> int:
        act = getattr(self.model, function) if isinstance(function, str) else function
        with torch.no_grad():
            self.values.append(act(*(self.values[number] for number in operands)))
        self.model.steps.append((function, operands))
        self.used.update(operands)
        return len(self.values) - 1

    def block(self, block: Any, operand: int) -> int:
        name = f"b{len(self.values)}"
        setattr(self.model, name, block)
        number = self.step(name, operand)
        self.spiking.add(number)
        return number

    def neuron(self, *, per_neuron: bool = False) -> dict[str, Any]:
        norm = import_slayer().neuron.norm.MeanOnlyBatchNorm if self.biased else None
        return draw_neuron(self.rng, norm, per_neuron=per_neuron and not self.biased)

    def late(self) -> bool:
        return not self.biased and bool(self.rng.random() < 0.4)

    def move(self) -> None:
        """Add an operation that moves or adds spikes."""
        rng, number = self.rng, self.pick()
        assert number is not None
        shape = self.values[number].shape
        same = [n for n, value in enumerate(self.values) if value.shape == shape]
        alike = [n for n, value in enumerate(self.values) if value.shape[2:] == shape[2:]]
        kind = rng.choice(["cat", "add", "slice", "flip", "flatten", "reshape", "pad", "delay"])
        if kind == "cat":
            self.step(lambda *each: torch.cat(each, dim=1), number, int(rng.choice(alike)))
        elif kind == "add":
            self.step(lambda a, b: a + b, number, int(rng.choice(same)))
        elif kind == "slice" and shape[1] > 2:
            self.step(lambda x: x[:, 1:], number)
        elif kind == "flip":
            self.step(lambda x: x.flip(1), number)
        elif kind == "flatten" and len(shape) == 5:
            self.step(lambda x: x.flatten(1, 3), number)
        elif kind == "reshape" and len(shape) == 3 and shape[1] % 4 == 0:
            self.step(lambda x: x.reshape(x.shape[0], -1, 2, 2, x.shape[-1]), number)
        elif kind == "pad" and len(shape) == 5:
            self.step(lambda x: torch.nn.functional.pad(x, (0, 0, 1, 0, 0, 1)), number)
        elif kind == "delay" and not self.biased:
            name = f"late{len(self.values)}"
            setattr(self.model, name, import_slayer().axon.Delay(max_delay=20))
            self.step(name, number)
            getattr(self.model, name).delay.data *= 4

    def dense(self, number: int, out: int, *, recurrent: bool = False) -> int:
        cuba = import_slayer().block.cuba
        kind = cuba.Recurrent if recurrent else cuba.Dense
        size, flat = self.values[number].shape[1], self.values[number].dim() == 3
        delay = self.late() and not recurrent
        return self.block(kind(self.neuron(per_neuron=flat), size, out, weight_scale=3, delay=delay), number)

    def image(self, number: int) -> int:
        cuba, rng = import_slayer().block.cuba, self.rng
        _, channels, height, width, _ = self.values[number].shape
        kind = rng.choice(["conv", "conv", "pool", "convT", "unpool", "dense"])
        small, large = min(height, width) < 3, height * width * channels > 150
        if kind == "pool" and not small:
            params = {"threshold": 0.9, "current_decay": 1.0, "voltage_decay": 1.0}
            return self.block(cuba.Pool(params, 2, weight_scale=1.1, delay=self.late()), number)
        if kind == "unpool" and not large:
            return self.block(cuba.Unpool(self.neuron(), 2, weight_scale=1.5, delay=self.late()), number)
        if kind == "dense":  # at every place
            return self.dense(number, int(rng.integers(1, 5)))
        groups = int(rng.choice([n for n in (1, 2) if channels % n == 0]))
        out = groups * int(rng.integers(1, 3))
        options = {"groups": groups, "weight_scale": 3, "delay": self.late()}
        stride = 1 if large else int(rng.integers(1, 3))
        if kind == "convT":
            return self.block(cuba.ConvT(self.neuron(), channels, out, 2, stride=stride, **options), number)
        return self.block(cuba.Conv(self.neuron(), channels, out, 3, stride=stride, padding=1, **options), number)

    def flat(self, numbers: list[int]) -> int:
        """Return the values side by side, flattened."""
        return self.step(lambda *each: torch.cat([x.reshape(x.shape[0], -1, x.shape[-1]) for x in each], 1), *numbers)


def draw_graph(rng: Rng) -> tuple[Graph, list[tuple[int, ...]]]:
    """Draw a model and the shapes of its inputs; it has run, in evaluation mode, with delays and means of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm")
        drawer = _Drawer(rng, biased=bool(rng.random() < 0.25))
        for _ in range(int(rng.integers(2, 6))):
            for _ in range(int(rng.integers(0, 3))):
                drawer.move()
            number = drawer.pick()
            assert number is not None
            if drawer.values[number].dim() == 5:
                drawer.image(number)
            else:
                drawer.dense(
                    number, int(rng.integers(3, 10)), recurrent=bool(rng.random() < 0.25) and not drawer.biased
                )
        loose = [n for n in range(len(drawer.values)) if n in drawer.spiking and n not in drawer.used]
        loose += [n for n in range(drawer.model.n_inputs) if n not in drawer.used]
        chosen = loose or [len(drawer.values) - 1]
        drawer.model.outputs = [drawer.dense(drawer.flat(chosen), int(rng.integers(2, 6)))]
        if rng.random() < 0.3:
            drawer.model.outputs.append(drawer.dense(drawer.flat(chosen[:1]), 3))
        model = drawer.model
        inputs = [torch.from_numpy((rng.random((3, *shape, 12)) < 0.4).astype(np.float32)) for shape in drawer.shapes]
        with torch.no_grad():
            model(*inputs)
    for module in model.modules():
        delay = getattr(module, "delay", None)
        if isinstance(delay, torch.nn.Module) and delay.init:
            delay.delay.data *= float(rng.integers(1, 8))
    return model.eval(), drawer.shapes
