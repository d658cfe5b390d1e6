"""The passes of the CUBA neuron as Triton kernels: a program takes BLOCK neurons over all steps, a lane per neuron.

Triton compiles them when they first run, for whatever GPU is there. The arithmetic is forward.py's exact path, SLAYER's
on CPU: states are int64, products are shifted towards zero, divisions are rounded to nearest, comparisons are made in
float32. With TRITON_INTERPRET=1 in the environment the same code runs on a CPU, slowly. Importing this imports triton.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

triton: Any = importlib.import_module("triton")  # has no types
tl: Any = importlib.import_module("triton.language")
BLOCK = 128
if TYPE_CHECKING:
    constexpr: TypeAlias = Any
    Arg: TypeAlias = Any
else:  # what Triton looks for in annotations, and what it lets pass there
    constexpr, Arg = tl.constexpr, tl.tensor


def _compiled(function: Callable[..., Any]) -> Any:
    return triton.jit(function)


@_compiled
def forward_kernel(
    x: Arg, current: Arg, voltage: Arg, spikes: Arg, keep_a: Arg, keep_b: Arg, state_i: Arg, state_v: Arg, last_i: Arg,
    last_v: Arg, neurons: Arg, steps: Arg, by_neuron: Arg, by_step: Arg, stride_a: Arg, count_a: Arg, stride_b: Arg,
    count_b: Arg, reset: Arg, threshold: Arg, scale: Arg,
    HAS_A: constexpr, HAS_B: constexpr, CURRENT: constexpr, VOLTAGE: constexpr, SPIKES: constexpr, GRADED: constexpr,
    LATE: constexpr, BLOCK: constexpr,
) -> None:  # fmt: skip
    """Run the forward pass of functions.run_forward.

    by_neuron, by_step: distance in memory of two neurons and of two steps. keep_a, keep_b: int64 4096 - decay, neuron i
    has entry (i // stride) % count. CURRENT, VOLTAGE, SPIKES: which results are wanted. LATE: spikes a step later.
    """
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    here = lane < neurons
    place = lane * by_neuron
    i = (tl.load(state_i + lane, here, other=0.0) * scale).to(tl.int64)
    v = (tl.load(state_v + lane, here, other=0.0) * scale).to(tl.int64)
    if HAS_A:
        ka = tl.load(keep_a + (lane // stride_a) % count_a, here, other=0)
    if HAS_B:
        kb = tl.load(keep_b + (lane // stride_b) % count_b, here, other=0)
    c = tl.zeros([BLOCK], tl.float32)
    u = tl.zeros([BLOCK], tl.float32)
    if LATE:
        tl.store(spikes + place, u, here)
    for t in range(steps):
        c = tl.load(x + place, here, other=0.0)
        if HAS_A:
            product = i * ka
            i = tl.where(product > 0, product >> 12, -((-product) >> 12)) + (c * scale).to(tl.int64)
            c = tl.div_rn(i.to(tl.float32), scale)
        if CURRENT:
            tl.store(current + place, c, here)
        u = c
        if HAS_B:
            product = v * kb
            v = tl.where(product > 0, product >> 12, -((-product) >> 12)) + (c * scale).to(tl.int64)
            reached = v.to(tl.float32)
            u = tl.div_rn(reached, scale)
            v = tl.where(reached >= reset, 0, v)
        if VOLTAGE:
            tl.store(voltage + place, u, here)
        if SPIKES:
            spike = tl.where(u >= threshold, u if GRADED else 1.0, 0.0)
            if LATE:
                if t + 1 < steps:
                    tl.store(spikes + place + by_step, spike, here)
            else:
                tl.store(spikes + place, spike, here)
        place += by_step
    tl.store(last_i + lane, c, here)
    tl.store(last_v + lane, u, here)


@_compiled
def backward_kernel(
    gradient: Arg, current: Arg, voltage: Arg, out: Arg, keep_a: Arg, keep_b: Arg, sums_a: Arg, sums_b: Arg,
    neurons: Arg, steps: Arg, by_neuron: Arg, by_step: Arg, stride_a: Arg, count_a: Arg, stride_b: Arg, count_b: Arg,
    threshold: Arg, width: Arg, height: Arg,
    HAS_A: constexpr, HAS_B: constexpr, SUM_A: constexpr, SUM_B: constexpr, SPIKES: constexpr, GRADED: constexpr,
    LATE: constexpr, BLOCK: constexpr,
) -> None:  # fmt: skip
    """Run the backward pass of functions.run_backward: the equations of backward.py.

    keep_a, keep_b: float32 1 - decay / 4096. sums_a, sums_b: float64, a neuron's share in the decays' gradients.
    SPIKES: `gradient` is that of spikes, LATE: of spikes that came a step late.
    """
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    here = lane < neurons
    # a step count of 1 is a constant to Triton, without methods
    place = lane * by_neuron + tl.full([BLOCK], 1, tl.int64) * (steps - 1) * by_step
    if HAS_A:
        ka = tl.load(keep_a + (lane // stride_a) % count_a, here, other=0.0)
    if HAS_B:
        kb = tl.load(keep_b + (lane // stride_b) % count_b, here, other=0.0)
    ca = tl.zeros([BLOCK], tl.float32)
    cb = tl.zeros([BLOCK], tl.float32)
    sa = tl.zeros([BLOCK], tl.float64)
    sb = tl.zeros([BLOCK], tl.float64)
    for back in range(steps):
        if LATE:
            g = tl.zeros([BLOCK], tl.float32)
            if back > 0:
                g = tl.load(gradient + place + by_step, here, other=0.0)
        else:
            g = tl.load(gradient + place, here, other=0.0)
        if SPIKES:
            distance = tl.load(voltage + place, here, other=0.0) - threshold
            distance = tl.minimum(distance, 0.0) if GRADED else -tl.abs(distance)
            g = g * (height * tl.exp(tl.div_rn(distance, width)))
        if HAS_B:
            if SUM_B:
                sb += (cb * tl.load(voltage + place, here, other=0.0)).to(tl.float64)
            cb = kb * cb + g
            g = cb
        if HAS_A:
            if SUM_A:
                sa += (ca * tl.load(current + place, here, other=0.0)).to(tl.float64)
            ca = ka * ca + g
            g = ca
        tl.store(out + place, g, here)
        place -= by_step
    if SUM_A:
        tl.store(sums_a + lane, sa, here)
    if SUM_B:
        tl.store(sums_b + lane, sb, here)
