"""Run a `.net` file in lava-dl's netx on Lava's CPU runtime, in fixed point, in a child process with a time limit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdsnn_core.activity import Activity
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.neurons.resets import check_resets

from ..lava.processes import MESSAGE_BITS, RESTART, add_parameters, run_steps
from ..lava.run import Spikes, run_jobs
from .reader import read_netx
from .writer import chain


def run_netx(path: str | Path, spikes: Spikes, n_steps: int | None = None, **options: Any) -> Activity:
    """Load a `.net` file with lava-dl's netx and run all samples, each from the initial state.

    Parameters and result are those of `reference.run` on `read_netx(path)`; `options` may hold those of `run_netx_many`
    too. Raises FileError, NetworkError and UnsupportedNode for the file, BackendError for the run.
    """
    return run_netx_many([(path, spikes)], n_steps, **options)[0]


def run_netx_many(
    jobs: Sequence[tuple[str | Path, Spikes]],
    n_steps: int | None = None,
    *,
    remedied: bool = True,
    sparse: bool = False,
    reset_every: int = 0,
    reset_offset: int = 1,
    **options: Any,
) -> list[Activity]:
    """Run several files one after the other in one child process.

    remedied: set sign_mode MIXED and 9 weight bits on the synapses, without which netx runs some matrices with other
    weights (`format.py`). sparse: netx's sparse_fc_layer. reset_every, reset_offset: netx's reset_interval and
    reset_offset, also of neurons for which netx has no resets. options: those of `run_jobs`.
    """
    check_resets(reset_every)
    networks = [(read_netx(path), spikes) for path, spikes in jobs]
    for (path, _), (network, _) in zip(jobs, networks, strict=True):
        if "input_weight" in network.provenance:
            raise UnsupportedNode(f"{path}: expected an input layer without neurons, got one whose bias is the input")
    payload = {"files": [str(Path(path).resolve()) for path, _ in jobs], "remedied": remedied, "sparse": sparse,
               "resets": (reset_every, reset_offset)}  # fmt: skip
    return run_jobs("sdsnn.export.netx.run:simulate", networks, payload, n_steps, **options)


def simulate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run the files that `run_netx_many` prepared; called in the child process."""
    from sdsnn_core.lava.compat import import_netx

    netx = import_netx()
    from lava.proc.io.source import RingBuffer

    for file, (network, inputs, record) in zip(payload["files"], payload["jobs"], strict=True):
        ((name, train),) = inputs.items()
        n_samples, n_steps, _ = train.shape
        loaded = netx.hdf5.Network(
            net_config=file,
            input_message_bits=MESSAGE_BITS if network.inputs[name].graded else 0,
            sparse_fc_layer=payload["sparse"],
        )
        RESTART["n_steps"] = n_steps
        every, offset = payload["resets"]
        for number, (layer, block) in enumerate(zip(chain(network), loaded.layers, strict=True)):
            restarts = every, (offset + number) % max(1, every)
            add_parameters(block.neuron, layer.population, n_steps, record[layer.name], restarts)
            if payload["remedied"]:
                _set_sign_mode(block)
        steps = train.reshape(n_samples * n_steps, *tuple(loaded.inp.shape)[::-1])
        source = RingBuffer(data=steps.T.astype(np.int32))  # (x, y, channel, step) or (channel, step)
        source.s_out.connect(loaded.inp)
        run_steps(loaded, n_samples * n_steps)
    return {}


def _set_sign_mode(block: Any) -> None:
    """Keep Lava's models from deriving the sign mode anew, which clips matrices without positive entries."""
    from lava.utils.weightutils import SignMode

    for name in ("synapse", "synapse_rec", "real_synapse", "imag_synapse"):
        synapse = getattr(block, name, None)
        if synapse is not None and type(synapse).__name__ != "Conv":
            synapse.proc_params.overwrite("sign_mode", SignMode.MIXED)
            synapse.proc_params.overwrite("num_weight_bits", 9)
