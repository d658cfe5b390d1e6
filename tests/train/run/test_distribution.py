"""Processes that train together: two reach what one does with the same batch in two parts, bit for bit.

Teams of threads stand in for processes where only the arithmetic matters; with Lightning Fabric, real processes do.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdsnn.train.run.checkpoint import load_checkpoint
from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.parts.build import group_of, trainer_for
from sdsnn.train.run.processes import ProcessGroup, init_process_group
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn.train.run.trainer import NoProgress, Trainer
from sdsnn_core.errors import ConfigError, MissingDependency

SMALL = ["model.hidden=[32, 24]", "data.n_steps=8", "optimiser.batch_size=100", "threads=1"]
needs_fabric = pytest.mark.skipif(
    importlib.util.find_spec("lightning_fabric") is None, reason="needs Lightning Fabric: pip install lightning-fabric"
)


class Thread(ProcessGroup):
    """One of several that train together in this process, as far as sums go."""

    def __init__(self, rank: int, meeting: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.world_size = rank, len(meeting)
        self.meeting, self.barrier = meeting, barrier

    def all_reduce(self, tensors: Sequence[torch.Tensor]) -> None:
        for tensor in tensors:
            self.meeting[self.rank] = tensor.detach().clone()
            self.barrier.wait(60)
            total = self.meeting[0].clone()
            for other in self.meeting[1:]:
                total += other
            self.barrier.wait(60)
            tensor.copy_(total)

    def check_equal(self, value: object, what: str) -> None:
        self.meeting[self.rank] = value
        self.barrier.wait(60)
        assert all(other == value for other in self.meeting), what
        self.barrier.wait(60)


def config(*more: str) -> RunConfig:
    return load_config("digits", [*SMALL, *more])


def trained(trainer: Trainer, n_epochs: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = [trainer.run_epoch(NoProgress()) for _ in range(n_epochs)]
    for line in lines:
        del line["seconds"], line["waiting"]
    return trainer.state(), lines


def together(made: RunConfig, n_threads: int, n_epochs: int) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Train in threads; return what each has come to."""
    meeting, barrier = [None] * n_threads, threading.Barrier(n_threads)
    trainers = [trainer_for(made, Thread(rank, meeting, barrier)) for rank in range(n_threads)]
    results: dict[int, Any] = {}

    def work(rank: int) -> None:
        try:
            results[rank] = trained(trainers[rank], n_epochs)
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return [results[rank] for rank in range(n_threads)]


def differences(left: Any, right: Any, where: str = "state") -> list[str]:
    """Return where two states differ, the text of their configuration aside."""
    if isinstance(left, dict):
        found = [] if left.keys() == right.keys() else [f"{where} has other keys"]
        return found + [
            d for key in left if key != "config" for d in differences(left[key], right[key], f"{where}.{key}")
        ]
    if isinstance(left, (list, tuple)):
        found = [] if len(left) == len(right) else [f"{where} has another length"]
        return found + [
            d for i, p in enumerate(zip(left, right, strict=False)) for d in differences(*p, f"{where}[{i}]")
        ]
    same = torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
    return [] if same else [where]


