"""The traces around a mismatch, in NIR's data format, for whoever has to find out why two back ends differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sdsnn_core import reference
from sdsnn_core.activity import Activity
from sdsnn_core.files import atomic_path
from sdsnn_core.network import Network

Trains = Mapping[str, npt.NDArray[Any]]
WINDOW = 16  # steps before and after the first difference


def save_mismatch(
    path: Path, network: Network, inputs: Trains, got: Trains, backend: str, place: tuple[int, int]
) -> Path:
    """Write the sample that differs, WINDOW steps to either side of the first difference; place: (sample, step).

    One node per input and population (read it with nir.read_data), observables as TimeGriddedData (1, steps, size):
    `reference` and the name of the back end hold spikes (bool), `current` and `voltage` the reference's state (float).
    """
    import nir

    sample, step = place
    alone = {name: train[sample : sample + 1] for name, train in inputs.items()}
    truth: Activity = reference.run(network, alone, record_state=list(network.populations))
    window = slice(max(0, step - WINDOW), step + WINDOW + 1)

    def gridded(values: npt.NDArray[Any], dtype: str) -> Any:
        return nir.TimeGriddedData(values[:, window].astype(dtype), network.dt_s)

    nodes = {}
    for name, train in truth.spikes.items():
        observables = {"reference": gridded(train, "bool")}
        if name in got:
            observables[backend] = gridded(got[name][sample : sample + 1], "bool")
            observables["current"] = gridded(truth.current[name], "float64")
            observables["voltage"] = gridded(truth.voltage[name], "float64")
        nodes[name] = nir.NIRNodeData(observables)
    with atomic_path(path) as aside:
        nir.write_data(aside, nir.NIRGraphData(nodes))
    return path
