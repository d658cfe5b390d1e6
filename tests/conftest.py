from __future__ import annotations

import zlib

import numpy as np
import pytest


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Give each test randomness of its own, seeded from its name, so that a new test changes no other."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
