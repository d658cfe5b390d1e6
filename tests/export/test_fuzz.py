"""Some dozen random networks through every form; `make fuzz` runs as many as one likes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fuzzing import draw_case, fuzz

from sdsnn.deploy.engine import run as run_engine
from sdsnn_core.lava.compat import lava_available

engine = partial(run_engine, n_threads=1)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_random_networks_spike_alike_in_every_form(tmp_path: Path) -> None:
    tally = fuzz(72, seed=11, lava_every=39 if lava_available() else 0, extra={"engine": engine}, folder=tmp_path)
    assert tally.failures == []
    assert tally.kinds == dict.fromkeys(("slayer", "any", "chain", "models"), 18)
    assert tally.backends["netx file"][0] > 24
    assert tally.lines()[-1] == f"networks 72, bins {tally.bins}, mismatches 0"
    assert tally.bins > 60_000
    assert not list(tmp_path.iterdir())


def test_a_back_end_that_is_wrong_is_counted_and_its_network_kept(tmp_path: Path) -> None:
    def silent(network, spikes, **options):
        activity = engine(network, spikes, **options)
        return replace(activity, spikes={name: np.zeros_like(train) for name, train in activity.spikes.items()})

    tally = fuzz(3, seed=11, first=1, extra={"silent": silent}, folder=tmp_path)
    assert tally.mismatches > 0
    assert all("silent" in line for line in tally.failures)
    number = tally.failures[0].split()[1]
    assert {"network.nir", "mismatch-silent.nir-data"} <= {path.name for path in (tmp_path / number).iterdir()}


def test_a_number_draws_the_same_network_again() -> None:
    assert draw_case(3, 7).network.digest() == draw_case(3, 7).network.digest()
    assert draw_case(3, 7).network.digest() != draw_case(4, 7).network.digest()
