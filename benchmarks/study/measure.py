"""One run of a study: train, compact, verify, place, price. Returns the line of benchmarks/results.jsonl."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from .plan import Run

CURVE = ("loss", "train_accuracy", "validation_accuracy", "validation_loss", "connection_sparsity", "seconds")
PRICED = 64  # test samples whose activity is priced
COMPARED = 16  # test samples in which SLAYER, the masked and the compacted network are compared bin by bin


def measure(run: Run, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Train a run in `folder`, or go on with it there, and measure the network of its last epoch.

    The last epoch is the rule of every row: no split chooses among the epochs. The test split is read once.
    device: what trains and evaluates; it belongs to the result's machine, not to what makes a run this one.
    """
    import torch

    from sdsnn.deploy.placement.objective.cost import chip_cost
    from sdsnn.train.run.checkpoint import load_newest
    from sdsnn.train.run.config import load_config, with_directory
    from sdsnn.train.run.parts.own import Own
    from sdsnn.train.run.parts.warm_start import read_init
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.train import train
    from sdsnn.train.slayer.lowering import lower
    from sdsnn_core.compaction import compact

    earlier = {use: folder.with_name(other.folder) for use, other in run.earlier}
    teacher = [f"optimiser.teacher={earlier['teacher']}"] if "teacher" in earlier else []
    config = with_directory(load_config(run.recipe, [*run.overrides, *teacher, f"hardware.accelerator={device}"]))
    init, config = read_init(earlier["init"], config) if "init" in earlier else (None, config)
    begun = RunFolder(folder).checkpoint_file.exists()
    own = Own(chip_cost=chip_cost, init=None if begun else init)
    result = train(config, RunFolder.open(folder) if begun else RunFolder.create(folder, config), resume=begun, own=own)
    trainer, history = result.trainer, result.folder.history()
    trainer.load_state(load_newest(result.folder.checkpoint_file))
    trainer.model.to(trainer.group.device)
    test = trainer.evaluate(trainer.data.test)
    masked = lower(trainer.model.to("cpu"), trainer.data.shape, input_max=trainer.data.input_max)
    compaction = compact(masked)
    layers, developer = history[-1]["layers"], trainer.developer
    hidden = [i for i, after in enumerate(developer.graph.successors) if after]
    synapses = [sum(s.mask.numel() for s in layer.synapses) for layer in developer.layers]
    kept = [compaction.units[name] for name in compaction.units if name not in _readouts(masked)]
    gpu = f", {torch.cuda.get_device_name(0)}" if device == "cuda" else ""
    main, answers = test.main, test.answers or len(test.labels)
    return {
        "study": run.study,
        "row": run.row,
        "seed": run.seed,
        "recipe": run.recipe,
        "overrides": list(run.overrides),
        **{use: other.title if use == "init" else other.row for use, other in run.earlier},
        "rule": "last epoch",
        "epochs": len(history),
        "metric": next(iter(test.scores)),
        "test": main,
        "scores": {name: round(value, 6) for name, value in test.scores.items()},
        "silent": test.silent,
        "test_samples": len(trainer.data.test),
        "test_answers": answers,
        "validation": trainer.accuracy,
        "best_validation": result.validation,
        "weights": sum(synapses),
        "connection_sparsity": developer.connection_sparsity(),
        "compression": sum(layers[i]["absent"] for i in hidden) / sum(synapses[i] for i in hidden) if hidden else 0.0,
        "synapses": sum(p.n_weights for p in compaction.network.projections.values()),
        "units": sum(before for before, _ in kept),
        "units_kept": sum(after for _, after in kept),
        **hardware(compaction.network, trainer.data.test.spikes[:PRICED], config.development.chip or "loihi2"),
        **agreement(trainer.model, masked, compaction, trainer.data.test.spikes[:COMPARED]),
        "pruned": sum(layer["pruned"] for line in history for layer in line["layers"]),
        "regrown": sum(layer["regrown"] for line in history for layer in line["layers"]),
        "revived": sum(layer.get("revived", 0) for line in history for layer in line["layers"]),
        "curve": {key: [round(line[key], 5) for line in history] for key in CURVE if key in history[0]},
        "layers": [{key: layer[key] for key in ("units", "alive_units", "synapses", "absent")} for layer in layers],
        "seconds": sum(line["seconds"] for line in history),
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{gpu}",
    }


def _readouts(network: Any) -> set[str]:
    return {output.source for output in network.outputs.values()}


def hardware(network: Any, spikes: Any, chip: str) -> dict[str, Any]:
    """Return cores, memory and work per step on a chip, and operations and energy per inference of some samples."""
    import numpy as np

    from sdsnn.deploy.energy.energy import price
    from sdsnn.deploy.engine import run
    from sdsnn.deploy.placement.chip import DoesNotFit
    from sdsnn.deploy.placement.place import place

    activity = run(network, np.asarray(spikes), record=[*network.inputs, *network.populations], n_threads=1)
    try:
        placement = place(network, chip, activity=activity)
    except DoesNotFit:
        placement = None
    work = None if placement is None else placement.work
    report = price(activity, network, placement=placement)
    n = activity.n_samples
    return {
        "chip": chip,
        "cores": None if placement is None else placement.n_cores,
        "step": None if work is None else {"busiest": work.busiest_events, "joules": work.joules, "seconds": work.step},
        "synapse_bytes": None if placement is None else float(placement.use["synapse_bits"].sum()) / 8,
        "synaptic_operations": sum(int(events.sum()) for events in activity.events.values()) / n,
        "spikes": sum(int(activity.counts[name].sum()) for name in network.populations) / n,
        "energy": {p.prices.name: [p.total.low, p.total.high, p.label] for p in report.priced},
    }


def agreement(model: Any, masked: Any, compaction: Any, spikes: Any) -> dict[str, int]:
    """Return how many bins of the kept units were compared, and how many differ: SLAYER, masked, compacted."""
    import numpy as np

    from sdsnn.deploy.engine import run
    from sdsnn.train.slayer.block_spikes import trace

    before, after = (
        run(network, spikes, record=list(network.populations), n_threads=1) for network in (masked, compaction.network)
    )
    slayer = trace(model, np.asarray(spikes))
    bins = differ = 0
    for name, units in compaction.kept.items():
        if name in compaction.network.populations:
            for theirs in (before.spikes[name], *([slayer[name]] if name in slayer else [])):
                bins += after.spikes[name].size
                differ += int((theirs[..., units] != after.spikes[name]).sum())
    return {"bins_compared": bins, "bins_differ": differ}
