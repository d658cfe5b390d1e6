"""One test drives all forms: random SLAYER models, their Network on the reference, its NIR file, and Lava."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from slayer_models import draw_model

from sdsnn.export.lava.run import run_lava
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.export.verify.backends import file_backend, recorded
from sdsnn.export.verify.certificate import Certificate, verify
from sdsnn.train.slayer.block_spikes import trace
from sdsnn.train.slayer.lowering import lower
from sdsnn_core.backend import Backend
from sdsnn_core.compaction import compact
from sdsnn_core.lava.compat import lava_available


def certify(seed: int, path: Path, *, lava: bool) -> Certificate:
    """Draw a model, lower and compact it, and compare every form with the reference."""
    rng = np.random.default_rng([seed, 77])
    torch.manual_seed(seed)
    blocks, shape = draw_model(rng)
    compaction = compact(lower(blocks, shape))
    network = compaction.network
    spikes = (rng.random((2, 24, *shape)) < 0.3).astype(np.uint8)
    trains = trace(blocks, spikes)
    kept = {name: trains[name][..., compaction.kept[name]] for name in network.populations}
    write_nir(network, path)
    backends: dict[str, Backend] = {"slayer": recorded(kept), "nir": file_backend(path)}
    if lava:
        backends["lava"] = run_lava
    return verify(network, {"input": spikes}, backends)


def run_all(seeds: range, path: Path, *, lava: bool) -> tuple[int, int]:
    networks = bins = 0
    for seed in seeds:
        certificate = certify(seed, path / f"{seed}.nir", lava=lava)
        assert certificate.verified, (seed, certificate.as_dict()["comparisons"])
        bins += certificate.bins
        networks += 1
    return networks, bins


def test_all_forms_of_random_models_spike_alike(tmp_path: Path) -> None:
    networks, bins = run_all(range(20), tmp_path, lava=False)
    assert networks == 20
    assert bins > 25_000


def test_lava_too(tmp_path: Path) -> None:
    if not lava_available():
        pytest.skip("Lava is not installed")
    networks, bins = run_all(range(100, 106), tmp_path, lava=True)
    assert networks == 6
    assert bins > 10_000


@pytest.mark.slow
@pytest.mark.timeout(3000)  # Lava starts once for each network
def test_many(tmp_path: Path, record_testsuite_property: Callable[[str, object], None]) -> None:
    networks, bins = run_all(range(1_000, 1_150), tmp_path, lava=lava_available())
    record_testsuite_property("networks", networks)
    record_testsuite_property("bins", bins)
    assert networks == 150