VARIANTS = {
    "dense": [],
    "uneven batches": ["optimiser.batch_size=97", "optimiser.clip=0.001"],
    "a last batch of one": ["optimiser.batch_size=34"],  # of 1,259 samples: the second process has none
    "weight norm": ["model.weight_norm=true"],
    "recurrent": ['model.layers=[{kind="recurrent", out=20}, {kind="dense", out=16}]', "model.hidden=[]"],
    "absent weights learn": ["development.mode=literal", "development.synapse_stage=false"],
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_two_reach_what_one_does_in_two_parts(variant: str) -> None:
    more = ["optimiser.epochs=6", *VARIANTS[variant]]
    one, history = trained(trainer_for(config(*more, "optimiser.accumulate=2")), 6)
    for state, lines in together(config(*more), 2, 6):
        assert differences(one, state) == []
        assert lines == history
    if variant == "a last batch of one":
        assert len(trainer_for(config(*more)).data.train) % 34 == 1
    layers = [layer for line in history for layer in line["layers"]]
    assert sum(layer["absent"] for layer in history[-1]["layers"]) > 100
    if variant in ("dense", "uneven batches"):
        assert sum(layer["regrown"] for layer in layers) > 0  # where absent synapses' gradients count


def test_two_have_the_structure_of_one_with_the_whole_batch() -> None:
    """Without noise, which is drawn for each part: the same synapses, and weights to rounding."""
    more = ["optimiser.epochs=4", "data.noise=0.0"]
    one, history = trained(trainer_for(config(*more)), 4)
    (two, lines), _ = together(config(*more), 2, 4)
    assert history[-1]["connection_sparsity"] == lines[-1]["connection_sparsity"] > 0.3
    for name, value in one["model"].items():
        if value.is_floating_point():
            torch.testing.assert_close(two["model"][name], value, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(two["model"][name], value), name


def test_more_than_two_differ_by_rounding_only() -> None:
    """Sums of more than two numbers depend on their order in the last bit."""
    one, history = trained(trainer_for(config("optimiser.epochs=2", "optimiser.accumulate=3")), 1)
    for state, lines in (results := together(config("optimiser.epochs=2"), 3, 1)):
        assert differences(results[0][0], state) == []  # but the three agree
        assert lines[0]["loss"] == pytest.approx(history[0]["loss"], rel=1e-3)
        for name, value in one["model"].items():
            if value.is_floating_point():
                torch.testing.assert_close(state["model"][name], value, rtol=0, atol=2e-2)  # two of Adam's steps


@pytest.mark.parametrize("accumulate", [2, 3, 7, 200])
def test_parts_have_the_gradient_of_the_whole_batch(accumulate: int) -> None:
    """Of present synapses, and of absent ones, whose absolute value is taken of the sum, not of the parts."""
    found = []
    for parts in (1, accumulate):
        trainer = trainer_for(config(f"optimiser.accumulate={parts}", "optimiser.batch_size=100"))
        generator = torch.Generator().manual_seed(1)
        for layer in trainer.developer.layers:
            layer.set_mask(torch.rand(layer.mask.shape, generator=generator) < 0.7)
            layer.synapses[0].hook.accumulates = True
        labels = trainer.data.train.labels[:100]
        spikes = np.moveaxis(trainer.data.train.spikes[:100], 1, -1).astype(np.float32)
        own = trainer.stepper.own_parts(100)
        assert sum(part.stop - part.start for _, part in own) == 100
        for _ in range(2):
            batch = [(torch.from_numpy(spikes[part]), torch.from_numpy(labels[part])) for _, part in own]
            loss, hits, _ = trainer.stepper.step(batch, 100, [[0, n] for n, _ in own])
            trainer.optimiser.load_state_dict(trainer.optimiser.state_dict())
        scores = [layer.absent_gradient.clone() for layer in trainer.developer.layers]
        gradients = [parameter.grad.clone() for parameter in trainer.stepper.parameters if parameter.grad is not None]
        found.append((loss, hits, scores, gradients))
        assert not any(layer.synapses[0].hook.signed for layer in trainer.developer.layers)
    whole, cut = found
    assert cut[0] == pytest.approx(whole[0], rel=1e-5)
    assert cut[1] == whole[1]
    assert all(bool((scores > 0).any()) for scores in whole[2])
    for expected, got in zip([*whole[2], *whole[3]], [*cut[2], *cut[3]], strict=True):
        assert float((expected - got).abs().max()) <= 1e-4 * float(expected.abs().max())


def run(
    folder: Path, *arguments: str, launcher: Sequence[str] = (), dashes: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "sdsnn", *dashes, "train", "--quiet", *arguments]
    more = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False, env=more)


def sets(*settings: str) -> list[str]:
    return [word for setting in (*SMALL, *settings) for word in ("--set", setting)]


@needs_fabric
def test_two_processes_go_on_to_the_result_of_one(tmp_path: Path) -> None:
    """The first epoch in one process, the others by two that Fabric starts: the result of one alone."""
    whole = RunFolder.create(tmp_path / "whole", config("optimiser.epochs=6", "optimiser.accumulate=2"))
    train(whole.config(), whole)

    class Stop(NoProgress):
        def __init__(self, at: int) -> None:
            self.at = at

        def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
            if epoch == self.at:
                raise KeyboardInterrupt

    cut = RunFolder.create(tmp_path / "cut", config("optimiser.epochs=6", "optimiser.accumulate=2"))
    with pytest.raises(KeyboardInterrupt):
        train(cut.config(), cut, progress=Stop(1))
    one = ["--resume", "cut", "--set", "optimiser.accumulate=1"]
    answer = run(tmp_path, *one, "--set", "hardware.devices=2")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("test accuracy") == 1
    for name in ("checkpoint.pt", "best.pt"):
        assert differences(*(load_checkpoint(folder.path / name) for folder in (whole, cut))) == []
    lines = [[{**line, "seconds": 0, "waiting": 0} for line in folder.history()] for folder in (whole, cut)]
    assert lines[0] == lines[1]
    assert sum(layer["regrown"] for line in lines[1][1:] for layer in line["layers"]) > 0


@needs_fabric
@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    answer = run(tmp_path, "digits", *sets("optimiser.epochs=2"), "--run", "two", launcher=launcher, dashes=["--"])
    assert answer.returncode == 0, answer.stderr
    whole = RunFolder.create(tmp_path / "whole", config("optimiser.epochs=2", "optimiser.accumulate=2"))
    train(whole.config(), whole)
    assert differences(*(load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "two"))) == []


