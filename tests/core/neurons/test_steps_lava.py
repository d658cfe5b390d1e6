"""Every neuron model but CUBA (test_reference_lava.py) against Lava's own fixed-point models, state for state.

Parameters and sums are drawn over their whole ranges, so that registers wrap and saturate. As there, the models run
without Lava's runtime; one test per model runs the unmodified process under it.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lava_models import Port, modules

from sdsnn_core.lava.compat import lava_available
from sdsnn_core.network import (
    BIAS_MAX,
    DECAY_UNITY,
    THRESHOLD_MAX,
    AdaptiveLif,
    Delta,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
)
from sdsnn_core.neurons.models import REFRACTORY_MAX
from sdsnn_core.neurons.steps import STEPS

pytestmark = pytest.mark.skipif(not lava_available(), reason="Lava is not installed: see the README")


@pytest.fixture(scope="module")
def lava():
    return modules(
        atrlif="lava.proc.atrlif.models",
        rf="lava.proc.rf.models",
        rf_iz="lava.proc.rf_iz.models",
        sdn="lava.proc.sdn.models",
        lif="lava.proc.lif.models",
    )


def wide(rng, low, high, size):
    """Draw integers whose magnitudes are uniform in the logarithm, zero and both ends included."""
    drawn = (np.exp2(rng.uniform(0, np.log2(high + 1), size)) - 1).astype(np.int64)
    drawn[rng.random(size) < 0.05] = high
    return drawn * (rng.choice([-1, 1], size) if low < 0 else 1)


def draw_adaptive(rng, n):
    decays = [rng.choice([wide(rng, 0, DECAY_UNITY, n), rng.integers(0, DECAY_UNITY + 1, n)]) for _ in range(4)]
    thresholds = wide(rng, 0, THRESHOLD_MAX, n), wide(rng, 0, THRESHOLD_MAX, 1)[0]  # the model takes a single step
    return AdaptiveLif((n,), *decays, *thresholds, wide(rng, -1, BIAS_MAX, n), int(rng.integers(0, 8)))


def draw_resonator(rng, n):
    angle, length = rng.uniform(0, np.pi / 2, n), rng.integers(0, DECAY_UNITY, n)
    parts = (np.sin(angle) * length).astype(int), (np.cos(angle) * length).astype(int)
    if rng.random() < 0.3:  # states that grow, which no SLAYER neuron has
        parts = rng.integers(0, DECAY_UNITY, (2, n))
    return Resonator((n,), *parts, wide(rng, 0, THRESHOLD_MAX, n), reset=bool(rng.random() < 0.5))


def draw_encoder(rng, kind, n):
    spike_exp, state_exp = (6, 6) if rng.random() < 0.5 else rng.integers(0, 8, 2).tolist()
    limit = (2**31 - 1) >> (spike_exp + state_exp)
    more = {"bias": wide(rng, -1, limit, n), "relu": bool(rng.random() < 0.6)} if kind is SigmaDelta else {}
    return kind((n,), wide(rng, 0, limit, n), spike_exp=spike_exp, state_exp=state_exp,
                cumulative=bool(rng.random() < 0.5), **more)  # fmt: skip


def int32(values):
    return np.array(values, np.int32)


def their_adaptive(lava, p):
    model = lava.atrlif.PyATRLIFModelFixed({})
    model.i, model.v, model.r, model.theta = (np.zeros(p.size, np.int32) for _ in range(4))
    model.s = np.zeros(p.size, bool)
    fraction = {name: p.per_neuron(f"{name}_decay") for name in ("current", "voltage", "threshold", "refractory")}
    model.delta_i = (fraction["current"] - 1) / DECAY_UNITY
    model.delta_v, model.delta_theta, model.delta_r = (
        fraction[name] / DECAY_UNITY for name in ("voltage", "threshold", "refractory")
    )
    model.theta_0, model.theta_step = int32(p.per_neuron("threshold")), int32(p.threshold_step)
    model.bias_mant, model.bias_exp = p.per_neuron("bias").astype(np.int16), np.full(p.size, p.bias_exp, np.int16)
    return model, {"current": "i", "voltage": "v", "adapted": "theta", "refractory": "r"}


def their_resonator(lava, p):
    model = (lava.rf_iz.PyRF_IZModelFixed if p.reset else lava.rf.PyRFModelFixed)({})
    model.a_imag_in = Port()
    model.real, model.imag = np.zeros((2, p.size), np.int32)
    model.sin_decay, model.cos_decay = p.per_neuron("sin_decay"), p.per_neuron("cos_decay")
    model.state_exp, model.decay_bits, model.vth = int32([6]), int32([12]), int32(p.per_neuron("threshold") * 64)
    return model, {"current": "real", "voltage": "imag"}


def their_encoder(lava, p):
    is_delta = isinstance(p, Delta)
    model = lava.sdn.PyDeltaModelFixed({}) if is_delta else lava.sdn.PySigmaDeltaModelFixed({"act_mode": int(p.relu)})
    model.sigma, model.act, model.residue, model.error = (np.zeros(p.size, np.int32) for _ in range(4))
    scale = p.spike_exp + p.state_exp
    model.vth = int32(p.per_neuron("threshold") << scale)
    model.spike_exp, model.state_exp, model.cum_error = int32([p.spike_exp]), int32([p.state_exp]), p.cumulative
    if not is_delta:
        model.bias = int32(p.per_neuron("bias") << scale)
    return model, {"voltage": "act", "residue": "residue", "error": "error"}


def their_sigma(lava, p):
    model = lava.sdn.PySigmaModelFixed({})
    model.sigma = np.zeros(p.size, np.int32)
    return model, {"current": "sigma"}


MODELS = {
    "AdaptiveLif": (draw_adaptive, their_adaptive),
    "Resonator": (draw_resonator, their_resonator),
    "SigmaDelta": (lambda rng, n: draw_encoder(rng, SigmaDelta, n), their_encoder),
    "Delta": (lambda rng, n: draw_encoder(rng, Delta, n), their_encoder),
    "Sigma": (lambda _, n: Sigma((n,)), their_sigma),
}


@pytest.mark.parametrize("bits", [6, 10, 14, 18, 24, 31])
@pytest.mark.parametrize("kind", MODELS)
def test_state_for_state(lava, kind, bits):
    draw, theirs = MODELS[kind]
    sent = 0
    for seed in range(10):
        rng = np.random.default_rng([bits, seed])
        population = draw(rng, 1000)
        ours, (model, states) = STEPS.for_(population)(population, 1), theirs(lava, population)
        port, model.s_out = Port(), Port()
        setattr(model, "a_real_in" if kind == "Resonator" else "a_in", port)
        for _ in range(30):
            sums = wide(rng, -1, 2**bits - 1, (2, population.size)) * (rng.random(population.size) < 0.7)
            port.send(sums[0].astype(np.int32))
            if kind == "Resonator":
                model.a_imag_in.send(sums[1].astype(np.int32))
            with np.errstate(over="ignore"):
                model.run_spk()
            emitted = ours.step(sums[:1], sums[1:])[0]
            np.testing.assert_array_equal(emitted, model.s_out.value)
            for own, name in states.items():
                np.testing.assert_array_equal(getattr(ours, own)[0], getattr(model, name), err_msg=name)
            sent += int(np.count_nonzero(emitted))
    assert sent


def test_refractory_periods_as_lavas_float_model(lava):
    """Lava has LIFRefractory in floats only, which are exact where states decay wholly or not at all."""
    from sdsnn.export.lava.neurons import model as fixed_model

    fired = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        decays = rng.choice([0, DECAY_UNITY], 2)  # the model takes single ones
        period = int(rng.choice([1, 2, 7, REFRACTORY_MAX]))
        p = RefractoryLif((500,), *decays, wide(rng, 0, 2000, 500), period, rng.integers(-3, 4, 500))
        floats = lava.lif.PyLifRefractoryModelFloat({"refractory_period": period})
        floats.u, floats.v = np.zeros((2, 500))
        floats.du, floats.dv = decays / DECAY_UNITY
        floats.vth, floats.bias_mant = 64.0 * p.per_neuron("threshold"), p.per_neuron("bias") * 64.0
        fixed = fixed_model("LIFRefractory")({"refractory_period": period})
        fixed.u, fixed.v = np.zeros((2, 500), np.int32)
        fixed.du, fixed.dv, fixed.vth = *(decays - (1, 0)), p.per_neuron("threshold").astype(np.int32)
        fixed.bias_mant, fixed.bias_exp = p.per_neuron("bias").astype(np.int16), np.full(500, 6, np.int16)
        ours = STEPS.for_(p)(p, 1)
        for theirs, scale in ((floats, 64), (fixed, 1)):
            theirs.refractory_period_end = np.zeros(500, int)
            theirs.a_in, theirs.s_out, theirs.scale = Port(), Port(), scale
        for step in range(150):
            sums = rng.integers(-60, 90, 500) * (rng.random(500) < 0.3)
            emitted = ours.step(sums[None], sums[None])[0]
            fired += int(emitted.sum())
            for theirs in (floats, fixed):
                theirs.time_step = step + 1
                theirs.a_in.send(sums * theirs.scale)
                theirs.run_spk()
                np.testing.assert_array_equal(theirs.s_out.value, emitted)
                np.testing.assert_array_equal(theirs.u, ours.current[0])
                np.testing.assert_array_equal(theirs.v, ours.voltage[0])
    assert fired > 10_000


def arguments(p):
    """Return the arguments of Lava's process for a population of one setting."""

    def one(name):
        values = p.per_neuron(name)
        return values[0] if (values == values[0]).all() else values

    if isinstance(p, AdaptiveLif):
        return {
            "delta_i": (one("current_decay") - 1) / DECAY_UNITY,
            "delta_v": one("voltage_decay") / DECAY_UNITY,
            "delta_theta": one("threshold_decay") / DECAY_UNITY,
            "delta_r": one("refractory_decay") / DECAY_UNITY,
            "theta_0": one("threshold"),
            "theta_step": one("threshold_step"),
            "bias_mant": p.per_neuron("bias"),
            "bias_exp": p.bias_exp,
        }
    if isinstance(p, Resonator):
        # Lava rounds (1 - alpha) sin(2 pi / period) 4096 down: half a unit more makes sure of the integer.
        sin, cos = one("sin_decay") + 0.5, one("cos_decay") + 0.5
        period, alpha = 2 * np.pi / np.arctan2(sin, cos), 1 - np.hypot(sin, cos) / DECAY_UNITY
        return {"period": period, "alpha": alpha, "vth": one("threshold"), "state_exp": 6, "decay_bits": 12}
    shared = {"vth": one("threshold"), "spike_exp": p.spike_exp, "state_exp": p.state_exp, "cum_error": p.cumulative}
    return {**shared, "bias": p.per_neuron("bias"), "act_mode": int(p.relu)} if isinstance(p, SigmaDelta) else shared


