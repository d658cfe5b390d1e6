"""Lava's own tests, as its two wheels install them, pass through our import."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree
from collections import Counter
from pathlib import Path

import pytest

from sdsnn_core.lava_compat import lava_available

FOLDERS = {
    "lava-nc": ("proc/lif", "proc/dense", "proc/conv", "proc/sparse", "proc/io"),
    "lava-dl": ("lib/dl/netx", "lib/dl/slayer"),
}
PASSED, SKIPPED = 283, 5  # the skipped ones ask for a chip, by upstream's own condition
LIMIT_S = 1800


def installed_tests() -> list[Path]:
    """Return the folders of tests that the wheels installed; both put theirs below one top-level `tests`."""
    found = set()
    for distribution, folders in FOLDERS.items():
        for file in importlib.metadata.files(distribution) or []:
            found |= {
                Path(str(file.locate())).parents[0]
                for folder in folders
                if str(file) == f"tests/lava/{folder}/__init__.py"
            }
    return sorted(folder for folder in found if folder.is_dir())


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
def test_lavas_own_tests_pass(tmp_path: Path) -> None:
    folders = installed_tests()
    assert len(folders) == 7, f"the wheels' tests are not all installed: {folders}"
    (tmp_path / "apply_compat.py").write_text(
        "from sdsnn_core.lava_compat import import_netx, import_slayer\nimport_slayer()\nimport_netx()\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    report = tmp_path / "report.xml"
    options = ["-q", "-p", "apply_compat", "-p", "no:cacheprovider", "-W", "ignore", "-c", str(tmp_path / "pytest.ini")]
    places = [f"--rootdir={tmp_path}", f"--junitxml={report}", *map(str, folders)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *places],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    cases = xml.etree.ElementTree.parse(report).iter("testcase")
    verdicts = Counter(case[0].tag if len(case) else "passed" for case in cases)
    assert process.returncode == 0, output[-4000:]
    assert verdicts == {"passed": PASSED, "skipped": SKIPPED}, output[-2000:]
