from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores Ctrl-C in what it starts with `&`, and children inherit that; tests send it and see what happens.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine stalls at any example, so neither the time of one nor of its drawing says anything about the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Give each test randomness of its own, seeded from its name, so that a new test changes no other."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def python_with() -> Callable[[str], str]:
    """Give a function tool -> the Python that has it: SDSNN_READERS, default this one. It skips where that has not."""
    python, found = os.environ.get("SDSNN_READERS", sys.executable), {}

    def look(tool: str) -> str:
        if tool not in found:
            code = f"import importlib.util as u, sys; sys.exit(u.find_spec({tool!r}) is None)"
            found[tool] = subprocess.run([python, "-c", code], timeout=60, check=False).returncode == 0
        if not found[tool]:
            pytest.skip(
                f"{tool} is not installed in {os.path.basename(python)}; SDSNN_READERS may name a Python that has it"
            )
        return python

    return look
