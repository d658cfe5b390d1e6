"""The engine where the machine is awkward: damaged or unwritable kept code, forks, changed sources, broken input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import assert_same_activity, random_network

from sdsnn.deploy.engine import Engine
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.errors import NetworkError

TESTS = Path(__file__).parents[2]  # where the code below finds `networks`
RUN = """
import os, sys, numpy as np
from sdsnn.deploy.engine import Engine
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from networks import assert_same_activity, random_network
rng = np.random.default_rng(4)
network = random_network(rng)
x = random_spikes(rng, network, 6, 12)
engine, truth = Engine(network), reference.run(network, x)
assert_same_activity(engine.run(x, n_threads=2), truth)
"""
FORK = """
child = os.fork()
if child == 0:
    try:
        assert_same_activity(engine.run(x, n_threads=2), truth)
        assert_same_activity(Engine(network).run(x, n_threads=3), truth)
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def python(code: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_runs_with_threads() -> None:
    python(RUN + FORK)


@pytest.mark.slow  # the same cuts on small kernels: tests/core/system/test_compiled.py
def test_kept_code_that_is_cut_off_is_compiled_again(tmp_path: Path) -> None:
    python(RUN, NUMBA_CACHE_DIR=str(tmp_path))
    kept = [path for path in tmp_path.rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])
    python(RUN, NUMBA_CACHE_DIR=str(tmp_path))


def test_no_place_to_keep_code(tmp_path: Path) -> None:
    """Neither the folder of the sources nor the user's can be written: what an installation by root looks like."""
    nowhere = "import numba.core.caching as c\n(getattr(c, 'CacheImpl', None) or c._CacheImpl)._locator_classes = []\n"
    pytest.importorskip("numba.core.caching")
    python(nowhere + RUN, NUMBA_CACHE_DIR=str(tmp_path))
    assert not list(tmp_path.rglob("*.nb?"))


def test_values_that_are_not_allowed_are_refused_by_the_compiled_code() -> None:
    rng = np.random.default_rng(5)
    network = random_network(rng)
    x = random_spikes(rng, network, 4, 5)["input"]
    x[3, 4, -1] = 200
    engine = Engine(network)
    with pytest.raises(NetworkError, match=r"expected integers .* got 0..200"):
        engine.run(x, n_threads=2)
    x[3, 4, -1] = 0
    assert_same_activity(engine.run(x), reference.run(network, x))
