"""`sdsnn check` on SLAYER blocks, run folders and files, and the command's words and status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.export.check.blocks import BLOCK_RULES
from sdsnn.export.check.check import check as check_path
from sdsnn.export.netx.writer import write_netx
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.train.run.config import load_config
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn_core.errors import FileError
from sdsnn_core.lava.compat import import_slayer, lava_available
from sdsnn_core.network import Input, Network, Output, Population, Synapses

needs_slayer = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
NEURON = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.1}


def dense(neuron: dict[str, Any] | None = None, **of: Any) -> Any:
    return import_slayer().block.cuba.Dense({**NEURON, **(neuron or {})}, 6, 4, **of)


def persistent() -> Any:
    """The trap itself: one dict of parameters for a recurrent block and the dense one behind it."""
    shared: dict[str, Any] = dict(NEURON)
    import_slayer().block.cuba.Recurrent(shared, 4, 4)
    return import_slayer().block.cuba.Dense(shared, 4, 3)


def small_weights() -> Any:
    block = dense()
    with torch.no_grad():
        block.synapse.weight.fill_(0.5)
        block.synapse.weight[0] = 1 / 65
    return block


def without_hook() -> Any:
    block = dense()
    block.synapse.pre_hook_fx = None
    return block


BLOCKS: dict[str, tuple[Callable[[], Any], str]] = {
    "mask-and-norm": (lambda: dense(weight_norm=True, mask=torch.ones(4, 6)), "mask"),
    "shared-state": (persistent, "state"),
    "recurrent-state": (lambda: import_slayer().block.cuba.Recurrent(dict(NEURON), 4, 4), "state"),
    "count-log": (lambda: dense(count_log=True), "count_log"),
    "dead-zone": (small_weights, "24 weights are not 0, 18 of them after quantisation"),
    "no-quantiser": (without_hook, "float weights"),
    "tie": (lambda: dense({"threshold": 64.0}), "threshold 64 fires on a tie"),
    "norm": (lambda: dense({"norm": import_slayer().neuron.norm.WgtScaleBatchNorm}), "exponent"),
    "graded": (lambda: dense({"graded_spike": True}), "graded"),
    "delay-shift": (lambda: dense(delay_shift=False), "delay_shift=False"),
    "block-kind": (lambda: import_slayer().block.cuba.KWTA(NEURON, 6, 4, num_winners=2), "winners"),
}  # fmt: skip


@needs_slayer
@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", BLOCKS)
def test_rules_on_blocks(name: str) -> None:
    (rule,) = (rule for rule in BLOCK_RULES if rule.name == name)
    make, words = BLOCKS[name]
    (finding,) = rule.findings([import_slayer().block.cuba.Flatten(), make()])
    assert finding.where.startswith("block 1 (")
    assert words.lower() in finding.what.lower()
    assert finding.help
    clean = [
        dense(weight_norm=True),
        dense(mask=torch.ones(4, 6)),
        dense({"norm": import_slayer().neuron.norm.MeanOnlyBatchNorm}),
    ]
    with torch.no_grad():
        for block in clean:
            for weight in (getattr(block.synapse, "weight_v", None), getattr(block.synapse, "weight_g", None)):
                if weight is not None:
                    weight.fill_(0.5)
    clean[1].synapse.weight.data.fill_(0.5)
    clean[2].synapse.weight.data.fill_(0.5)
    assert rule.findings(clean) == []


@needs_slayer
def test_a_subclass_is_what_it_inherits_from_or_is_refused_with_that() -> None:
    slayer = import_slayer()
    from lava.lib.dl.bootstrap.block import cuba as bootstrap

    class Sized(slayer.block.cuba.Dense):  # type: ignore[misc, name-defined]
        def __init__(self, size: int) -> None:
            super().__init__(NEURON, 6, size)

    (rule,) = (rule for rule in BLOCK_RULES if rule.name == "block-kind")
    assert rule.findings([Sized(4)]) == []
    (finding,) = rule.findings([bootstrap.Input(NEURON)])
    assert "a subclass of SLAYER's Input with a forward pass of its own" in finding.what
    assert finding.help == "use SLAYER's own Input, or its forward pass"


@needs_slayer
def test_rules_of_cuba_neurons_leave_other_neurons_alone() -> None:
    sigma_delta = import_slayer().block.sigma_delta.Dense({"threshold": 64.0, "activation": torch.relu}, 6, 4)
    names = {rule.name for rule in BLOCK_RULES if rule.findings([sigma_delta])}
    assert not names & {"tie", "graded", "norm", "delay-shift", "recurrent-state"}


def test_every_rule_on_blocks_has_an_example_here() -> None:
    assert set(BLOCKS) == {rule.name for rule in BLOCK_RULES}


def network(weights: Any) -> Network:
    nodes = {"input": Input((3,)), "a": Population((2,), 4096, 400, 30), "output": Output("a")}
    return Network(nodes, {"w": Synapses.from_dense("input", "a", np.asarray(weights))})


CLEAN = [[60, -20, 10], [-30, 80, 40]]


def check(path: Path, *more: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["check", str(path), *more])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def test_a_clean_file_has_no_findings_and_status_0(tmp_path: Path) -> None:
    path = tmp_path / "network.nir"
    write_nir(network(CLEAN), path)
    assert check_path(path) == []
    assert check(path) == (0, f"{path}: 0 errors, 0 warnings and notes\n")
    write_netx(network(CLEAN), tmp_path / "network.net")
    assert check_path(tmp_path / "network.net") == []


def test_the_worst_comes_first_and_errors_give_status_1(tmp_path: Path) -> None:
    path = tmp_path / "network.nir"
    write_nir(network([[-128, 0, 0], [0, -3, -1]]), path)
    found = check_path(path)
    assert [finding.severity for finding in found] == sorted(
        (finding.severity for finding in found), key=["error", "warning", "note"].index
    )
    status, text = check(path)
    assert status == 1
    assert text.splitlines()[0].startswith(
        "error: projection 'w': expected positive weights too, got -128..0: netx would"
    )
    assert text.splitlines()[0].endswith("[docs/traps.md#netx-weights]")
    status, line = check(path, "--json")
    assert status == 1
    written = json.loads(line)
    assert written["file"] == str(path)
    assert written["errors"] == sum(finding.severity == "error" for finding in found)
    assert written["findings"] == [finding.as_dict() for finding in found]


def float_file(path: Path, tau: float, weight: float) -> Path:
    one, none = np.ones(2), np.zeros(2)
    nodes = {
        "input": nir.Input(np.array([3])), "w": nir.Affine(np.full((2, 3), weight), none),
        "a": nir.LIF(one * tau, one, none, one, none), "output": nir.Output(np.array([2])),
    }  # fmt: skip
    nir.write(path, nir.NIRGraph(nodes, [("input", "w"), ("w", "a"), ("a", "output")]))
    return path


def test_a_float_graph_is_told_to_import(tmp_path: Path) -> None:
    found = {finding.rule: finding for finding in check_path(float_file(tmp_path / "float.nir", 1e-3, 0.5))}
    assert found["integers"].severity == "error"
    assert "sdsnn import FILE --dt" in found["integers"].help
    assert found["step"].severity == "note"
    assert found["import"].where == "node 'a'"
    assert "read as nir; weights change by" in found["import"].what
    assert "import-refused" not in found


def test_what_import_would_refuse_is_an_error_of_check(tmp_path: Path) -> None:
    path = float_file(tmp_path / "float.nir", 20, 0.5)
    (refused,) = (finding for finding in check_path(path) if finding.rule == "import-refused")
    assert "node 'a': r = 1 with tau = 20 and dt = 0.0001 s fits sinabs and nir" in refused.what
    by_nir = [finding for finding in check_path(path, dt=1.0, writer="nir") if finding.rule == "import"]
    assert [finding.where for finding in by_nir] == ["node 'a'"]
    weak = float_file(tmp_path / "weak.nir", 20, 0.3)
    problems = [finding.what for finding in check_path(weak, dt=1.0, writer="nir") if finding.rule == "import-refused"]
    assert "node 'a': no neuron can reach its threshold, of which 0.9 is the most" in problems


def test_a_net_file_that_netx_misreads_is_told_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "network.net"
    write_netx(network(CLEAN), path)
    with h5py.File(path, "a") as file:
        del file["sdsnn"]
        del file["layer/1/type"]
        file["layer/1/type"] = np.array(["attention"], "S")
    found = check_path(path)
    assert (found[0].rule, found[0].severity, found[0].where) == ("layer-type", "error", "layer 1")
    assert "skips silently" in found[0].what
    with h5py.File(path, "a") as file:
        del file["layer/1/type"]
        file["layer/1/type"] = np.array(["dense"], "S")
        del file["layer/1/shape"]
        file["layer/1/shape"] = np.array([7])
    found = check_path(path)
    assert found[0].severity == "error"
    assert check(path)[0] == 1


@needs_slayer
def test_a_run_folder_is_checked_from_its_blocks_to_its_network(tmp_path: Path) -> None:
    settings = ["optimiser.epochs=1", "model.hidden=[24]", "data.n_steps=6", "development.pruning=false"]
    config = load_config("digits", settings)
    folder = RunFolder.create(tmp_path / "run", config)
    train(config, folder)
    found = check_path(folder.path)
    assert [finding for finding in found if finding.severity == "error"] == []
    # Development masks what the quantiser takes to zero, so the dead zone is empty.
    assert [finding.rule for finding in found if finding.rule == "dead-zone"] == []
    status, text = check(folder.path)
    assert status == 0
    assert text.splitlines()[-1].startswith(f"{folder.path}: 0 errors")


def test_what_cannot_be_checked_is_one_line(tmp_path: Path) -> None:
    for name, content, words in (
        ("a.txt", b"x", "expected a run folder, .nir or .net, got the ending '.txt'"),
        ("a.nir", b"x", "expected a NIR graph (.nir), got a file that is not an HDF5 file"),
        ("a.net", b"x", "expected a netx network (.net), got a file that is not an HDF5 file"),
        ("missing.nir", None, "no such file"),
        ("missing.net", None, "no such file"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FileError, match=r"\A[^\n]*\Z") as caught:
            check_path(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert words in str(caught.value)
    with h5py.File(tmp_path / "other.net", "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(FileError, match="expected a netx network"):
        check_path(tmp_path / "other.net")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="empty"):
        check_path(tmp_path / "empty")
