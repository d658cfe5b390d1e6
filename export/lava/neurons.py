"""Neurons -> Lava's processes, and their fixed-point models restarted with every sample. Runs only beside Lava.

CubaLif      LIF, du = current_decay - 1 (the model adds 1), 64 * threshold as Lava's vth << 6
RefractoryLif  LIFRefractory, by a model that adds its period to LIF's: Lava has it in floats only
AdaptiveLif  ATRLIF, decays as fractions: delta_i = (current_decay - 1) / 4096, for the same reason
Resonator    RF or RF_IZ, a period and a decay that Lava rounds down to exactly the integers
SigmaDelta   SigmaDelta;  Delta  Delta;  Sigma  Sigma
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from sdsnn_core.arithmetic import DECAY_UNITY
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import (
    AdaptiveLif,
    CubaLif,
    Delta,
    Network,
    Population,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
)
from sdsnn_core.rules import Rules

# neurons -> their Lava process
NEURONS: Rules[Callable[[Any], Any]] = Rules("Lava: process of neurons")
# Lava's process -> (what `record_state` calls current, voltage, the other states) of its model
STATES: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "LIF": ("u", "v", ()),
    "LIFRefractory": ("u", "v", ("refractory_period_end",)),
    "ATRLIF": ("i", "v", ("r",)),
    "RF": ("real", "imag", ()),
    "RF_IZ": ("real", "imag", ()),
    "SigmaDelta": ("sigma", "act", ("residue", "error")),
    "Delta": ("sigma", "act", ("residue", "error")),
    "Sigma": ("sigma", "sigma", ()),
}
# neurons -> the parameter of which their process takes a single value
SINGLE: Final[dict[type, str]] = {AdaptiveLif: "threshold_step", RefractoryLif: "refractory"} | dict.fromkeys(
    (Resonator, Delta, SigmaDelta), "threshold"
)
# process -> its module; the others are in lava.proc.sdn
PLACES: Final = {"LIF": "lif", "LIFRefractory": "lif", "ATRLIF": "atrlif", "RF": "rf", "RF_IZ": "rf_iz"}


def process(name: str) -> Any:
    """Import a class of processes by name."""
    from importlib import import_module

    return getattr(import_module(f"lava.proc.{PLACES.get(name, 'sdn')}.process"), name)


def model(name: str) -> Any:
    """Import the fixed-point model of a process."""
    from importlib import import_module

    names = dict.fromkeys(("LIF", "LIFRefractory"), "PyLifModelBitAcc")
    models = import_module(f"lava.proc.{PLACES.get(name, 'sdn')}.models")
    chosen = getattr(models, names.get(name, f"Py{name}ModelFixed"))
    return _with_refractory_period(chosen) if name == "LIFRefractory" else chosen


def _with_refractory_period(lif: Any) -> Any:
    """Add the period of Lava's PyLifRefractoryModelFloat to a model of LIF."""
    from importlib import import_module

    variable = import_module("lava.magma.core.model.py.type").LavaPyType(np.ndarray, int)

    class WithRefractoryPeriod(lif):  # type: ignore[misc]
        implements_process = None  # not LIF
        refractory_period_end: Any = variable

        def subthr_dynamics(self, activation_in: Any) -> None:
            super().subthr_dynamics(activation_in)
            self.v[self.refractory_period_end >= self.time_step] = 0

        def reset_voltage(self, spike_vector: Any) -> None:
            super().reset_voltage(spike_vector)
            self.refractory_period_end[spike_vector] = self.time_step + self.proc_params["refractory_period"]

    return WithRefractoryPeriod


