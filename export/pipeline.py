"""From a run folder to a verified file: lower, compact, write, read back, compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from sdsnn.train.loop import TrainResult, load_best
from sdsnn.train.lowering import lower
from sdsnn.train.run_folder import RunFolder
from sdsnn.train.trace import trace
from sdsnn_core.compaction import Compaction, compact
from sdsnn_core.files import write_json
from sdsnn_core.network import Network

from .nir_writer import write_nir
from .verify import Backend, Certificate, lava_backend, nir_backend, recorded_backend, verify


@final
@dataclass(frozen=True, eq=False)
class Exported:
    """What export made.

    masked: the network with every unit still in it. compaction: the smaller network and what went.
    certificate: the proof that all forms spike alike on `n_samples` test samples.
    """

    result: TrainResult
    masked: Network
    compaction: Compaction
    certificate: Certificate
    network_file: Path

    @property
    def network(self) -> Network:
        """The network that was written."""
        return self.compaction.network


def lower_result(result: TrainResult) -> Network:
    """Return the Network of a trained model, every unit still in it."""
    trainer = result.trainer
    provenance = {"run": result.folder.path.name, "seed": trainer.config.seed, "epoch": result.best_epoch}
    return lower(trainer.model, trainer.data.shape, provenance=provenance)


def slayer_spikes(
    result: TrainResult, compaction: Compaction, spikes: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return what SLAYER's blocks emit on `spikes`, of the units that the compacted network kept."""
    trains = trace(list(result.trainer.model.blocks), spikes)
    return {
        name: np.ascontiguousarray(trains[name][..., units])
        for name, units in compaction.kept.items()
        if name in compaction.network.populations
    }


def export_run(folder: RunFolder, *, verify_samples: int = 32, lava: bool = True) -> Exported:
    """Export the checkpoint that validation chose: network.nir and certificate.json in the run folder.

    SLAYER's own spikes, the file read back and, with `lava`, Lava's fixed-point processes are compared with the
    reference on the first `verify_samples` samples of the test split, bin by bin.
    """
    result = load_best(folder)
    masked = lower_result(result)
    compaction = compact(masked)
    write_nir(compaction.network, folder.network_file)
    spikes = result.trainer.data.test.spikes[:verify_samples]
    backends: dict[str, Backend] = {
        "slayer": recorded_backend(slayer_spikes(result, compaction, spikes)),
        "nir": nir_backend(folder.network_file),
    }
    if lava:
        backends["lava"] = lava_backend()
    port = next(iter(compaction.network.inputs))
    certificate = verify(compaction.network, {port: spikes}, backends, traces=folder.path)
    write_json(folder.path / "certificate.json", certificate.as_dict())
    return Exported(result, masked, compaction, certificate, folder.network_file)
