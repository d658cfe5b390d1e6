"""The reference against Lava's own fixed-point models, state for state, over the full legal range.

The models run here without Lava's runtime: their ports are replaced by plain values, so that millions of neuron-steps
take seconds. One test runs unmodified processes under the real runtime (in a process of its own).
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lava_models import Port, modules
from networks import random_weights
from scipy import sparse

from sdsnn_core import reference
from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import (
    BIAS_MAX,
    DECAY_UNITY,
    DELAY_MAX,
    NEVER_FIRES,
    Input,
    Network,
    Output,
    Population,
    Synapses,
)
from sdsnn_core.neurons.steps import _CubaLif
from sdsnn_core.reference import _Wires

pytestmark = pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")


@pytest.fixture(scope="module")
def lava():
    names = {name: f"lava.proc.{name}.models" for name in ("conv", "dense", "lif", "sparse")}
    return modules(**names, weights="lava.utils.weightutils")


def lava_neurons(lava, population):
    model = lava.lif.PyLifModelBitAcc({})
    model.a_in, model.s_out = Port(), Port()
    model.u = np.zeros(population.size, np.int32)
    model.v = population.per_neuron("initial_voltage").astype(np.int32)
    model.du, model.dv = population.per_neuron("current_decay") - 1, population.per_neuron("voltage_decay")
    model.vth = population.per_neuron("threshold")
    model.bias_mant = population.per_neuron("bias").astype(np.int16)
    model.bias_exp = np.full(population.size, population.bias_exp, np.int16)
    return model


def wide(rng, low, high, size):
    """Draw integers whose magnitudes are uniform in the logarithm, zero and both ends included."""
    drawn = (np.exp2(rng.uniform(0, np.log2(high + 1), size)) - 1).astype(np.int64)
    drawn[rng.random(size) < 0.05] = high
    return drawn * (rng.choice([-1, 1], size) if low < 0 else 1)


def random_neurons(rng, size):
    return Population(
        (size,),
        rng.choice([wide(rng, 0, DECAY_UNITY, size), rng.integers(0, DECAY_UNITY + 1, size)]),
        rng.choice([wide(rng, 0, DECAY_UNITY, size), rng.integers(0, DECAY_UNITY + 1, size)]),
        wide(rng, 0, NEVER_FIRES, size),
        wide(rng, -1, BIAS_MAX, size),
        int(rng.integers(0, 8)),
        wide(rng, -1, 2**31 - 1, size),
    )


@pytest.mark.parametrize("bits", [8, 14, 17, 20, 24, 31])
def test_lif_state_for_state(lava, bits):
    """Input sums from one weight to what overflows 32 bits; u wraps beyond 17 bits, v saturates."""
    wrapped = saturated = fired = compared = 0
    for seed in range(4):
        rng = np.random.default_rng([bits, seed])
        population = random_neurons(rng, 5000)
        ours, theirs = _CubaLif(population, 1), lava_neurons(lava, population)
        for _ in range(40):
            arriving = wide(rng, -1, 2**bits - 1, population.size) * (rng.random(population.size) < 0.7)
            spike = ours.step(arriving[None], 0)[0]
            theirs.a_in.send(arriving.astype(np.int32))
            theirs.run_spk()
            np.testing.assert_array_equal(ours.current[0], theirs.u)
            np.testing.assert_array_equal(ours.voltage[0], theirs.v)
            np.testing.assert_array_equal(spike, theirs.s_out.value)
            compared += spike.size
            fired += int(spike.sum())
            wrapped += int((np.abs(arriving << 6) > STATE_LIMIT).sum())
            saturated += int((np.abs(ours.voltage) == STATE_LIMIT - 1).sum())
    assert compared == 4 * 40 * 5000
    assert fired
    assert saturated
    assert (wrapped > 0) == (bits > 17)


def test_lif_at_the_edges_of_its_registers(lava):
    """Every pair of a decayed current and an arriving sum that lands within two of +-2**23 or a multiple."""
    targets = np.concatenate([k * STATE_LIMIT + np.arange(-66, 67) for k in (-4, -3, -2, -1, 0, 1, 2, 3)])
    arriving = np.unique(targets >> 6)
    population = Population((arriving.size,), DECAY_UNITY, 0, NEVER_FIRES)
    ours, theirs = _CubaLif(population, 1), lava_neurons(lava, population)
    for sign in (1, 1, -1, -1, 1):
        ours.step(sign * arriving[None], 0)
        theirs.a_in.send((sign * arriving).astype(np.int32))
        theirs.run_spk()
        np.testing.assert_array_equal(ours.current[0], theirs.u)
        np.testing.assert_array_equal(ours.voltage[0], theirs.v)


@pytest.mark.parametrize(("interval", "offset"), [(4, 1), (7, 3)])
def test_resets_are_those_of_lif_reset(lava, interval, offset):
    """netx gives layer k LIFReset with an offset of reset_offset + 1 + k, in steps counted from 1."""
    rng = np.random.default_rng(interval)
    population = replace(random_neurons(rng, 3), threshold=200, initial_voltage=5)
    sums = rng.integers(-50, 200, (20, 3))
    sums[0] = 0  # what is sent in a step arrives in the next one
    # Weights of 1 and counts of up to 255 bring the same sums one step later.
    nodes = {"in": Input((6,), 255), "p": population, "out": Output("p")}
    matrix = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)], axis=1)
    network = Network(nodes, {"w": Synapses.from_dense("in", "p", matrix)})
    spikes = np.concatenate([np.maximum(sums, 0), np.maximum(-sums, 0)], axis=1)[1:]
    model = lava.lif.PyLifResetModelBitAcc({"reset_interval": interval, "reset_offset": offset + 1})
    stock = lava_neurons(lava, population)
    for name in ("a_in", "s_out", "u", "v", "du", "dv", "vth", "bias_mant", "bias_exp"):
        setattr(model, name, getattr(stock, name))
    expected = []
    for step, arriving in enumerate(sums):
        model.time_step = step + 1
        model.a_in.send(arriving.astype(np.int32))
        model.run_spk()
        expected.append(model.s_out.value)
    got = reference.run(network, spikes, 20, reset_every=interval, reset_offset=offset)
    np.testing.assert_array_equal(got.spikes["p"][0], np.array(expected))


def lava_wires(lava, kind, synapses, n_pre, n_post, graded):
    model_type = {
        "Dense": lava.dense.PyDenseModelBitAcc,
        "Sparse": lava.sparse.PySparseModelBitAcc,
        "DelayDense": lava.dense.PyDelayDenseModelBitAcc,
        "DelaySparse": lava.sparse.PyDelaySparseModelBitAcc,
    }[kind]
    model = model_type(
        {"weight_exp": synapses.weight_exp, "sign_mode": lava.weights.SignMode.MIXED, "num_weight_bits": 9}
    )
    model.s_in, model.a_out = Port(), Port()
    model.num_message_bits = np.array([8 if graded else 0])
    where = (synapses.post, synapses.pre)
    weights = sparse.csr_matrix((synapses.weight.astype(np.int32), where), (n_post, n_pre))
    delays = sparse.csr_matrix(
        (np.broadcast_to(synapses.delay, synapses.weight.shape).astype(int), where), (n_post, n_pre)
    )
    is_dense = kind.endswith("Dense")
    model.weights = weights.toarray() if is_dense else weights
    model.a_buff = np.zeros(n_post, np.int32)
    if kind.startswith("Delay"):
        model.delays = delays.toarray() if is_dense else delays
        model.a_buff = np.zeros((n_post, int(delays.max()) + 1), np.int32)
    return model


@pytest.mark.parametrize("kind", ["Dense", "Sparse", "DelayDense", "DelaySparse"])
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")  # Lava assigns into CSR
def test_connections_deliver_the_same_sums(lava, kind):
    compared = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n_pre, n_post, graded = int(rng.integers(1, 40)), int(rng.integers(1, 40)), bool(rng.random() < 0.5)
        delay = rng.integers(0, rng.choice([1, 3, DELAY_MAX + 1]), (n_post, n_pre)) if kind.startswith("Delay") else 0
        weight = random_weights(rng, (n_post, n_pre), float(rng.choice([0.1, 0.5, 1.0])))
        synapses = Synapses.from_dense("a", "b", weight, delay, int(rng.choice([0, 0, 1, 7])))
        if not synapses.weight.size:
            continue
        ours, theirs = _Wires(synapses, n_pre, n_post, 1), lava_wires(lava, kind, synapses, n_pre, n_post, graded)
        for _ in range(80 if seed < 5 else 20):
            values = (rng.random(n_pre) < 0.4) * rng.integers(1, 256 if graded else 2, n_pre)
            theirs.s_in.send(values.astype(np.int32))
            theirs.run_spk()
            np.testing.assert_array_equal(ours.arrive()[0], theirs.a_out.value)
            ours.send(values[None])
            compared += n_post
    assert compared > 5000


@pytest.mark.parametrize("kind", ["Dense", "Sparse", "DelayDense"])
def test_unmodified_processes_under_the_runtime(kind, tmp_path):
    """Source -> connection -> LIF, neurons with parameters of their own; u, v of each step by Lava's probes."""
    rng = np.random.default_rng(0)
    n_pre, n_post, n_steps = 300, 500, 25
    delay = rng.integers(0, 12, (n_post, n_pre)) if kind == "DelayDense" else 0
    weight = rng.integers(-256, 256, (n_post, n_pre)) * (rng.random((n_post, n_pre)) < 0.5)
    weight[:20] = 255  # sums of 2**16, which with the exponent wrap 24 bits
    weight[20:40] = -256
    synapses = Synapses.from_dense("in", "p", weight, delay, 5)
    population = random_neurons(rng, n_post)
    spikes = (rng.random((n_steps, n_pre)) < 0.6).astype(np.uint8)
    network = Network({"in": Input((n_pre,)), "p": population, "out": Output("p")}, {"w": synapses})
    expected = reference.run(network, spikes, record_state=["p"])
    parameters = {name: population.per_neuron(name) for name in ("current_decay", "voltage_decay", "threshold", "bias")}
    np.savez(
        tmp_path / "in.npz",
        **parameters,
        start=population.per_neuron("initial_voltage"),
        bias_exp=population.bias_exp,
        weight=weight,
        delay=np.broadcast_to(delay, weight.shape),
        weight_exp=synapses.weight_exp,
        spikes=spikes,
    )
    script = Path(__file__).parents[1] / "stock_lava.py"
    command = [sys.executable, str(script), kind, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    got = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(got["spikes"], expected.spikes["p"][0])
    np.testing.assert_array_equal(got["current"], expected.current["p"][0])
    np.testing.assert_array_equal(got["voltage"], expected.voltage["p"][0])
    assert 0 < got["spikes"].sum() < got["spikes"].size
    assert (np.abs(np.diff(got["current"].astype(np.int64), axis=0)) > STATE_LIMIT).any()  # a wrap happened
