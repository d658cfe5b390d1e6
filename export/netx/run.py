"""Run a `.net` file in lava-dl's netx on Lava's CPU runtime, in fixed point, in a child process with a time limit."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, prepare_inputs
from sdsnn_core.errors import NetworkError, UnsupportedNode

from ..lava.processes import MESSAGE_BITS, RESTART, restarting_models
from ..lava.run import collect, make_record_files, record_files
from .reader import read_netx
from .writer import chain

Spikes = npt.ArrayLike | Mapping[str, npt.ArrayLike]


def run_netx(
    path: str | Path,
    spikes: Spikes,
    n_steps: int | None = None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
    timeout_s: float = 600.0,
    remedied: bool = True,
    sparse: bool = False,
) -> Activity:
    """Load a `.net` file with lava-dl's netx and run all samples, each from the initial state.

    The parameters and the result are those of `reference.run` on `read_netx(path)`. remedied: set sign_mode MIXED and 9
    weight bits on the synapses, without which netx runs some matrices with other weights (`netx_format`). sparse:
    netx's sparse_fc_layer. Raises FileError, NetworkError and UnsupportedNode for the file, BackendError for the run.
    """
    return run_netx_many(
        [(path, spikes)],
        n_steps,
        record=record,
        record_state=record_state,
        timeout_s=timeout_s,
        remedied=remedied,
        sparse=sparse,
    )[0]


def run_netx_many(
    jobs: Sequence[tuple[str | Path, Spikes]],
    n_steps: int | None = None,
    *,
    record: Collection[str] | None = None,
    record_state: Collection[str] = (),
    timeout_s: float = 600.0,
    remedied: bool = True,
    sparse: bool = False,
) -> list[Activity]:
    """Run several files one after the other in one child process; otherwise as `run_netx`."""
    from sdsnn_core.lava.child import run_in_child

    prepared = []
    with tempfile.TemporaryDirectory(prefix="sdsnn-netx-") as scratch:
        for index, (path, spikes) in enumerate(jobs):
            network = read_netx(path)
            inputs, n_samples, length = prepare_inputs(network, spikes, n_steps)
            if "input_weight" in network.provenance:
                raise UnsupportedNode(
                    f"{path}: expected an input layer without neurons, got one whose bias is the input"
                )
            if unknown := set(record_state) - set(network.populations):
                raise NetworkError(
                    f"record_state: expected {', '.join(sorted(network.populations))}, got {', '.join(sorted(unknown))}"
                )
            folder = Path(scratch) / str(index)
            folder.mkdir()
            make_record_files(network, folder, n_samples, length, record_state)
            np.save(folder / "input.npy", next(iter(inputs.values())))
            prepared.append((network, inputs, folder, str(Path(path).resolve())))
        payload = {
            "folder": scratch,
            "files": [file for *_, file in prepared],
            "remedied": remedied,
            "sparse": sparse,
        }
        run_in_child("sdsnn.export.netx.run:simulate", payload, timeout_s)
        return [collect(network, inputs, folder, record, record_state) for network, inputs, folder, _ in prepared]


def simulate(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run the files that `run_netx_many` prepared; called in the child process. Returns the steps that were run."""
    from sdsnn_core.lava.compat import import_netx

    netx = import_netx()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer

    total = 0
    for index, file in enumerate(payload["files"]):
        folder = Path(str(payload["folder"])) / str(index)
        network = read_netx(str(file))
        train = np.load(folder / "input.npy")
        n_samples, n_steps, _ = train.shape
        port = next(iter(network.inputs.values()))
        loaded = netx.hdf5.Network(
            net_config=str(file),
            input_message_bits=MESSAGE_BITS if port.max_value > 1 else 0,
            sparse_fc_layer=bool(payload["sparse"]),
        )
        RESTART["n_steps"] = n_steps
        for layer, block in zip(chain(network), loaded.layers, strict=True):
            start = layer.population.per_neuron("initial_voltage").astype(np.int32)
            parameters = block.neuron.proc_params
            parameters["n_steps"] = n_steps
            parameters["start"] = start.reshape(tuple(block.neuron.v.shape)[::-1]).T
            parameters["record"] = {kind: str(path) for kind, path in record_files(folder, layer.name).items()}
            if payload["remedied"]:
                _set_sign_mode(block)
        steps = train.reshape(n_samples * n_steps, *tuple(loaded.inp.shape)[::-1])
        source = RingBuffer(data=steps.T.astype(np.int32))  # (x, y, channel, step) or (channel, step)
        source.s_out.connect(loaded.inp)
        config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=restarting_models())
        try:
            loaded.run(condition=RunSteps(num_steps=n_samples * n_steps), run_cfg=config)
        finally:
            loaded.stop()
        total += n_samples * n_steps
    return {"steps": total}


def _set_sign_mode(block: Any) -> None:
    """Keep Lava's models from deriving the sign mode anew, which clips matrices without positive entries."""
    from lava.utils.weightutils import SignMode

    for name in ("synapse", "synapse_rec"):
        synapse = getattr(block, name, None)
        if synapse is not None and type(synapse).__name__ != "Conv":
            synapse.proc_params.overwrite("sign_mode", SignMode.MIXED)
            synapse.proc_params.overwrite("num_weight_bits", 9)
