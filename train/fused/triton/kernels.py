"""The passes of the CUBA neuron as Triton kernels: a program takes BLOCK neurons over all steps, a lane per neuron.

States are int64 as in SLAYER, products are shifted towards zero, divisions are rounded to nearest, comparisons are
made in float32. With TRITON_INTERPRET=1 in the environment the same code runs on a CPU, slowly. Importing this module
imports triton.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

triton: Any = importlib.import_module("triton")  # has no types
tl: Any = importlib.import_module("triton.language")
BLOCK = 128
_compiled: Callable[[Callable[..., Any]], Any] = triton.jit
if TYPE_CHECKING:
    constexpr: TypeAlias = Any
    Arg: TypeAlias = Any
else:  # Triton looks for these in annotations
    constexpr, Arg = tl.constexpr, tl.tensor


@_compiled
def forward_kernel(
    x: Arg, voltage: Arg, spikes: Arg, keep_a: Arg, keep_b: Arg, state_i: Arg, state_v: Arg, neurons: Arg, steps: Arg,
    count_a: Arg, count_b: Arg, reset: Arg, threshold: Arg, scale: Arg, VOLTAGE: constexpr, BLOCK: constexpr,
) -> None:  # fmt: skip
    """Run the forward pass over x (steps, neurons).

    keep_a, keep_b: int64 4096 - decay; neuron i has entry i % count. state_i, state_v: float32 states before the first
    step, and on return current and voltage of the last one, before reset. VOLTAGE: whether to write the voltages.
    """
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    inside = lane < neurons
    place = lane
    i = (tl.load(state_i + lane, inside, other=0.0) * scale).to(tl.int64)
    v = (tl.load(state_v + lane, inside, other=0.0) * scale).to(tl.int64)
    ka = tl.load(keep_a + lane % count_a, inside, other=0)
    kb = tl.load(keep_b + lane % count_b, inside, other=0)
    c = tl.zeros([BLOCK], tl.float32)
    u = tl.zeros([BLOCK], tl.float32)
    for _ in range(steps):
        product = i * ka
        drive = (tl.load(x + place, inside, other=0.0) * scale).to(tl.int64)
        i = tl.where(product > 0, product >> 12, -((-product) >> 12)) + drive
        c = tl.div_rn(i.to(tl.float32), scale)
        product = v * kb
        v = tl.where(product > 0, product >> 12, -((-product) >> 12)) + (c * scale).to(tl.int64)
        reached = v.to(tl.float32)
        u = tl.div_rn(reached, scale)
        v = tl.where(reached >= reset, 0, v)
        if VOLTAGE:
            tl.store(voltage + place, u, inside)
        tl.store(spikes + place, tl.where(u >= threshold, 1.0, 0.0), inside)
        place += neurons
    tl.store(state_i + lane, c, inside)
    tl.store(state_v + lane, u, inside)


@_compiled
def backward_kernel(
    gradient: Arg, voltage: Arg, out: Arg, keep_a: Arg, keep_b: Arg, neurons: Arg, steps: Arg, count_a: Arg,
    count_b: Arg, threshold: Arg, rate: Arg, height: Arg, BLOCK: constexpr,
) -> None:  # fmt: skip
    """Run the backward pass, the equations of kernels/neuron.py. keep_a, keep_b: float32 1 - decay / 4096."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    inside = lane < neurons
    # Triton makes a constant, without methods, of a number that is 1.
    place = lane + tl.full([BLOCK], 1, tl.int64) * (steps - 1) * neurons
    ka = tl.load(keep_a + lane % count_a, inside, other=0.0)
    kb = tl.load(keep_b + lane % count_b, inside, other=0.0)
    ca = tl.zeros([BLOCK], tl.float32)
    cb = tl.zeros([BLOCK], tl.float32)
    for _ in range(steps):
        distance = tl.abs(tl.load(voltage + place, inside, other=0.0) - threshold)
        slope = height * tl.exp2(-distance * rate)
        cb = kb * cb + tl.load(gradient + place, inside, other=0.0) * slope
        ca = ka * ca + cb
        tl.store(out + place, ca, inside)
        place -= neurons
