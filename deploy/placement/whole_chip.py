"""Networks against the limits of a whole chip, for chips whose cores cannot be modelled."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdsnn_core.network import Convolution, Input, Network, Population

from .chip import WHOLE_CHIP, Chip


def whole_chip_amounts(network: Network) -> dict[str, int]:
    """Return the need of a network for each limit of a whole chip (see chip.WHOLE_CHIP)."""
    fan_out: dict[str, Any] = {}
    synapses = kernel = 0
    for name, p in network.projections.items():
        wires = network.synapses(name)
        synapses += int(wires.weight.size)
        each = np.bincount(wires.pre, minlength=network.size_of(p.source))
        fan_out[p.source] = fan_out.get(p.source, 0) + each
        if isinstance(p, Convolution):
            kernel = max(kernel, *p.kernel.shape[2:])
    nodes: list[Input | Population] = [*network.inputs.values(), *network.populations.values()]
    return {
        "neurons": sum(p.size for p in network.populations.values()),
        "synapses": synapses,
        "inputs": sum(p.size for p in network.inputs.values()),
        "outputs": sum(network.size_of(name) for name in network.outputs),
        "fan_out": max((int(each.max()) for each in fan_out.values()), default=0),
        "layers": len(network.populations),
        "kernel_size": kernel,
        "channels": max(node.shape[0] for node in nodes if len(node.shape) == 3) if kernel else 0,
        "input_extent": max(max(node.shape[1:], default=0) for node in network.inputs.values()),
    }


def whole_chip_lines(network: Network, chip: Chip) -> tuple[bool, list[str]]:
    """Compare a network with the limits of a whole chip: (within all of them, one line for each)."""
    amounts = whole_chip_amounts(network)
    lines, fits = [f"{chip.title}: {chip.summary}"], True
    for name, limit in chip.whole_chip.items():
        within = amounts[name] <= limit.value
        fits &= within
        word = "within" if within else "EXCEEDS"
        lines.append(
            f"{WHOLE_CHIP[name]}: {amounts[name]:,}, {word} {int(limit.value):,} {limit.unit} ({limit.citation})"
        )
    lines += [f"not known: {name}: {why}" for name, why in chip.unknown.items()]
    return fits, lines