def settings():
    """Yield (process, neurons): extremes that Lava's declared 12- and 16-bit types might not hold."""
    yield "ATRLIF", AdaptiveLif((9,), 410, 128, 64, 100, 2000, THRESHOLD_MAX, np.arange(9) - 4, 7)
    yield "ATRLIF", AdaptiveLif((9,), 4096, 0, 4096, 0, THRESHOLD_MAX, 4096)
    yield "ATRLIF", AdaptiveLif((9,), 0, 4096, 1, 4095, 70, 3)
    yield "RF", Resonator((9,), 2407, 3200, 300)
    yield "RF_IZ", Resonator((9,), 1, 4095, THRESHOLD_MAX, reset=True)
    yield "RF_IZ", Resonator((9,), np.arange(9) * 300, np.arange(9)[::-1] * 200, 40, reset=True)
    yield "SigmaDelta", SigmaDelta((9,), 6, np.arange(9) * 1000 - 4000)
    yield "SigmaDelta", SigmaDelta((9,), 2000, 3, relu=False, spike_exp=0, state_exp=3, cumulative=True)
    yield "Delta", Delta((9,), 50)
    yield "Delta", Delta((9,), 5000, spike_exp=2, state_exp=0, cumulative=True)


def test_unmodified_processes_under_the_runtime(tmp_path):
    rng = np.random.default_rng(0)
    command, cases = [sys.executable, str(Path(__file__).parents[2] / "stock_neurons.py")], []
    for index, (process, population) in enumerate(settings()):
        sums = rng.integers(-3000, 6000, (2, 30, population.size)) * (rng.random((2, 30, population.size)) < 0.5)
        more = {"imaginary": sums[1]} if isinstance(population, Resonator) else {}
        np.savez(tmp_path / f"in{index}.npz", arriving=sums[0], **more, **arguments(population))
        command += [process, str(tmp_path / f"in{index}.npz"), str(tmp_path / f"out{index}.npz")]
        cases.append((process, population, sums))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for index, (process, population, sums) in enumerate(cases):
        got, ours = np.load(tmp_path / f"out{index}.npz"), STEPS.for_(population)(population, 1)
        sent = np.array([ours.step(real[None], imaginary[None])[0] for real, imaginary in zip(*sums, strict=True)])
        np.testing.assert_array_equal(got["sent"], sent, err_msg=f"{process} {index}")
        assert sent.any() or population.per_neuron("threshold").max() == THRESHOLD_MAX
