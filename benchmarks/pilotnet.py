"""Seconds and memory of the commands on a `.net` file of PilotNet's size: `python benchmarks/pilotnet.py [FOLDER]`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pilotnet import write_pilotnet

COMMANDS = (
    ("check", "{file}"),
    ("import", "{file}", "--output", "{folder}/pilotnet.nir"),
    ("place", "{file}"),
    ("verify", "{file}"),
)


def main(folder: Path) -> None:
    """Write the file, run each command in a process of its own, print what it took."""
    file = write_pilotnet(folder / "pilotnet.net")
    print(f"{'command':10} {'seconds':>8} {'CPU s':>8} {'MiB':>8}  status")
    for command in COMMANDS:
        arguments = [part.format(file=file, folder=folder) for part in command]
        begin = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "sdsnn", *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        cpu = usage.ru_utime + usage.ru_stime
        status = os.waitstatus_to_exitcode(status)
        print(f"{command[0]:10} {seconds:8.1f} {cpu:8.1f} {usage.ru_maxrss / 1024:8.0f}  {status}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
