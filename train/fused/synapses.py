"""Synapses that replace lava-dl's: the same currents, on tensors with time outermost in memory.

Importing this module imports lava-dl. A synapse takes and returns (batch, channels, ..., steps), as SLAYER's does; in
memory its result is (steps, batch, ..., channels). Where sums are not exact in float32, SLAYER's own code runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import conv3d

from sdsnn_core.lava.compat import import_slayer

from ..slayer import autocast
from ..slayer.hooks import MaskingHook
from .chunked import pass_before
from .layout import time_last, time_major
from .sums import on_gpu, reach
from .sums.channels import Places, spread, spread_before, take
from .sums.currents import ConvSums, GivenCurrents, MatrixSums, PoolSums, Sums, add
from .sums.events import Inputs, look_at
from .sums.exactness import input_bound, sums_are_exact
from .sums.sparse import SparseSums
from .sums.whole import WholeWeights

Tensor = torch.Tensor
_layer: Any = import_slayer().synapse.layer


@dataclass(frozen=True)
class Plan:
    """How to compute currents from an input: memory (steps, batch, ..., channels), and the weight as `sums` has it."""

    memory: Tensor
    weight: Tensor
    sums: Sums
    image: bool = False  # a dense synapse over images has units of one pixel each
    units: Places | None = None  # the units that `sums` adds up for; the others' currents are zero

    @classmethod
    def of_currents(cls, z: Tensor) -> Plan:
        """Return the plan for currents that were computed already: (batch, units, ..., steps)."""
        return cls(time_major(z), z.new_empty(0), GivenCurrents())

    @property
    def shape(self) -> tuple[int, ...]:
        """The neurons' shape: (units,), or (units, height, width)."""
        inner = self.sums.shape(self.memory, self.weight)
        units = inner[-1] if self.units is None else self.units.count
        return (units, 1, 1) if self.image else (units, *inner[:-1])

    def unpacked(self, rows: Tensor) -> Tensor:
        """Return (steps * batch, ..., units), of the units that `sums` has, as (batch, all units, ..., steps)."""
        rows = rows if self.units is None else spread(rows, self.units)
        inner = (1, 1, rows.shape[-1]) if self.image else rows.shape[1:]
        return time_last(rows.view(*self.memory.shape[:2], *inner))


def _whole(inputs: Inputs, weight: Tensor) -> WholeWeights | None:
    """Return the weight as integers where they multiply the inputs: many spikes."""
    return WholeWeights.of(weight) if inputs.spikes and inputs.events is None else None


def _matrix(weight: Tensor, image: bool) -> Tensor:
    """Return a unit's weights in the order of its inputs in memory: channels innermost."""
    return (weight.squeeze(-1).permute(0, 2, 3, 1) if image else weight).flatten(1)


class _Planned:
    """The parts that the three kinds have in common."""

    pre_hook_fx: Any
    weight: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Return the currents of every step: (batch, units, ..., steps) float32."""
        weight = self.quantised()
        if input.is_cuda:
            return self._on_gpu(input, weight) if self._suits(input, weight) else self._slayer(input, weight)
        plan = self.plan(input, weight)
        if plan is not None:
            rows = add(plan.memory.flatten(0, 1), plan.weight, plan.sums)
            if plan.sums.were_exact():
                return plan.unpacked(rows)
        return self._slayer(input, weight)

    def quantised(self) -> Tensor:
        """Return the weight that SLAYER would use: after the synapse's quantiser or other hook."""
        weight: Tensor = self.weight if self.pre_hook_fx is None else self.pre_hook_fx(self.weight)
        return weight

    def plan(self, input: Tensor, weight: Tensor) -> Plan | None:
        """Return how to compute the currents, or None where only SLAYER's own code gives the same."""
        on_cpu = input.device.type == weight.device.type == "cpu"
        return self._plan(input, weight) if on_cpu and self._suits(input, weight) else None

    def _suits(self, input: Tensor, weight: Tensor) -> bool:
        """Return whether our own code has this kind of input and synapse."""
        usual = input.dtype == weight.dtype == torch.float32 and input.numel() and input.device == weight.device
        return bool(usual) and not autocast.is_on(input.device.type) and self._fits(input, weight)

    def _fits(self, input: Tensor, weight: Tensor) -> bool:
        """Return whether our own code has this geometry."""
        raise NotImplementedError

    def _plan(self, input: Tensor, weight: Tensor) -> Plan | None:
        """Return how to compute the currents on a CPU; None where sums are not exact."""
        raise NotImplementedError

    def _on_gpu(self, input: Tensor, weight: Tensor) -> Tensor:
        """Return the currents on a GPU."""
        raise NotImplementedError

    def _slayer(self, input: Tensor, weight: Tensor) -> Tensor:
        """Return the currents as SLAYER computes them."""
        raise NotImplementedError