@needs_fabric
@pytest.mark.slow
def test_a_mistake_is_one_line_whatever_the_number_of_processes(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "mine").write_text("")
    answer = run(tmp_path, "digits", *sets("hardware.devices=2"), "--run", "two")
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "run folder two: exists and is not empty" in answer.stderr


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@needs_fabric
def test_mixed_precision_trains_and_evaluates_in_float32() -> None:
    """Weights are exact in bfloat16, sums of many are not: neurons see rounded sums in training, exact ones after."""
    mixed = config("hardware.precision=bf16-mixed", "optimiser.epochs=1")
    trainer = trainer_for(mixed, group_of(mixed))
    seen: list[torch.dtype] = []
    trainer.model.blocks[0].neuron.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0].dtype))
    line = trainer.run_epoch(NoProgress())
    assert np.isfinite(line["loss"])
    assert set(seen) == {torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())


def test_what_hardware_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"hardware\.precision: expected '32-true' or 'bf16-mixed', got \"16\""):
        config('hardware.precision="16"')
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"hardware devices: expected up to 0, .* got 2"):
            init_process_group("cuda", devices=2)
        assert type(init_process_group("auto")) is ProcessGroup
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingDependency, match=r"need Lightning Fabric: pip install 'lightning-fabric") as caught:
        init_process_group(devices=2)
    assert "\n" not in str(caught.value)


def test_one_process_does_not_import_fabric(tmp_path: Path) -> None:
    code = (
        "import sys;"
        "from sdsnn.train.run.processes import init_process_group; init_process_group();"
        "assert not {name.split('.')[0] for name in sys.modules} & {'lightning_fabric', 'lightning', 'tensorboard'}"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stderr


def test_resume_takes_settings_that_decide_nothing_only(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", config("optimiser.epochs=1"))
    answer = run(tmp_path, "--resume", "run", "--set", "optimiser.epochs=3")
    assert answer.returncode == 2
    assert "--set may change hardware, log, threads, optimiser.accumulate and where data lies" in answer.stderr
    assert not folder.checkpoint_file.exists()
