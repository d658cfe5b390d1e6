"""Losses on the output, summed over the batch: cross-entropy, squared error, SLAYER's own and the user's."""

from collections.abc import Callable
from typing import Any, Final

import torch

from sdsnn_core.errors import ConfigError, one_line
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.tasks.task import LABEL, UNLABELLED, Task

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "cross_entropy": ("label", "step_labels", "several_labels"),
    "spike_rate": ("label",),
    "spike_max": ("label",),
    "spike_moid": ("label", "several_labels"),
    "spike_time": ("label", "spike_trains"),
    "mse": ("values",),
}
"""Names of losses, with the tasks that they are for."""


def build_loss(
    name: str,
    task: Task = LABEL,
    *,
    gain: float = 0.7,
    true_rate: float = 0.9,
    false_rate: float = 0.02,
    device: torch.device | str = "cpu",
) -> Loss:
    """Return a loss of outputs and targets.

    cross_entropy: of the softmax of gain x what the task reads: spikes (voltage) of the sample, or of the window up to
    each labelled step, with the mean over the steps; of several labels the binary one, of the logit gain x spikes per
    step above the level. mse: the squared error, the mean over outputs and steps. The others are lava-dl's classes
    (lava/lib/dl/slayer/loss.py, 0.6.0) with reduction="sum": SpikeRate to the two rates; SpikeMax, in its softmax mode,
    for log(0) is what the other gives for a silent class; SpikeMoid to labels of 0 and 1; SpikeTime to the target
    trains, of labels to trains spread evenly at the two rates.

    Args:
        name: a key of LOSSES.
        task: what the targets are.
        gain: cross_entropy: logit per output spike; spike_moid: per spike rate.
        true_rate: spike_rate, spike_time: spikes per step wanted of the right class.
        false_rate: spike_rate, spike_time: and of the others; spike_moid: the bias.
        device: of the outputs.

    Returns:
        loss(output (batch, size, steps), targets) -> scalar sum over the batch.

    Raises:
        ConfigError: the loss is not for this task.
    """
    if task.kind not in LOSSES[name]:
        names = ", ".join(each for each, kinds in LOSSES.items() if task.kind in kinds)
        raise ConfigError(
            [f"optimiser.loss: expected {names} or package.module:function for task {task.kind}, got {name}"]
        )
    if name == "mse":
        return lambda output, targets: (_values(output, targets, task) - targets).square().flatten(1).mean(1).sum()
    if name == "cross_entropy":
        return _cross_entropy(task, gain)
    losses = import_slayer().loss
    criterion: Any = {
        "spike_rate": lambda: losses.SpikeRate(true_rate, false_rate, moving_window=None, reduction="sum"),
        "spike_max": lambda: losses.SpikeMax(mode="softmax", reduction="sum"),
        "spike_moid": lambda: losses.SpikeMoid(reduction="sum", alpha=1 / gain, theta=false_rate),
        "spike_time": lambda: losses.SpikeTime(reduction="sum"),
    }[name]().to(device)

    def against_labels(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        targets = torch.nn.functional.one_hot(labels, spikes.shape[1]).to(spikes.dtype)
        if name == "spike_time":
            low, high = (even_train(rate, spikes.shape[-1], spikes) for rate in (false_rate, true_rate))
            targets = torch.where(targets[..., None].bool(), high, low)
        result: torch.Tensor = criterion(spikes, targets)
        return result

    def against_targets(spikes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = criterion(spikes, targets.to(spikes.dtype))
        return result

    if task.kind != "label":
        return against_targets
    return against_labels if name in ("spike_moid", "spike_time") else criterion


def class_means(output: torch.Tensor, outputs_per_class: int) -> torch.Tensor:
    """Return the means over the neurons of each class: (batch, neurons, steps) as (batch, classes, steps)."""
    if outputs_per_class == 1:
        return output
    return output.reshape(len(output), -1, outputs_per_class, output.shape[-1]).mean(2)


def of_classes(loss: Loss, outputs_per_class: int) -> Loss:
    """Return a loss of an output with several neurons per class, each class read by their mean."""
    if outputs_per_class == 1:
        return loss
    return lambda output, targets: loss(class_means(output, outputs_per_class), targets)


def own_loss(function: Callable[..., Any], name: str) -> Loss:
    """Return a user's loss, which gives the mean over the batch as torch's and SLAYER's do, as the sum over it.

    A loss whose `reduction` is "sum" is taken as it is.

    Raises:
        ConfigError: in a call, if it does not return one value that depends on the output.
    """

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        try:
            value = function(output, targets)
        except Exception as error:  # the user's own code
            raise ConfigError(
                [
                    f"optimiser.loss: expected {name} to take output {tuple(output.shape)} and targets "
                    f"{tuple(targets.shape)}: {type(error).__name__}: {one_line(error)}"
                ]
            ) from None
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise ConfigError([f"optimiser.loss: expected a tensor of one value from {name}, got {got}"])
        return value.reshape(()) * (1 if getattr(function, "reduction", "mean") == "sum" else len(output))

    return loss


def _cross_entropy(task: Task, gain: float) -> Loss:
    functional = torch.nn.functional

    def of_samples(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(output.sum(-1) * gain, labels, reduction="sum")

    def of_steps(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = trailing_sums(output, task.window) * gain
        losses = functional.cross_entropy(logits, labels, reduction="none", ignore_index=UNLABELLED)
        return (losses.sum(-1) / (labels != UNLABELLED).sum(-1).clamp(min=1)).sum()

    def of_several(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = (output.mean(-1) - task.level) * gain * output.shape[-1]
        wanted = labels.to(output.dtype)
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1).sum()

    return {"label": of_samples, "step_labels": of_steps, "several_labels": of_several}[task.kind]


def _values(output: torch.Tensor, targets: torch.Tensor, task: Task) -> torch.Tensor:
    """Return what task "values" reads, as `Task.read` does, with gradients."""
    if targets.dim() == 3:
        steps = torch.arange(1, output.shape[-1] + 1, device=output.device).clamp(max=task.window)
        return trailing_sums(output, task.window) / steps
    return output[..., -task.window :].mean(-1)


def trailing_sums(output: torch.Tensor, window: int) -> torch.Tensor:
    """Return the sums over the last `window` steps up to each step."""
    if window == 1:
        return output
    total = output.cumsum(-1)
    return total - torch.nn.functional.pad(total[..., :-window], (min(window, total.shape[-1]), 0))


def even_train(rate: float, n_steps: int, like: torch.Tensor) -> torch.Tensor:
    """Return (n_steps,) spikes spread evenly, round(rate x steps so far) of them up to every step."""
    so_far = torch.round(torch.arange(n_steps + 1, dtype=torch.float64) * rate)
    return so_far.diff().to(like)
