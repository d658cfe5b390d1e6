"""From a run folder to a verified file: lower, compact, write, read back, compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.trained import SplitFigures, TrainedModel, load_trained
from sdsnn.train.slayer.block_spikes import readout_voltages, trace
from sdsnn.train.slayer.lowering import lower
from sdsnn_core.backend import Backend
from sdsnn_core.compaction import Compaction, compact
from sdsnn_core.files import write_json
from sdsnn_core.network import Convolution, Network, Output

from .nir_format.writer import write_nir
from .resolution import finest_resolution, resolution_of, slayer_resolution, with_resolution
from .verify.backends import NetxFile, backends_for, recorded, write_netx_file
from .verify.certificate import Certificate, verify


@final
@dataclass(frozen=True, eq=False)
class Exported:
    """The results of an export."""

    trained: TrainedModel
    test: SplitFigures  # of the trained model on the test split
    masked: Network  # with every unit still in it
    compaction: Compaction  # the smaller network, and what was removed
    certificate: Certificate  # the proof that all forms spike alike on test samples
    network_file: Path
    netx: NetxFile  # the `.net` file, or why there is none

    @property
    def network(self) -> Network:
        """The network that was written."""
        return self.compaction.network

    def facts(self) -> dict[str, Any]:
        """Return the content of export.json (format 1): the checkpoint, and the shapes before units were removed."""
        trained, masked = self.trained, self.masked
        return {
            "format": 1,
            "network_sha256": self.network.digest(),
            "epoch": trained.epoch,
            "resolution": resolution_of(self.network),
            "validation_accuracy": trained.validation_accuracy,
            "test_accuracy_in_slayer": self.test.accuracy,
            "test_samples": self.test.samples,
            "compaction": self.compaction.counts(),
            "nodes": {name: {"shape": n.shape} for name, n in masked.nodes.items() if not isinstance(n, Output)},
            "projections": {
                name: {"kernel": p.kernel.shape, "groups": p.groups} if isinstance(p, Convolution) else {"kernel": None}
                for name, p in masked.projections.items()
            },
        }


def lower_trained(trained: TrainedModel) -> Network:
    """Return the Network of a trained model, every unit still in it."""
    shape, provenance = trained.input_shape, trained.provenance()
    return lower(trained.model, shape, input_max=trained.input_max, dt_s=trained.dt_s, provenance=provenance)


def slayer_backend(trained: TrainedModel, compaction: Compaction, spikes: npt.NDArray[np.uint8]) -> Backend:
    """Return a back end of what SLAYER's blocks did on `spikes`: the units that the compacted network kept."""
    network, blocks = compaction.network, trained.blocks
    with slayer_resolution(blocks, resolution_of(network)):
        trains = trace(trained.model, spikes)
        readouts = readout_voltages(trained.model, spikes)
    kept = {name: units for name, units in compaction.kept.items() if name in network.populations}

    def of_kept(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {name: np.ascontiguousarray(arrays[name][..., kept[name]]) for name in kept if name in arrays}

    return recorded(of_kept(trains), of_kept(readouts))


def export_run(
    folder: RunFolder,
    *,
    verify_samples: int = 32,
    lava: bool = True,
    extra: Mapping[str, Backend] | None = None,
    resolution: int | None = 0,
) -> Exported:
    """Export the checkpoint that validation chose: network.nir, certificate.json and export.json in the run folder.

    Where the network is a chain that netx can hold, also network.net. SLAYER's own spikes, the files read back, `extra`
    back ends and, with `lava`, Lava's processes and lava-dl's netx are compared with the reference on the first
    `verify_samples` samples of the test split, bin by bin. resolution: bits by which the states become finer than
    SLAYER's, None for as many as fit on those samples (see resolution.py); SLAYER is then compared with that unit too.
    Raises NetworkError where so many bits do not fit.
    """
    trained = load_trained(folder)
    masked = lower_trained(trained)
    split = folder.test_split()
    spikes = split.spikes[:verify_samples]
    bits = finest_resolution(masked, spikes) if resolution is None else resolution
    masked = with_resolution(masked, bits)
    compaction = compact(masked)
    network = compaction.network
    write_nir(network, folder.network_file)
    netx = write_netx_file(network, folder.path / "network.net")
    slayer = slayer_backend(trained, compaction, spikes)
    chosen = backends_for(folder.network_file, netx, lava=lava, extra=extra)
    certificate = verify(network, spikes, {"slayer": slayer, **chosen.run}, traces=folder.path, skipped=chosen.skipped)
    write_json(folder.path / "certificate.json", certificate.as_dict())
    test = trained.test or trained.figures(split)
    exported = Exported(trained, test, masked, compaction, certificate, folder.network_file, netx)
    write_json(folder.path / "export.json", exported.facts())
    return exported
