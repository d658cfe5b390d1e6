"""Nodes of a float NIR graph: linear ones as matrices, neurons as one step of a recursion.

Every neuron model here is, per step,

    u <- (1 - a) u + g x          x: what the weights sum up
    v <- (1 - b) v + u + c
    spike where v > theta, and there v = 0

with v counted from the reset voltage. The writer says how tau, r and dt make a, b and g:

    euler     a, b = dt/tau; g = b r (LIF), a w_in b r (CubaLIF), dt r (IF): NIR's equations by forward Euler, as
              snnTorch, spikingjelly, lava-dl's scripts, Spyx and sdsnn write them
    norse     tau is written as tau * dt (norse issue 411): a, b = dt^2/tau; g = b r, also for CubaLIF; 1 for IF
    sinabs    tau is written in steps: b = 1 - exp(-1/tau); g = 1
    rockpool  a, b = 1 - exp(-dt/tau); g = 1 (LIF), 1 - a (CubaLIF); r is tau/dt exp(-dt/tau)

NIR has one reset, to v_reset. That a writer's neurons subtract the threshold instead is not in the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.geometry import Window, connections, output_shape, padding_pair, pair
from sdsnn_core.network import Shape

Floats = npt.NDArray[np.float64]
Kernel = tuple[Floats, Window]
Writer = Literal["euler", "norse", "sinabs", "rockpool"]

WRITERS: Final[Mapping[str, Writer]] = {
    "snntorch": "euler",
    "spikingjelly": "euler",
    "lava-dl": "euler",
    "spyx": "euler",
    "nir": "euler",
    "norse": "norse",
    "sinabs": "sinabs",
    "rockpool": "rockpool",
}
NEURONS: Final = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I")


@dataclass(frozen=True, eq=False)
class FloatNeurons:
    """Neurons of one node, all parameters (size,) float64.

    a, b: decays of u and v per step. gain: g. bias: c. threshold, start: counted from the reset voltage. fires: False
    for a leaky integrator, which is read by its voltage. through_current: the bias of its weights has to pass u.
    """

    shape: Shape
    a: Floats
    b: Floats
    gain: Floats
    bias: Floats
    threshold: Floats
    start: Floats
    fires: bool
    through_current: bool


def linear_of(node: Any, kind: str, shape: Shape, where: str) -> tuple[Any, Floats, Shape, Kernel | None]:
    """Return (matrix, bias, output shape, convolution or None) of one linear node."""
    size = int(np.prod(shape))
    if kind == "Flatten":
        return sparse.identity(size, format="csr"), np.zeros(size), (size,), None
    if kind == "Scale":
        factor = np.broadcast_to(np.asarray(node.scale, np.float64), shape).reshape(-1)
        return sparse.diags(factor, format="csr"), np.zeros(size), shape, None
    if kind in ("Linear", "Affine"):
        weight = np.asarray(node.weight, np.float64)
        if weight.ndim != 2 or weight.shape[1] != size:
            raise NetworkError(f"{where} weight: expected (N, {size}), got shape {weight.shape}")
        shift = np.broadcast_to(np.asarray(getattr(node, "bias", 0.0), np.float64), weight.shape[:1])
        return sparse.csr_matrix(weight), shift, weight.shape[:1], None
    if len(shape) != 3:
        raise NetworkError(f"{where}: expected (C, H, W), got an input of shape {shape}")
    if kind in ("SumPool2d", "AvgPool2d"):
        ky, kx = pair(node.kernel_size, f"{where} kernel_size")
        weight = np.full((shape[0], 1, ky, kx), 1.0 if kind == "SumPool2d" else 1.0 / (ky * kx))
        stride, padding, dilation, groups, bias = node.stride, node.padding, 1, shape[0], 0.0
    else:
        weight = np.asarray(node.weight, np.float64)
        stride, padding, dilation, bias = node.stride, node.padding, node.dilation, node.bias
        groups = int(np.asarray(node.groups).flat[0])
        if kind == "Conv1d":
            weight = weight[:, :, None, :]
            stride, dilation = ((1, int(np.asarray(value).flat[0])) for value in (stride, dilation))
            padding = padding if isinstance(padding, str) else (0, int(np.asarray(padding).flat[0]))
    stride, dilation = pair(stride, f"{where} stride"), pair(dilation, f"{where} dilation")
    window = Window(stride, padding_pair(padding, weight.shape[2:], stride, dilation, where), dilation, groups)
    out = output_shape(shape, weight.shape, window)
    shift = np.broadcast_to(np.asarray(bias, np.float64).reshape(-1, 1, 1), out).reshape(-1)
    return conv_matrix(shape, weight, window), shift, out, (weight, window)


def conv_matrix(shape: Shape, weight: Floats, window: Window) -> Any:
    """Return a convolution as a matrix (size of its output, size of `shape`), both in C order; csr float64."""
    size = (math.prod(output_shape(shape, weight.shape, window)), math.prod(shape))
    pre, post, entry = connections(shape, weight, window)
    return sparse.csr_matrix((weight[entry], (post, pre)), shape=size)


def recognised(neurons: Mapping[str, tuple[Any, str]], dt: float) -> Writer:
    """Return who wrote neurons (name -> (node, kind)) with these parameters. Raises NetworkError where that is open.

    What tells them apart: r = tau/dt (unit drive) is forward Euler; r = tau/dt exp(-dt/tau) rockpool; r = 1 with tau
    of 1 "second" and more is sinabs, in steps; r = 1 with tau below dt is norse.
    """
    found: set[Writer] = set()
    for name, (node, kind) in neurons.items():
        r = np.asarray(node.r, np.float64)
        if kind in ("IF", "I"):
            guess: Writer | None = "sinabs" if np.allclose(r, 1) else "euler"
        else:
            tau = np.asarray(node.tau_mem if kind.startswith("Cuba") else node.tau, np.float64)
            guess = _guess(tau, r, dt)
        if guess is None:
            raise NetworkError(
                f"node {name!r}: r = {r.reshape(-1)[0]:g} with tau = {tau.reshape(-1)[0]:g} s and dt = {dt:g} s does "
                f"not tell who wrote it; give the writer: {', '.join(WRITERS)}"
            )
        found.add(guess)
    if len(found) > 1:
        raise NetworkError(
            f"neurons look written by {' and by '.join(sorted(found))}; give the writer: {', '.join(WRITERS)}"
        )
    return found.pop() if found else "euler"


def _guess(tau: Floats, r: Floats, dt: float) -> Writer | None:
    steps = tau / dt
    if np.allclose(r, steps, rtol=1e-5, atol=0):
        return "euler"
    if np.allclose(r, steps * np.exp(-1 / steps), rtol=1e-5, atol=0):
        return "rockpool"
    if np.allclose(r, 1) and (tau >= 1).all():
        return "sinabs"
    if np.allclose(r, 1) and (tau < dt).all():
        return "norse"
    return None


def neurons_of(node: Any, kind: str, shape: Shape, dt: float, writer: Writer, where: str) -> FloatNeurons:
    """Return a neuron node as one step of a recursion. Raises NetworkError for values that make no stable neuron."""
    size = int(np.prod(shape))

    def full(name: str, default: float = 0.0) -> Floats:
        values = np.asarray(getattr(node, name, default), np.float64)
        if np.isnan(values).any() or (name.startswith("tau") and (values <= 0).any()):
            raise NetworkError(f"{where} {name}: expected positive seconds and numbers, got {values.min():g}")
        if values.size not in (1, size):
            raise NetworkError(f"{where} {name}: expected 1 or {size}, got {values.size} values")
        return np.broadcast_to(values.reshape(-1), (size,))

    def decay(name: str) -> Floats:
        ratio = {"euler": dt, "norse": dt * dt, "sinabs": 1.0, "rockpool": dt}[writer] / full(name)
        if writer in ("sinabs", "rockpool"):
            return np.asarray(-np.expm1(-ratio))
        if (ratio > 1 + 1e-5).any():
            raise NetworkError(
                f"{where} {name}: expected at least a step of {dt:g} s for {writer!r}, got {full(name).min():g} s; "
                "give a smaller dt, or another writer"
            )
        return np.minimum(ratio, 1.0)

    cuba = kind.startswith("Cuba")
    if cuba and writer == "sinabs":
        raise UnsupportedNode(f"{where}: expected LIF, IF, LI, got a {kind} by sinabs, which writes none")
    a = decay("tau_syn") if cuba else np.ones(size)
    if kind in ("IF", "I"):
        b, gain = np.zeros(size), dt * full("r") if writer == "euler" else np.ones(size)
    else:
        b = decay("tau_mem" if cuba else "tau")
        gain = np.ones(size) if writer in ("sinabs", "rockpool") else b * full("r")
    if cuba and writer == "euler":
        gain = gain * a * full("w_in", 1.0)
    elif cuba and writer == "rockpool":
        gain = 1 - a  # its current decays in the step in which the input arrives
    fires = kind in ("LIF", "CubaLIF", "IF")
    reset = full("v_reset") if fires and getattr(node, "v_reset", None) is not None else np.zeros(size)
    threshold = full("v_threshold") - reset if fires else np.zeros(size)
    if fires and (threshold < 0).any():
        raise NetworkError(f"{where} v_threshold: expected values from v_reset on, got lower ones")
    leak = full("v_leak") if kind not in ("IF", "I") else reset
    return FloatNeurons(shape, a, b, gain, b * (leak - reset), threshold, -reset, fires, through_current=cuba)
