"""Pictures of a run: drawn from its history, written at the end of `sdsnn train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.train.run.plots import NAMES, against_sparsity, structure, survival, write_plots
from sdsnn.train.run.run_folder import RunFolder
from sdsnn_core.errors import FileError


def history(n_epochs: int) -> list[dict[str, Any]]:
    """Return the keys of history lines that the pictures read: two layers, of which the first loses half."""
    lines = []
    for epoch in range(n_epochs):
        gone = 50 * epoch // max(1, n_epochs - 1)
        layers = [
            {"layer": "blocks.0", "kind": "conv", "units": 10, "alive_units": 10 - gone // 10},
            {"layer": "blocks.2", "kind": "dense", "units": 4, "alive_units": 4},
        ]
        for layer, absent in zip(layers, (gone, 0), strict=True):
            layer.update({"synapses": 100 - absent, "absent": absent})
        lines.append(
            {
                "epoch": epoch,
                "layers": layers,
                "connection_sparsity": gone / 200,
                "synaptic_operations": [300.0 - gone, 0.0, 40.0],
                "train_accuracy": 0.1 + 0.8 * epoch / n_epochs,
                "validation_accuracy": 0.1 + 0.7 * epoch / n_epochs,
            }
        )
    return lines


def test_lines_hold_the_history_and_axes_their_units() -> None:
    figure = structure(history(8), chosen=6)
    synapses, units, operations, accuracy = figure.axes
    assert synapses.get_lines()[0].get_ydata()[-1] == 50.0
    assert synapses.get_lines()[2].get_ydata()[-1] == 75.0
    assert [line.get_label() for line in units.get_lines()[:2]] == ["conv 0", "dense 2"]
    assert units.get_lines()[0].get_ydata()[-1] == 50.0
    assert operations.get_lines()[0].get_ydata()[0] == 340.0
    assert [axis.get_ylabel().replace("\n", " ") for axis in figure.axes] == [
        "synapses present (% of dense)", "units alive (% of all)", "synaptic operations (per inference)",
        "accuracy (%)",
    ]  # fmt: skip
    assert accuracy.get_xlabel() == "epoch"


def test_survival_is_of_one_epoch() -> None:
    (axis,) = survival(history(8)[-1]).axes
    assert [bar.get_height() for bar in axis.patches] == [50.0, 100.0, 50.0, 100.0]
    assert axis.get_ylabel() == "left (% of dense; number above)"


def test_accuracy_against_sparsity_marks_the_chosen_epoch() -> None:
    axis, colours = against_sparsity(history(8), chosen=7).axes
    star = axis.get_lines()[1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (25.0, pytest.approx(71.25))
    assert axis.get_xlabel() == "absent synapses (% of dense)"
    assert axis.get_ylabel() == "validation accuracy (%)"
    assert colours.get_ylabel() == "epoch"


@pytest.mark.parametrize("n_epochs", [1, 2, 30])
def test_files_are_whole_pictures(n_epochs: int, tmp_path: Path) -> None:
    assert write_plots(tmp_path, history(n_epochs), n_epochs - 1) == [tmp_path / name for name in NAMES]
    for name in NAMES:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_no_epochs_no_pictures_and_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert write_plots(tmp_path, []) == []
    with pytest.raises(FileError, match="not an existing folder"):
        write_plots(tmp_path / "missing", history(2))


def test_train_leaves_pictures_operations_and_if_asked_the_network_in_the_run_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["optimiser.epochs=2", "model.hidden=[16]", "data.n_steps=6", "optimiser.batch_size=256", "threads=1"]
    settings.append("development.stop_memory=1")
    outcome = CliRunner().invoke(
        app,
        [
            "train",
            "digits",
            "--quiet",
            "--export",
            "--run",
            str(run),
            *(x for item in settings for x in ("--set", item)),
        ],
    )
    assert outcome.exit_code == 0, outcome.output
    assert all((run / name).is_file() for name in NAMES)
    for told in (
        "note: development.pruning: acts",
        "note: development.stop_memory: 1 is not reached, the network is at",
    ):
        assert told in outcome.output
    assert json.loads((run / "certificate.json").read_text())["verified"] is True
    assert (run / "network.nir").is_file()
    for line in RunFolder.open(run).history():
        assert len(line["synaptic_operations"]) == 2
        assert all(operations > 0 for operations in line["synaptic_operations"])
        assert line["synapse_memory"] <= 64 * 16 + 16 * 10
        assert line["held"] is False
