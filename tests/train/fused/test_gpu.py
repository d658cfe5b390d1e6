"""Training on a GPU: spikes and evaluation are the CPU's bit for bit. Skipped where torch sees no GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from sdsnn.train.fused.triton import passes as triton_passes
from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.parts.build import group_of, trainer_for
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn.train.run.trained import SplitFigures, load_trained
from sdsnn.train.run.trainer import NoProgress
from sdsnn.train.slayer.evaluate import evaluate

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    pytest.mark.skipif(not triton_passes.usable(), reason="needs Triton 3: pip install triton"),
    pytest.mark.skipif(
        importlib.util.find_spec("lightning_fabric") is None, reason="needs Fabric: pip install lightning-fabric"
    ),
]
MODELS = {
    "dense": ["model.hidden=[32, 24]"],
    "convolutional": [
        'model.layers=[{kind="conv", out=6, kernel=3, padding=1}, {kind="pool", kernel=2}, {kind="dense", out=16}]',
    ],
    "recurrent with delays": [
        "model.hidden=[]",
        'model.layers=[{kind="recurrent", out=20}, {kind="dense", out=16, delay=true}]',
    ],
}


def config(*more: str) -> RunConfig:
    return load_config("digits", ["data.n_steps=8", "hardware.accelerator=cuda", "optimiser.epochs=3", *more])


@pytest.mark.parametrize("model", MODELS)
def test_evaluation_on_the_gpu_is_that_on_the_cpu(model: str) -> None:
    made = config(*MODELS[model])
    group = group_of(made)
    trainer = trainer_for(made, group)
    assert next(trainer.model.parameters()).is_cuda
    trainer.run_epoch(NoProgress())
    there = evaluate(trainer.model, trainer.data.validation, trainer.loss, group=group)
    trainer.model.to("cpu")
    here = evaluate(trainer.model, trainer.data.validation, trainer.loss)
    assert (there.readings == here.readings).all()
    assert there.rates == pytest.approx(here.rates, rel=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_develops_resumes_and_is_read_back_on_the_cpu(precision: str, tmp_path: Path) -> None:
    class Stop(NoProgress):
        def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    made = config("model.hidden=[32, 24]", f"hardware.precision={precision}")
    folder = RunFolder.create(tmp_path / "run", made)
    with pytest.raises(KeyboardInterrupt):
        train(made, folder, progress=Stop())
    result = train(made, folder, resume=True)
    assert len(folder.history()) == 3
    assert result.trainer.developer.connection_sparsity() > 0.3
    assert all(not parameter.is_cuda for parameter in result.trainer.model.parameters())
    again = load_trained(folder)
    assert again.test == SplitFigures.of(result.test)
    assert again.figures(folder.test_split()).accuracy == result.test.accuracy
