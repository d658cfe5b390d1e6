"""The run of SANA-FE, in a child process: its licence is the GPL, and an exception in it ends the process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLD = 1e12  # of receivers, which never spike


def replay(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Replay trains on a chip.

    payload: `architecture`: text. `receivers`: (n,) index of the core of each. `senders`: (m,) core of each,
    `soma`: (m,) number of its soma there, `trains`: (m, steps) bool, `order`: (n + m,) receivers (number) and
    senders (n + number) in the order in which a core handles them. `units`: (n,) number of the receiver's soma on its
    core. `sums`: (n + m,) number of the dendrite of each. `edges`: kind -> (sender, receiver) arrays.
    `timing`: the name of a timing model. Returns columns of the trace of each step, the totals, and `spikes`: (k, 2)
    sender and step of every spike seen.
    """
    import sanafe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chip.yaml"
        path.write_text(payload["architecture"])
        arch = sanafe.load_arch(str(path))
    cores = [core for tile in arch.tiles for core in tile.cores]
    trains, steps = payload["trains"], payload["trains"].shape[1]
    network = sanafe.Network()
    group = network.create_neuron_group
    places = payload["receivers"].tolist(), payload["senders"].tolist()
    model = {"threshold": THRESHOLD, "leak_decay": 1.0}
    receivers = group("receivers", len(places[0]), model, default_synapse_hw_name="dense")
    sums = payload["sums"].tolist()
    for number, unit in enumerate(payload["units"].tolist()):
        receivers[number].set_attributes(soma_hw_name=f"receiver{unit}", dendrite_hw_name=f"sums{sums[number]}")
    senders: Any = None
    if places[1]:
        senders = group("senders", len(places[1]), log_spikes=True, default_synapse_hw_name="dense")
    for number, soma in enumerate(payload["soma"].tolist()):
        attributes = {"spikes": trains[number].tolist()}
        at = sums[len(places[0]) + number]
        senders[number].set_attributes(
            soma_hw_name=f"sender{soma}", dendrite_hw_name=f"sums{at}", model_attributes=attributes
        )
    for number in payload["order"].tolist():
        sent = number - len(places[0])
        if sent < 0:
            receivers[number].map_to_core(cores[places[0][number]])
        else:
            senders[sent].map_to_core(cores[places[1][sent]])
    weightless = {"weight": 0.0}
    for kind, (source, target) in payload["edges"].items():
        for number in np.unique(target).tolist():  # an edge takes the synapse unit that its target names at that time
            receivers[number].set_attributes(default_synapse_hw_name=kind)
        for one, other in zip(source.tolist(), target.tolist(), strict=True):
            senders[one].connect_to_neuron(receivers[other], weightless)
    chip = sanafe.SpikingChip(arch)
    chip.load(network)
    result = chip.sim(steps, timing_model=payload["timing"], spike_trace=True, perf_trace=True)
    seen = [
        (address.neuron_offset, step) for step, spikes in enumerate(result.pop("spike_trace")) for address in spikes
    ]
    trace = {name: list(column) for name, column in result["perf_trace"].items()}
    totals = {name: value for name, value in result.items() if not name.endswith("trace")}
    return {"trace": trace, "totals": totals, "spikes": np.asarray(seen, np.int64).reshape(-1, 2)}
