"""The Triton kernels against the CPU's: run by Triton's interpreter where there is no GPU, and compiled for GPUs.

Forward results are equal bit for bit. Gradients agree to float32 rounding: the two exponentials differ by a few units
in the last place, and the order of multiplication and addition by rounding.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.fused import functions, fuse
from sdsnn.train.fused.layout import Layout
from sdsnn.train.fused.triton import passes as triton_passes
from sdsnn_core.lava.compat import import_slayer

GPU = torch.cuda.is_available()
if not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton_kernels.py is imported
pytestmark = pytest.mark.skipif(not triton_passes.usable(), reason="needs Triton 3: pip install triton")
DEVICE = "cuda" if GPU else "cpu"
ROUNDING = 1e-5


def tools() -> ModuleType:
    """Load what test_fused.py draws networks with and compares them by."""
    spec = importlib.util.spec_from_file_location("fused_tools", Path(__file__).with_name("test_fused.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a layout of 1 to 300 neurons, decays, states, constants and values."""
    space = tuple(int(n) for n in rng.integers(1, 5, int(rng.choice([0, 2]))))
    shape = torch.Size((int(rng.integers(1, 4)), int(rng.choice([1, 3, 17])), *space, int(rng.choice([1, 2, 9, 33]))))
    order = tuple(int(n) for n in rng.permutation(len(shape) - 1))
    by_step = bool(rng.random() < 0.5)
    layout = Layout(shape, order if by_step else tuple(range(len(shape) - 1)), by_step)
    scale = int(rng.choice([4096, 4096, 64, 100]))  # 100: x scale / scale is not x
    threshold = float(rng.choice([0.5, 1.25, 64, 100]))
    large = float(rng.choice([1, 1, 1, 3e5]))  # beyond the range of int32
    values = torch.from_numpy((rng.integers(-40, 60, shape) / 32 * large).astype(np.float32))

    def decay() -> torch.Tensor:
        size = int(rng.choice([1, shape[1]]))
        return torch.from_numpy(rng.choice([0, 1, 123, 409, 2048, 4096], size).astype(np.float32))

    states = torch.from_numpy((rng.integers(-99, 99, (2, *shape[:-1])) / 64).astype(np.float32))
    no_reset = rng.random() < 0.2
    return {
        "x": layout.new(values).copy_(values),
        "layout": layout,
        "decays": (None if rng.random() < 0.3 else decay(), decay()),
        "states": (states[0], states[1]),
        "constants": functions.Constants(
            scale, None if no_reset else threshold + 0.01 / scale, float(rng.choice([0.05, 1])), 0.5, rng.random() < 0.3
        ),
    }


