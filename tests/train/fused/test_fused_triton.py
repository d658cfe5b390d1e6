"""The Triton kernels against the CPU's: run by Triton's interpreter where there is no GPU, and compiled for GPUs.

Forward results are equal bit for bit. Gradients agree to float32 rounding: the two exponentials differ by a few units
in the last place, and the order of multiplication and addition by rounding.
"""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.fused import Neuron, fuse
from sdsnn.train.fused.chunked import Chunked, run_chunked
from sdsnn.train.fused.kernels.neuron import Constants
from sdsnn.train.fused.layout import time_last
from sdsnn.train.fused.synapses import Plan
from sdsnn.train.fused.triton import passes as triton_passes
from sdsnn_core.lava.compat import import_slayer

GPU = torch.cuda.is_available()
if not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton_kernels.py is imported
pytestmark = pytest.mark.skipif(not triton_passes.usable(), reason="needs Triton 3: pip install triton")
DEVICE = "cuda" if GPU else "cpu"
ROUNDING = 1e-5


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """Draw currents of 1 to 300 neurons, decays, and constants with which values stay in the CPU kernels' range."""
    space = tuple(int(n) for n in rng.integers(1, 5, int(rng.choice([0, 2]))))
    shape = (int(rng.integers(1, 4)), int(rng.choice([1, 3, 17])), *space, int(rng.choice([1, 2, 9, 33])))
    threshold = float(rng.choice([0.5, 1.25, 64, 100]))

    def decay() -> torch.Tensor:
        size = int(rng.choice([1, shape[1]]))
        return torch.from_numpy(rng.choice([123, 409, 2048, 4096], size).astype(np.float32))

    constants = Constants.of(int(rng.choice([4096, 64])), threshold + 0.01 / 4096, float(rng.choice([0.05, 1])), 0.5)
    z = torch.from_numpy((rng.integers(-40, 60, shape) / 32).astype(np.float32))
    return {"z": z, "decays": (decay(), decay()), "constants": constants}


@pytest.mark.parametrize("seed", range(24))
def test_passes_equal_the_cpu(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = draw(rng)
    weights = torch.from_numpy(rng.standard_normal(case["z"].shape).astype(np.float32))
    on_cpu, on_gpu = case["z"].clone().requires_grad_(), case["z"].to(DEVICE).requires_grad_()
    plan = Plan.of_currents(on_cpu)
    chunked = Chunked(plan.sums, case["decays"], case["constants"], False)
    rows = run_chunked(plan.memory, plan.weight, chunked)
    assert rows is not None
    expected = plan.unpacked(rows)
    states = (torch.zeros(case["z"].shape[:-1], device=DEVICE),) * 2
    decays = tuple(decay.to(DEVICE) for decay in case["decays"])
    found = triton_passes.fire(on_gpu, decays, states, case["constants"])[0]
    assert torch.equal(expected, found.cpu())
    (expected * weights).sum().backward()
    (found * weights.to(DEVICE)).sum().backward()
    one, other = on_cpu.grad, on_gpu.grad
    assert one is not None
    assert other is not None
    assert float((one - other.cpu()).abs().max()) <= ROUNDING * float(one.abs().max()) + 1e-30


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("persistent", [False, True])
def test_neuron_equals_slayer(seed: int, persistent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole neuron, values beyond 2^30 and kept states too, against SLAYER on the CPU."""
    if GPU:
        pytest.skip("the interpreter runs on the CPU, where SLAYER's results are the measure")
    monkeypatch.setattr(Neuron, "_run", lambda self, plan, shifted: self._run_on_gpu(time_last(plan.memory)))
    rng = np.random.default_rng(1000 + seed)
    threshold, decays = float(rng.choice([0.5, 64])), rng.choice([1, 0.5, 0.03, 0], 2).tolist()
    stock = import_slayer().neuron.cuba.Neuron(threshold, *decays, scale_grad=3, persistent_state=persistent)
    fused = copy.deepcopy(stock)
    assert fuse(fused) == 1
    for call in range(3):
        size = 3e5 if call == 1 and seed % 2 else 1.0
        z = torch.from_numpy(
            (rng.integers(-40, 60, (2, 5, int(rng.choice([1, 7, 20])))) / 32 * size).astype(np.float32)
        )
        weights, results = torch.from_numpy(rng.standard_normal(z.shape).astype(np.float32)), []
        for neuron in (stock, fused):
            x = z.clone().requires_grad_()
            spikes = neuron(x)
            (spikes * weights).sum().backward()
            results.append((spikes, neuron.current_state, neuron.voltage_state, x.grad))
        for expected, found in zip(*(result[:3] for result in results), strict=True):
            assert torch.equal(expected, found)
        expected, found = results[0][3], results[1][3]
        assert float((expected - found).abs().max()) <= ROUNDING * float(expected.abs().max()) + 1e-30


@pytest.mark.parametrize("threshold", [1.25, 63, 64, 2047])
@pytest.mark.parametrize("eps", [None, 1])
def test_ties(threshold: float, eps: int | None) -> None:
    """A voltage of exactly the threshold fires from 64 on, and never with an eps of one state unit."""
    states = (torch.zeros(1, 2, device=DEVICE),) * 2
    decays = (torch.tensor([4096.0], device=DEVICE), torch.tensor([0.0], device=DEVICE))
    x = torch.full((1, 2, 4), threshold / 2, device=DEVICE)
    constants = Constants.of(4096, threshold + (eps or 0.01) / 4096, 1.0, 1.0)
    spikes = triton_passes.fire(x, decays, states, constants)[0]
    assert bool(spikes[0, 0, 1]) == (threshold >= 64 and not eps)


CODE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sdsnn.train.fused.triton import kernels as triton_kernels

for kernel in (triton_kernels.forward_kernel, triton_kernels.backward_kernel):
    types = {name: "i32" for name in kernel.arg_names}
    rows = "x voltage spikes state_i state_v gradient out".split()
    types |= {name: "*fp32" for name in types if name in rows}
    types |= {name: "fp32" for name in types if name in ("reset", "threshold", "scale", "rate", "height")}
    kind = "*i64" if "state_i" in types else "*fp32"
    types |= {name: kind for name in types if name.startswith("keep")}
    for on in (True, False):
        for ones in ((), ("steps", "count_a", "neurons")):  # Triton makes constants of ones
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
