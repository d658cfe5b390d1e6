"""Build the sdist and the wheel, install each into an empty environment and try it there: `python scripts/smoke.py`.

The files stay in `dist/`. The environment is temporary, with the locked versions and without Lava, as a user has it
who only reads and simulates networks. Prints one line per stage and exits with status 1 at the first that fails.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "locks" / "py{}{}.txt".format(*sys.version_info[:2])
TRY = """
import numpy as np, sdsnn
nodes = {"in": sdsnn.Input((2,)), "a": sdsnn.Population((1,), 4096, 410, 64), "out": sdsnn.Output("a")}
network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0, 1], [0, 0], [60, 80])})
sdsnn.write(network, "small.nir")
assert sdsnn.read("small.nir").digest() == network.digest()
spikes = np.ones((1, 5, 2), np.uint8)
counts = {name: int(sdsnn.simulate(network, spikes, backend=name).spikes["a"].sum()) for name in ("engine", "nir")}
assert counts == {"engine": 4, "nir": 4}, counts
assert sdsnn.place(network, "loihi2").n_cores == 1
"""
COMMANDS = (
    ("--version",),
    ("--help",),
    ("check", "small.nir"),
    ("place", "small.nir"),
    ("verify", "small.nir", "--random", "2"),
    ("zoo",),
    ("place", "zoo:mnist-conv"),
    ("simulate", "zoo:touch", "--rate", "0.05", "--samples", "2", "--plot", "spikes.svg"),
    ("report", "zoo:digits", "--rate", "0.1", "--samples", "2"),
)


def run(stage: str, *command: str | Path, cwd: Path | None = None) -> None:
    """Run a command in silence; print its output and exit if it fails."""
    print(f"smoke: {stage}", flush=True)
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}smoke: {stage}: failed with status {done.returncode}")


def main() -> None:
    """Build, install, try."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run("build the sdist and the wheel from it", sys.executable, "-m", "build", "--outdir", ROOT / "dist", ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run("an empty environment", sys.executable, "-m", "venv", folder / "env")
        python, sdsnn = folder / "env/bin/python", folder / "env/bin/sdsnn"
        options: tuple[str, ...] = ()
        for package in sorted((ROOT / "dist").glob("sdsnn-*"), reverse=True):
            install = (python, "-m", "pip", "install", "--quiet", "--constraint", LOCK, *options, package)
            run(f"install {package.name}", *install)
            run("import, read, write, simulate, place", python, "-c", TRY, cwd=folder)
            for words in COMMANDS:
                run(f"sdsnn {' '.join(words)}", sdsnn, *words, cwd=folder)
            options = ("--force-reinstall", "--no-deps")
    print("smoke: both work")


if __name__ == "__main__":
    main()