def moved(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case on the device of the kernels, strides kept."""
    pairs = {name: tuple(None if t is None else t.to(DEVICE) for t in case[name]) for name in ("decays", "states")}
    return {**case, **pairs, "x": case["x"].to(DEVICE)}


@pytest.mark.parametrize("seed", range(24))
def test_passes_equal_the_cpu(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = draw(rng)
    layout, late = case["layout"], bool(case["layout"].by_step and rng.random() < 0.4)
    wanted = {"current": True, "voltage": True, "spikes": True, "late": late}
    expected = functions.run_forward(**case, **wanted)
    found = triton_passes.run_forward(**moved(case), **wanted)
    for one, other in zip(expected, found, strict=True):
        assert one.stride() == other.stride() or one.numel() <= 1
        assert torch.equal(one, other.cpu())
    gradient = layout.new(case["x"]).copy_(torch.from_numpy(rng.standard_normal(layout.shape).astype(np.float32)))
    more: dict[str, Any] = {
        "from_spikes": bool(case["constants"].threshold is not None),
        "decay_gradients": (case["decays"][0] is not None and rng.random() < 0.7, bool(rng.random() < 0.7)),
        "late": late,
    }
    shared = (layout, case["decays"], case["constants"])
    on_cpu = functions.run_backward(gradient, *shared, *expected[:2], **more)
    shared = (layout, moved(case)["decays"], case["constants"])
    on_gpu = triton_passes.run_backward(gradient.to(DEVICE), *shared, *found[:2], **more)
    for one, other, size in zip(on_cpu, on_gpu, (1.0, *sizes(case, gradient, expected)), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            bound = ROUNDING * max(float(one.abs().max()), size if one is not on_cpu[0] else 0.0) + 1e-30
            assert float((one - other.cpu()).abs().max()) <= bound


def sizes(case: dict[str, Any], gradient: torch.Tensor, states: Any) -> list[float]:
    """Return bounds on what a decay's gradient adds, without signs: the sum may cancel."""
    steps = gradient.shape[-1]
    return [float(gradient.abs().sum() * steps * state.abs().max()) for state in states[:2]]


@pytest.mark.parametrize("seed", range(8))
def test_neuron_equals_slayer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole neuron, with norm, dropout and kept states, against SLAYER on the CPU."""
    if GPU:
        pytest.skip("the interpreter runs on the CPU, where SLAYER's results are the measure")
    monkeypatch.setattr(functions, "run_forward", triton_passes.run_forward)
    monkeypatch.setattr(functions, "run_backward", triton_passes.run_backward)
    found: list[float] = []
    module = import_slayer().neuron.dynamics.leaky_integrator
    original = module._li_dynamics_bwd

    def spy(gradient: torch.Tensor, output: torch.Tensor, decay: torch.Tensor) -> Any:
        gradients = original(gradient, output, decay)
        found.append(float((gradients[0][..., 1:] * output[..., :-1]).abs().sum()))
        return gradients

    monkeypatch.setattr(module, "_li_dynamics_bwd", spy)
    shared = tools()
    rng = np.random.default_rng(1000 + seed)
    params = shared.draw_neuron(rng, channels_only=True)
    stock = shared.Stock(**params)
    fused = copy.deepcopy(stock)
    assert fuse(fused) == 1
    for call in range(2):
        z = shared.draw_input(rng, (2, 5, int(rng.choice([1, 7, 20]))), params["threshold"])
        shared.both_ways(stock, fused, z, call, found)


@pytest.mark.parametrize("threshold", [1.25, 63, 64, 2047])
@pytest.mark.parametrize("eps", [None, 1])
def test_ties(threshold: float, eps: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A voltage of exactly the threshold fires from 64 on, and never with an eps of one state unit."""
    level = threshold + (eps or 0.01) / 4096
    layout = Layout(torch.Size((1, 2, 4)), (0, 1), False)
    states = (torch.zeros(1, 2, device=DEVICE),) * 2
    decays = (torch.tensor([4096.0], device=DEVICE), torch.tensor([0.0], device=DEVICE))
    x = torch.full((1, 2, 4), threshold / 2, device=DEVICE)
    constants = functions.Constants(4096, level)
    spikes = triton_passes.run_forward(x, layout, decays, states, constants, spikes=True)[2]
    assert bool(spikes[0, 0, 1]) == (threshold >= 64 and not eps)


CODE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sdsnn.train.fused.triton import kernels as triton_kernels

for kernel in (triton_kernels.forward_kernel, triton_kernels.backward_kernel):
    types = {name: "i32" for name in kernel.arg_names}
    rows = "x current voltage spikes state_i state_v last_i last_v gradient out".split()
    types |= {name: "*fp32" for name in types if name in rows}
    types |= {name: "fp32" for name in types if name in ("reset", "threshold", "scale", "width", "height")}
    kind = "*i64" if "state_i" in types else "*fp32"
    types |= {name: kind for name in types if name.startswith("keep")}
    types |= {name: "*fp64" for name in types if name.startswith("sums")}
    for on in (True, False):
        for ones in ((), ("steps", "by_step", "stride_a", "neurons")):  # Triton makes constants of ones
            fixed = {name: on for name in types if name.isupper()} | {name: 1 for name in ones} | {"BLOCK": 128}
            signature = {name: "constexpr" if name in fixed else kind for name, kind in types.items()}
            places = {(kernel.arg_names.index(name),): value for name, value in fixed.items()}
            source = ASTSource(fn=kernel, signature=signature, constexprs=places)
            target = GPUTarget("cuda", int(sys.argv[1]), 32)
            made = triton.compile(source, target=target, options={"enable_fp_fusion": False})
            assert len(made.asm["cubin"]) > 1000
print("compiled")
"""


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_without_a_gpu(capability: int, tmp_path: Path) -> None:
    import subprocess

    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", CODE, str(capability)], capture_output=True, text=True, timeout=300, check=False,
        env=environment,
    )  # fmt: skip
    assert answer.stdout == "compiled\n", answer.stderr