def sampled(name: str) -> type:
    """Return Lava's model of a process, restarted with every sample, which writes to memory-mapped files.

    The process parameters must hold n_steps, record ({"spikes" | "current" | "voltage": file}) and may hold start (the
    voltage before the first step), and restarts: (interval, phase) of its resets within a sample, interval 0 for none.
    """
    current, voltage, others = STATES[name]

    class Sampled(model(name)):  # type: ignore[misc]
        """A model that keeps what it sends."""

        def _send(self, values: Any) -> None:
            self.sent = values
            self.send(values)

        def _restart(self, start: Any) -> None:
            for state in {current, voltage, *others}:
                getattr(self, state)[...] = start if state == voltage else 0
            if getattr(self, "isthrscaled", False) and name == "ATRLIF":
                self.theta[...] = self.theta_0

        def run_spk(self) -> None:
            if not hasattr(self, "send"):
                self.send, self.s_out.send = self.s_out.send, self._send
            sample, step = divmod(int(self.time_step) - 1, self.proc_params["n_steps"])
            if step == 0:
                self._restart(self.proc_params.get("start", 0))
            interval, phase = self.proc_params["restarts"]
            if interval and step % interval == phase:
                self._restart(0)
            super().run_spk()
            record = self.proc_params["record"]
            for kind, values in (
                ("spikes", self.sent),
                ("current", getattr(self, current)),
                ("voltage", getattr(self, voltage)),
            ):
                if kind in record:
                    if not hasattr(self, f"_{kind}"):
                        setattr(self, f"_{kind}", np.load(record[kind], mmap_mode="r+"))
                    # netx's images are (W, H, C); a Network's neurons are in the C order of (C, H, W).
                    getattr(self, f"_{kind}")[sample, step] = np.transpose(values).reshape(-1)

    return Sampled


def refuse_neurons(network: Network) -> None:
    """Raise UnsupportedNode naming a population with several values where Lava's process takes one."""
    for name, population in network.populations.items():
        parameter = SINGLE.get(type(population))
        if parameter is not None and np.ptp(values := population.per_neuron(parameter)):
            raise UnsupportedNode(
                f"population {name!r} {parameter}: expected one value for all neurons, as Lava's process of "
                f"{type(population).__name__} has, got {values.min()}..{values.max()}"
            )


def _one(population: Population) -> int:
    return int(population.per_neuron(SINGLE[type(population)])[0])


@NEURONS.of(CubaLif)
def _cuba(population: CubaLif) -> Any:
    return process("LIF")(**_leaky(population))


@NEURONS.of(RefractoryLif)
def _refractory(population: RefractoryLif) -> Any:
    return process("LIFRefractory")(**_leaky(population), refractory_period=_one(population))


def _leaky(population: CubaLif | RefractoryLif) -> dict[str, Any]:
    return {
        "shape": (population.size,),
        "v": population.per_neuron("initial_voltage").astype(np.int32),
        "du": population.per_neuron("current_decay") - 1,
        "dv": population.per_neuron("voltage_decay"),
        "vth": population.per_neuron("threshold"),
        "bias_mant": population.per_neuron("bias"),
        "bias_exp": population.bias_exp,
    }


@NEURONS.of(AdaptiveLif)
def _adaptive(population: AdaptiveLif) -> Any:
    def fraction(name: str, offset: int = 0) -> Any:
        return (population.per_neuron(f"{name}_decay") - offset) / DECAY_UNITY

    return process("ATRLIF")(
        shape=(population.size,),
        delta_i=fraction("current", 1),
        delta_v=fraction("voltage"),
        delta_theta=fraction("threshold"),
        delta_r=fraction("refractory"),
        theta_0=population.per_neuron("threshold"),
        theta_step=_one(population),
        bias_mant=population.per_neuron("bias"),
        bias_exp=population.bias_exp,
    )


@NEURONS.of(Resonator)
def _resonator(population: Resonator) -> Any:
    # Lava takes (1 - alpha) sin(2 pi / period) 4096 rounded down: half a unit more makes sure of the integer.
    sin, cos = population.per_neuron("sin_decay") + 0.5, population.per_neuron("cos_decay") + 0.5
    return process("RF_IZ" if population.reset else "RF")(
        shape=(population.size,),
        period=2 * np.pi / np.arctan2(sin, cos),
        alpha=1 - np.hypot(sin, cos) / DECAY_UNITY,
        vth=_one(population),
        state_exp=6,
        decay_bits=12,
    )


@NEURONS.of(Delta, SigmaDelta)
def _encoder(population: Delta | SigmaDelta) -> Any:
    more: dict[str, Any] = {}
    if isinstance(population, SigmaDelta):
        more = {"bias": population.per_neuron("bias"), "act_mode": int(population.relu)}
    return process(type(population).__name__)(
        shape=(population.size,),
        vth=_one(population),
        spike_exp=population.spike_exp,
        state_exp=population.state_exp,
        cum_error=population.cumulative,
        **more,
    )


@NEURONS.of(Sigma)
def _sigma(population: Sigma) -> Any:
    return process("Sigma")(shape=(population.size,))
