"""Run populations with Lava's unmodified process of each kind: stock_neurons.py KIND IN.npz OUT.npz KIND ...

IN.npz holds the arriving sums (`arriving`, and `imaginary` of a resonator), each (steps, neurons), and the keyword
arguments of the process. OUT.npz holds what it sent, (steps, neurons), and its states by name.
"""

import sys
import warnings

import numpy as np

PLACES = {"ATRLIF": "atrlif", "RF": "rf", "RF_IZ": "rf_iz", "Delta": "sdn", "Sigma": "sdn", "SigmaDelta": "sdn"}
STATES = {
    "ATRLIF": ("i", "v", "theta", "r"),
    "RF": ("real", "imag"),
    "RF_IZ": ("real", "imag"),
    "Delta": ("act", "residue", "error"),
    "SigmaDelta": ("sigma", "act", "residue", "error"),
    "Sigma": ("sigma",),
}


def main(kind: str, source: str, result: str) -> None:
    from importlib import import_module

    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import Read, RingBuffer
    from lava.proc.io.source import RingBuffer as Source

    given = dict(np.load(source))
    sums = {port: given.pop(port).astype(np.int32) for port in ("arriving", "imaginary") if port in given}
    n_steps, n = sums["arriving"].shape
    process = getattr(import_module(f"lava.proc.{PLACES[kind]}.process"), kind)
    neurons = process(shape=(n,), **{key: value if value.ndim else value.item() for key, value in given.items()})
    ports = {"arriving": "a_real_in" if kind.startswith("RF") else "a_in", "imaginary": "a_imag_in"}
    for name, values in sums.items():
        port = Source(data=values.T)
        port.s_out.connect(getattr(neurons, ports[name]))
    sink = RingBuffer(shape=(n,), buffer=n_steps)
    neurons.s_out.connect(sink.a_in)
    probes = {name: Read(buffer=n_steps) for name in STATES[kind]}
    for name, probe in probes.items():
        probe.connect_var(getattr(neurons, name))
    neurons.run(condition=RunSteps(num_steps=n_steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    recorded = {"sent": sink, **probes}
    np.savez(result, **{name: each.data.get().T.astype(np.int64) for name, each in recorded.items()})
    neurons.stop()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Lava's own, at import
    for at in range(1, len(sys.argv), 3):
        main(*sys.argv[at : at + 3])
