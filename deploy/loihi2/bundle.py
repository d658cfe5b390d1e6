"""A folder for someone who has the chip: network, certificate, placement, report, and a script that needs only lava-dl.

network.nir, network.net   the network; without network.net where the format cannot hold it (README.txt says why)
certificate.json           every form spikes alike
placement.json             cores, limits, and what binds
report.html, report.json   the report
samples.npz, run_on_loihi.py   a few test samples with the output they should give, and the script that runs them
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from sdsnn_core.errors import FileError, NetworkError, UnsupportedNode, one_line
from sdsnn_core.files import write_json, write_text

from ..report.report import make_report, write_report
from .child import SCRIPT

SAMPLES = 4


def make_bundle(run: str | Path, *, chip: str = "loihi2") -> Path:
    """Write RUN/bundle, replacing an older one, and return it. Raises FileError where the run is not exported."""
    folder = Path(run)
    for name in ("network.nir", "certificate.json"):
        if not (folder / name).is_file():
            raise FileError(f"{folder / name}: expected a file that `sdsnn export {folder}` writes, got none")
    target = folder / "bundle"
    temporary = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder))
    try:
        _fill(folder, temporary, chip)
        temporary.chmod(0o755)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _fill(folder: Path, bundle: Path, chip: str) -> None:
    from sdsnn.export.netx.writer import write_netx
    from sdsnn.train.run.run_folder import RunFolder

    from ..engine import run

    for name in ("network.nir", "certificate.json"):
        shutil.copy2(folder / name, bundle / name)
    report = make_report(folder, chip=chip)
    write_report(report, bundle)
    write_json(bundle / "placement.json", report.data["placement"])
    network = report.run.network
    assert network is not None
    lines = [f"{report.run.path.resolve().name}: network.nir and certificate.json as `sdsnn export` wrote them."]
    try:
        write_netx(network, bundle / "network.net")
    except (NetworkError, UnsupportedNode) as error:
        lines.append(f"No network.net and no script: {one_line(error)}")
    else:
        test = RunFolder(folder).test_split()
        output = next(iter(network.outputs.values())).source
        spikes = test.spikes[:SAMPLES]
        counts = run(network, spikes, record="counts").counts[output]
        np.savez_compressed(bundle / "samples.npz", spikes=spikes, counts=counts, labels=test.labels[:SAMPLES])
        shutil.copyfile(SCRIPT, bundle / "run_on_loihi.py")
        lines.append(
            "python run_on_loihi.py: on Loihi 2 (lava-dl and Intel's extension); with --cpu: Lava's simulator."
        )
        lines.append("It was tried with --cpu and never on a chip.")
    write_text(bundle / "README.txt", "\n".join(lines) + "\n")
