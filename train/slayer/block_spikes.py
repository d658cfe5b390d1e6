"""The spikes of every block of a SLAYER model, laid out as the populations of its Network are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sdsnn_core.lava.compat import import_slayer

from .graph.graded import fraction_bits, integers_sent, late_by, lateness
from .graph.names import population_names
from .integers import axonal_delay
from .tracing import STATES, output_of, random_example, read_graph


def reset_state(model: torch.nn.Module) -> None:
    """Put every neuron back to rest. Recurrent blocks carry state from one forward pass to the next otherwise."""
    for module in model.modules():
        if hasattr(module, "delay_buffer"):
            state_holder: Any = module
            state_holder.delay_buffer = None
        for name in STATES:
            state = getattr(module, name, None)
            if isinstance(state, torch.Tensor):
                state.fill_(float(module.threshold) if name == "threshold_state" else 0.0)  # type: ignore[arg-type]


def trace(
    model: torch.nn.Module | Sequence[torch.nn.Module], *spikes: npt.NDArray[np.uint8], batch_size: int = 64
) -> dict[str, npt.NDArray[Any]]:
    """Run a model, or blocks in a row, from rest; return population -> (samples, steps, size) uint8, messages int32.

    spikes: for each input of the model, (samples, steps, *shape). Bin t holds what the population of that name emits
    in step t: sigma-delta ones are late, and send integers (`graph.graded`). SLAYER delays axons at the source, a
    Network on the way, so the delays are taken off again, except those of an output, which a Network has in front of
    it; for that the run is as many steps longer as the largest delay.
    """
    module = model if isinstance(model, torch.nn.Module) else torch.nn.Sequential(*model)
    device = next((parameter.device for parameter in module.parameters()), None)
    graph = read_graph(module, *(random_example(tuple(each.shape[2:]), device) for each in spikes))
    outputs = [graph.call_of(source) for source in graph.output_sources()]
    names = population_names(graph, getattr(module, "layout", None))
    calls = {name: call for name, call in zip(names, graph.calls, strict=True) if emits_spikes(call.block)}
    delays = {
        name: axonal_delay(call.block) for name, call in calls.items() if call.block.delay and call not in outputs
    }
    longest = max((int(steps.max()) for steps in delays.values()), default=0)
    first = len(graph.inputs)
    bits, late = (dict(zip(names, values[first:], strict=True)) for values in (fraction_bits(graph), lateness(graph)))
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in calls}

    def keep(name: str) -> Any:
        def hook(_block: Any, _inputs: Any, output: Any) -> None:
            values = _without_delay(output_of(output).cpu().numpy(), delays.get(name), spikes[0].shape[1])
            sent = integers_sent(values, bits[name]) if bits[name] else values.astype(np.uint8)
            parts[name].append(np.moveaxis(late_by(sent, late[name]), -1, 1))

        return hook

    handles = [call.block.register_forward_hook(keep(name)) for name, call in calls.items()]
    _run_batches(module, spikes, longest, batch_size, handles, device)
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def _run_batches(
    module: torch.nn.Module,
    spikes: Sequence[npt.NDArray[np.uint8]],
    n_more: int,
    batch_size: int,
    handles: Sequence[Any],
    device: torch.device | None,
) -> None:
    """Run all samples from rest, `n_more` silent steps longer, then remove the hooks that recorded them."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(spikes[0]), batch_size):
                reset_state(module)
                batch = [np.moveaxis(each[start : start + batch_size], 1, -1).astype(np.float32) for each in spikes]
                padded = [torch.nn.functional.pad(torch.from_numpy(each), (0, n_more)).to(device) for each in batch]
                module(*padded)
    finally:
        for handle in handles:
            handle.remove()
        reset_state(module)
        module.train(was_training)


def readout_voltages(
    model: torch.nn.Module, spikes: npt.NDArray[np.uint8], batch_size: int = 64
) -> dict[str, npt.NDArray[np.int32]]:
    """Run a model from rest; return the voltages of its Affine blocks: population -> (samples, steps, size) int32.

    In state units and in the steps of a Network, whose voltage of step t + 1 is SLAYER's of bin t; it is 0 in step 0.
    """
    device = next((parameter.device for parameter in model.parameters()), None)
    graph = read_graph(model, random_example(tuple(spikes.shape[2:]), device))
    names = population_names(graph, getattr(model, "layout", None))
    affine = import_slayer().block.base.AbstractAffine
    calls = {name: call for name, call in zip(names, graph.calls, strict=True) if isinstance(call.block, affine)}
    if not calls:
        return {}
    parts: dict[str, list[npt.NDArray[np.int32]]] = {name: [] for name in calls}

    def keep(name: str, unit: float) -> Any:
        def hook(_block: Any, _inputs: Any, output: Any) -> None:
            voltage = np.moveaxis(output_of(output).cpu().numpy().astype(np.float64), -1, 1) * unit
            parts[name].append(np.pad(voltage[:, :-1], ((0, 0), (1, 0), (0, 0))).astype(np.int32))

        return hook

    handles = [call.block.register_forward_hook(keep(name, call.block.neuron.s_scale)) for name, call in calls.items()]
    _run_batches(model, [spikes], 0, batch_size, handles, device)
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def emits_spikes(block: Any) -> bool:
    """Return True for a block that becomes a population that fires: no Flatten, Input port or Affine readout."""
    affine = import_slayer().block.base.AbstractAffine
    return getattr(block, "neuron", None) is not None and not isinstance(block, affine)


def _without_delay(values: npt.NDArray[Any], delay: npt.NDArray[Any] | None, n_steps: int) -> npt.NDArray[Any]:
    """Return (batch, channels, ..., steps) as (batch, size, n_steps), each channel advanced by its delay."""
    flat = values.reshape(len(values), -1, values.shape[-1])
    if delay is None:
        return flat[..., :n_steps]
    steps = np.repeat(delay, flat.shape[1] // len(delay))
    when = steps[:, None] + np.arange(n_steps)[None, :]
    return np.take_along_axis(flat, when[None], axis=2)
