"""Run one connection and one LIF population with Lava's unmodified processes: stock_lava.py KIND IN.npz OUT.npz."""

import sys
import warnings

import numpy as np
from scipy import sparse


def main(kind: str, source: str, result: str) -> None:
    from sdsnn_core.lava.compat import ensure_lava

    ensure_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.io.sink import Read, RingBuffer
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF
    from lava.proc.sparse.process import Sparse
    from lava.utils.weightutils import SignMode

    given = np.load(source)
    weight, spikes = given["weight"].astype(np.int32), given["spikes"].astype(np.int32)
    n_steps, n_post = len(spikes), len(weight)
    common = {"weight_exp": int(given["weight_exp"]), "sign_mode": SignMode.MIXED, "num_weight_bits": 9}
    if kind == "DelayDense":
        synapse = DelayDense(weights=weight, delays=given["delay"].astype(int), **common)
    elif kind == "Sparse":
        synapse = Sparse(weights=sparse.csr_matrix(weight), **common)
    else:
        synapse = Dense(weights=weight, **common)
    neurons = LIF(
        shape=(n_post,),
        v=given["start"].astype(np.int32),
        du=given["current_decay"] - 1,
        dv=given["voltage_decay"],
        vth=given["threshold"],
        bias_mant=given["bias"],
        bias_exp=int(given["bias_exp"]),
    )
    port, sink = Source(data=spikes.T), RingBuffer(shape=(n_post,), buffer=n_steps)
    port.s_out.connect(synapse.s_in)
    synapse.a_out.connect(neurons.a_in)
    neurons.s_out.connect(sink.a_in)
    current, voltage = Read(buffer=n_steps), Read(buffer=n_steps)
    current.connect_var(neurons.u)
    voltage.connect_var(neurons.v)
    neurons.run(condition=RunSteps(num_steps=n_steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    recorded = {"spikes": sink, "current": current, "voltage": voltage}
    np.savez(result, **{name: process.data.get().T.astype(np.int64) for name, process in recorded.items()})
    neurons.stop()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Lava's own, at import
    main(*sys.argv[1:])
