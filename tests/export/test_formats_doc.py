"""The table of layer kinds in docs/formats.md is what the code does: made here from every block kind, and compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from networks import assert_same_network

from sdsnn.export.lava.processes import process_kind
from sdsnn.export.netx.writer import write_netx
from sdsnn.export.nir_format.reader import read_nir
from sdsnn.export.nir_format.sinabs import to_sinabs
from sdsnn.export.nir_format.writer import to_nir, write_nir
from sdsnn.train.slayer.graph.builder import lowered_kinds
from sdsnn.train.slayer.graph.names import REASONS
from sdsnn.train.slayer.lowering import lower
from sdsnn_core import reference
from sdsnn_core.errors import SdsnnError
from sdsnn_core.lava.compat import import_slayer, lava_available
from sdsnn_core.network import CubaLif, Network

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.25}
ALIF = {**NEURON, "threshold_step": 0.5, "threshold_decay": 0.25, "refractory_decay": 0.25}
RF = {"threshold": 1.0, "period": 8, "decay": 0.1}
SDNN = {"threshold": 0.25, "activation": torch.relu}
pytestmark = [
    pytest.mark.skipif(not lava_available(), reason="Lava is not installed"),
    pytest.mark.filterwarnings("ignore:.*weight_norm"),
]
HEAD = "| SLAYER block | Network | NIR | netx | Lava | sinabs |"


def examples() -> dict[str, tuple[Callable[[], list[Any]], tuple[int, ...]]]:
    """Return name of a row -> the blocks, and the shape of their input."""
    slayer = import_slayer()
    block, norm = slayer.block, slayer.neuron.norm.MeanOnlyBatchNorm
    cuba, graded = block.cuba, block.sigma_delta
    image = (2, 6, 6)

    def dense(n_in: int = 6, **of: Any) -> Any:
        return cuba.Dense(dict(NEURON), n_in, 5, weight_scale=2, **of)

    def conv(**of: Any) -> Any:
        return cuba.Conv(dict(NEURON), 2, 4, 3, weight_scale=2, **of)

    return {
        "Dense": (lambda: [dense()], (6,)),
        "Dense, current decay below 1": (
            lambda: [cuba.Dense({**NEURON, "current_decay": 0.25}, 6, 5, weight_scale=2)], (6,)),
        "Dense with axonal delays": (lambda: [dense(delay=True), dense(5)], (6,)),
        "Dense with MeanOnlyBatchNorm": (lambda: [cuba.Dense({**NEURON, "norm": norm}, 6, 5, weight_scale=2)], (6,)),
        "Dense with decays per neuron": (
            lambda: [cuba.Dense({**NEURON, "shared_param": False, "voltage_decay": (0.1, 0.5)}, 6, 5, weight_scale=2)],
            (6,),
        ),
        "Recurrent": (lambda: [cuba.Recurrent(dict(NEURON), 6, 5, weight_scale=2)], (6,)),
        "Recurrent with axonal delays": (
            lambda: [cuba.Recurrent(dict(NEURON), 6, 5, weight_scale=2, delay=True), dense(5)], (6,)),
        "Conv (stride, padding, dilation)": (lambda: [conv(stride=2, padding=1, dilation=2)], image),
        "Conv with groups": (lambda: [conv(groups=2)], image),
        "Conv with axonal delays": (
            lambda: [conv(delay=True), cuba.Conv(dict(NEURON), 4, 4, 2, weight_scale=2)], image),
        "Conv with delays, Flatten, Dense": (lambda: [conv(delay=True), cuba.Flatten(), dense(64)], image),
        "Pool": (lambda: [cuba.Pool(dict(NEURON), 2, weight_scale=1.1)], image),
        "ConvT": (lambda: [cuba.ConvT(dict(NEURON), 2, 3, 2, stride=2, weight_scale=2)], image),
        "Unpool": (lambda: [cuba.Unpool(dict(NEURON), 2, weight_scale=1.1)], image),
        "Flatten, Dense": (lambda: [conv(), cuba.Flatten(), dense(64)], image),
        "Input with neurons": (lambda: [cuba.Input(dict(NEURON), weight=1.0), dense()], (6,)),
        "Affine": (lambda: [dense(), cuba.Affine(dict(NEURON), 5, 3, weight_scale=2)], (6,)),
        "alif Dense": (lambda: [block.alif.Dense(dict(ALIF), 6, 5, weight_scale=2)], (6,)),
        "alif Conv": (lambda: [block.alif.Conv(dict(ALIF), 2, 4, 3, weight_scale=2)], image),
        "rf Dense": (lambda: [block.rf.Dense(dict(RF), 6, 5, weight_scale=2)], (6,)),
        "rf_iz Dense": (lambda: [block.rf_iz.Dense(dict(RF), 6, 5, weight_scale=2)], (6,)),
        "rf Conv": (lambda: [block.rf.Conv(dict(RF), 2, 4, 3, weight_scale=2)], image),
        "sigma_delta Dense, Dense, Output": (
            lambda: [graded.Dense(dict(SDNN), 6, 5), graded.Dense(dict(SDNN), 5, 5), graded.Output(dict(SDNN), 5, 3)],
            (6,),
        ),
        "sigma_delta Input, Dense": (lambda: [graded.Input(dict(SDNN)), graded.Dense(dict(SDNN), 6, 5)], (6,)),
        "sigma_delta Conv": (lambda: [graded.Conv(dict(SDNN), 2, 4, 3)], image),
    }  # fmt: skip


def network_of(blocks: list[Any], shape: tuple[int, ...]) -> Network:
    """Run the blocks once, as SLAYER needs, give delays and means of their own, and lower them."""
    x = (torch.rand(2, *shape, 12) < 0.4).float()
    with torch.no_grad():
        for block in blocks:
            x = block(x)
    for block in blocks:
        block.eval()
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data = torch.arange(block.delay.delay.numel()).float().view_as(block.delay.delay) % 7
        if getattr(getattr(block, "neuron", None), "norm", None) is not None:
            block.neuron.norm.running_mean.fill_(-0.25)
    return lower(blocks, shape)


def or_refused(make: Callable[[], str]) -> str:
    try:
        return make()
    except SdsnnError:
        return "refused"


def counted(kinds: list[str]) -> str:
    """Return 'A, B' in the order of appearance, each once."""
    return ", ".join(dict.fromkeys(kinds))


def row(name: str, network: Network, folder: Path) -> str:
    """Return a row of the table; every file that is written is read back to the same network and the same spikes."""
    forms = [*(type(p).__name__ for p in network.projections.values())]
    if any(isinstance(p, CubaLif) and p.initial_voltage.any() for p in network.populations.values()):
        forms.append("initial voltage")
    spikes = (np.random.default_rng(0).random((2, 20, *next(iter(network.inputs.values())).shape)) < 0.4).astype(
        np.uint8
    )
    assert_same_network(read_nir(write_nir(network, folder / "a.nir")), network)

    def netx() -> str:
        try:
            write_netx(network, folder / "a.net")
            loader = ""
        except SdsnnError:
            write_netx(network, folder / "a.net", loader="sdsnn")
            loader = " (sdsnn's loader)"
        with h5py.File(folder / "a.net") as file:
            kinds = [np.asarray(file[f"layer/{i}/type"]).reshape(-1)[0].decode() for i in range(len(file["layer"]))]
        return counted([kind for kind in kinds if kind != "input"]) + loader

    lava = [process_kind(network, key) for key in network.projections]
    graph = to_nir(network)
    nodes = [type(node).__name__ for node in graph.nodes.values()]
    assert reference.run(network, spikes).counts
    cells = [
        name,
        counted(forms),
        counted([kind for kind in nodes if kind not in ("Input", "Output")]),
        or_refused(netx),
        counted(lava),
        or_refused(
            lambda: counted(sorted({type(n).__name__ for n in to_sinabs(network).nodes.values()} & {"IF", "LIF"}))
        ),
    ]
    return f"| {' | '.join(cells)} |"


def test_the_table_is_what_the_code_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = []
    with warnings.catch_warnings():
        for name, (make, shape) in examples().items():
            folder = tmp_path / name.replace(" ", "-")
            folder.mkdir()
            rows.append(row(name, network_of(make(), shape), folder))
    table = "\n".join([HEAD, "|---|---|---|---|---|---|", *rows])
    assert table in DOCS.read_text(encoding="utf-8"), f"docs/formats.md should say\n\n{table}\n"


def test_every_kind_of_block_has_a_row_and_every_refusal_its_reason() -> None:
    rows = " ".join(examples())
    assert all(kind.__name__ in rows for kind in lowered_kinds())
    text = DOCS.read_text(encoding="utf-8")
    table = "\n".join(f"| {name} | {reason} |" for name, reason in REASONS.items())
    assert table in text, f"docs/formats.md should say\n\n{table}\n"
