"""Checkpoints: damage of any kind is found, the last good one is used, a full disk leaves what was there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sdsnn.train.run import checkpoint
from sdsnn.train.run.checkpoint import (
    best_of,
    check_config,
    load_checkpoint,
    load_newest,
    previous,
    restore,
    save_checkpoint,
)
from sdsnn.train.run.config import RunConfig
from sdsnn_core.errors import FileError


def state(value: int) -> dict:
    return {"format": 1, "value": value, "weights": torch.arange(1000.0) * value}


def test_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    for value in (1, 2, 3):
        save_checkpoint(path, state(value))
    assert load_checkpoint(path)["value"] == 3
    assert load_checkpoint(previous(path))["value"] == 2
    assert sorted(os.listdir(tmp_path)) == ["c.pt", "c.pt.previous"]


def test_any_changed_byte_is_found(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, state(1))
    content = path.read_bytes()
    for position in [0, 30, *rng.integers(0, len(content), 60).tolist()]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"corrupt or not a checkpoint|expected a checkpoint of sdsnn") as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_with_or_without_checksum_is_one_line_or_intact(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    """200 places flipped or cut, half of them in files of before the checksum, where any exception can come up."""
    path = tmp_path / "c.pt"
    save_checkpoint(path, state(1))
    whole = path.read_bytes()
    archive = whole[whole.index(b"\n") + 1 :]
    refused = 0
    for case in range(200):
        content = bytearray(whole if case % 2 else archive)
        # The pickle, which is what can raise anything, lies at the beginning of the archive.
        position = int(rng.integers(len(content) if case % 4 < 2 else 600))
        if case % 8 < 6:
            content[position] ^= 1 << int(rng.integers(8))
        else:
            del content[position:]
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(path)
        except FileError as error:
            message = str(error)
        else:
            assert not case % 2, "a checksum must find every change"
            assert loaded["format"] == 1
            continue
        refused += 1
        assert message.startswith(f"checkpoint {path}: ")
        assert "\n" not in message
    assert refused >= 130


def test_a_damaged_first_line_is_not_taken_for_a_file_without_checksum(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, state(1))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(FileError, match="checksum does not match"):
        load_checkpoint(path)
    torch.save(state(2), path)  # as the first runs have it
    assert load_checkpoint(path)["value"] == 2


def test_damaged_newest_is_answered_by_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, state(1))
    save_checkpoint(path, state(2))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(RuntimeWarning, match=r"checksum does not match\); going on from .*previous"):
        assert load_newest(path)["value"] == 1
    previous(path).write_bytes(b"")
    with pytest.raises(FileError, match=r"c\.pt: corrupt"):
        load_newest(path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"format": 1, "evil": Evil()}, tmp_path / "c.pt")
    with pytest.raises(FileError, match="corrupt or not a checkpoint"):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "ran").exists()


def test_full_disk_is_one_line_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, state(1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(FileError, match=r"c\.pt: cannot write \(No space left on device\)"):
        save_checkpoint(path, state(2))
    monkeypatch.undo()
    assert load_checkpoint(path)["value"] == 1
    assert os.listdir(tmp_path) == ["c.pt"]


def test_training_on_a_disk_that_fills_up_ends_in_one_line_and_goes_on_later(tmp_path: Path) -> None:
    """Files may grow to 100 kB only: config and history fit, the checkpoint does not."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from sdsnn.cli.app import main; main()"
    )
    run = tmp_path / "run"
    more = ["--set", "optimiser.epochs=2", "--set", "model.hidden=[256]", "--set", "optimiser.fused=false"]
    first = subprocess.run(
        [sys.executable, "-c", code, "train", "digits", "--run", str(run), "--quiet", *more],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert first.returncode == 2, first.stderr
    assert first.stderr.count("\n") == 1
    assert "cannot write (File too large)" in first.stderr
    assert not list(run.glob("*.tmp")) + list(run.glob(".*.tmp"))
    again = subprocess.run(
        [sys.executable, "-m", "sdsnn", "train", "--resume", str(run), "--quiet"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("value", [None, "2", torch.zeros(0), torch.zeros(5, 2), [1], {}, 2])
def test_entries_of_another_kind_are_one_line(value: object, tmp_path: Path) -> None:
    """What `make fuzz-files KIND=checkpoint` found, with a right checksum."""
    save_checkpoint(tmp_path / "c.pt", {"format": value})
    with pytest.raises(FileError, match="expected a checkpoint of sdsnn"):
        load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(FileError, match="expected the configuration of its run, got none"):
        check_config({"config": None if isinstance(value, str) else value}, RunConfig())
    for best in (value, {"epoch": value}, {"epoch": 1, "score": value}, {"epoch": 1, "score": [0.5]}):
        if not isinstance(value, int):
            with pytest.raises(FileError, match="expected the epoch that validation chose, got none"):
                best_of({"best": best})
    model = torch.nn.Linear(2, 3)
    for state in ({}, {"model": value}, {"model": {**model.state_dict(), "weight": value}}):
        with pytest.raises(FileError, match="does not fit the network of its configuration"):
            restore(state, model=model)