class Conv(_Planned, _layer.Conv):  # type: ignore[misc]
    """SLAYER's convolution: same arguments, attributes, parameters and results."""

    def _fits(self, input: Tensor, weight: Tensor) -> bool:
        return input.dim() == 5 and weight.shape[4] == 1 and self.stride[2] == 1 and self.padding[2] == 0

    def _on_gpu(self, input: Tensor, weight: Tensor) -> Tensor:
        memory = time_major(input)
        geometry = self.stride[:2], self.padding[:2], self.dilation[:2], self.groups
        rows = on_gpu.convolve(memory.flatten(0, 1), weight.squeeze(-1), geometry)
        return time_last(rows.view(*memory.shape[:2], *rows.shape[1:]))

    def _plan(self, input: Tensor, weight: Tensor) -> Plan | None:
        memory, flat = time_major(input), weight.squeeze(-1)
        hook = self.pre_hook_fx
        masked = self.groups == 1 and isinstance(hook, MaskingHook)
        channels = hook.channels(spread_before(input)) if masked else None
        if channels is not None:
            memory, flat = take(memory, channels.inputs), channels.between(flat)
        plain = self.groups == 1 and self.dilation[:2] == (1, 1)
        inputs = look_at(memory.flatten(0, 1).flatten(1), reach.SPARSE if plain else -1)
        whole = _whole(inputs, flat)
        if whole is None and not sums_are_exact(flat, inputs.bound):
            return None
        conv = ConvSums(self.stride[:2], self.padding[:2], self.dilation[:2], self.groups, whole)
        events = inputs.events
        sums = conv if events is None else reach.ReachSums(conv, events, memory.shape, flat)
        return Plan(memory, flat, sums, units=None if channels is None else channels.units)

    def _slayer(self, input: Tensor, weight: Tensor) -> Tensor:
        return conv3d(input, weight, None, self.stride, self.padding, self.dilation, self.groups)


class Dense(_Planned, _layer.Dense):  # type: ignore[misc]
    """SLAYER's dense synapses: same arguments, attributes, parameters and results."""

    def _fits(self, input: Tensor, weight: Tensor) -> bool:
        image = input.dim() == 5 and input.shape[1:4] == weight.shape[1:4]
        return (image or input.dim() == 3) and weight[0].numel() == input.shape[1:-1].numel()

    def _on_gpu(self, input: Tensor, weight: Tensor) -> Tensor:
        memory = time_major(input)
        rows = on_gpu.multiply(memory.flatten(0, 1), _matrix(weight, image=input.dim() == 5))
        inner = (1, 1) if input.dim() == 5 else ()
        return time_last(rows.view(*memory.shape[:2], *inner, -1))

    def _plan(self, input: Tensor, weight: Tensor) -> Plan | None:
        image = input.dim() == 5
        memory = time_major(input)
        hook = self.pre_hook_fx
        pattern = hook.pattern(image) if isinstance(hook, MaskingHook) else None
        if pattern is not None:
            listed = weight.reshape(-1).index_select(0, pattern.places)
            exact = sums_are_exact(listed, input_bound(memory), pattern.offsets)
            return Plan(memory, listed, SparseSums(pattern), image) if exact else None
        inputs = look_at(memory.flatten(0, 1).flatten(1))
        matrix = _matrix(weight, image)
        whole = _whole(inputs, matrix)
        if whole is None and not sums_are_exact(weight, inputs.bound):
            return None
        return Plan(memory, matrix, MatrixSums(inputs.events, whole), image)

    def _slayer(self, input: Tensor, weight: Tensor) -> Tensor:
        if input.dim() != 3:
            return conv3d(input, weight)
        result = conv3d(input.reshape(input.shape[0], -1, 1, 1, input.shape[-1]), weight)
        return result.reshape(input.shape[0], -1, input.shape[-1])


class Pool(_Planned, _layer.Pool):  # type: ignore[misc]
    """SLAYER's pooling: same arguments, attributes, parameters and results. Squares that overlap take SLAYER's code."""

    def _fits(self, input: Tensor, weight: Tensor) -> bool:
        plain = self.stride == self.kernel_size and not any(self.padding) and all(d == 1 for d in self.dilation)
        if not plain or weight.requires_grad or weight.shape[4] != 1 or input.dim() != 5:
            return False
        # SLAYER adds size % kernel zeros, which makes a multiple of the kernel only in some cases
        return all((n + n % k) % k == 0 for n, k in zip(input.shape[2:4], weight.shape[2:4], strict=True))

    def _on_gpu(self, input: Tensor, weight: Tensor) -> Tensor:
        memory = time_major(input)
        rows = on_gpu.pool(memory.flatten(0, 1), weight.view(weight.shape[2:4]))
        return time_last(rows.view(*memory.shape[:2], *rows.shape[1:]))

    def _plan(self, input: Tensor, weight: Tensor) -> Plan | None:
        if not bool((weight == weight.view(-1)[0]).all()):
            return None
        return Plan(time_major(input), weight, PoolSums((weight.shape[2], weight.shape[3]), weight, pass_before(input)))

    def _slayer(self, input: Tensor, weight: Tensor) -> Tensor:
        sums: Tensor = _layer.Pool.forward(self, input)
        return sums


SYNAPSES: dict[type, type] = {_layer.Conv: Conv, _layer.Dense: Dense, _layer.Pool: Pool}
