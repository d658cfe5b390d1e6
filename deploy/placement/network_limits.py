"""A network against the limits that do not depend on its placement: those of a neuron, and those of a whole chip."""

import numpy as np

from sdsnn_core.network import MESSAGE_MAX, Convolution, Input, Network, Population

from .chip import PER_NEURON, WHOLE_CHIP, Chip, DoesNotFit


def whole_chip_amounts(network: Network) -> dict[str, int]:
    """Return the need of a network for each limit of a whole chip (see chip.WHOLE_CHIP)."""
    fan_out = {name: np.zeros(network.size_of(name), np.int64) for name in (*network.inputs, *network.populations)}
    for name, p in network.projections.items():
        fan_out[p.source] += np.bincount(network.synapses(name).pre, minlength=network.size_of(p.source))
    kernel = max(
        (max(p.kernel.shape[2:]) for p in network.projections.values() if isinstance(p, Convolution)), default=0
    )
    nodes: list[Input | Population] = [*network.inputs.values(), *network.populations.values()]
    return {
        "neurons": sum(p.size for p in network.populations.values()),
        "synapses": sum(int(each.sum()) for each in fan_out.values()),
        "inputs": sum(p.size for p in network.inputs.values()),
        "outputs": sum(network.size_of(name) for name in network.outputs),
        "fan_out": max(int(each.max()) for each in fan_out.values()),
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
    try:
        lines += check_neurons(network, chip)
    except DoesNotFit as error:
        fits = False
        lines.append(str(error))
    lines += [f"not known: {name}: {why}" for name, why in chip.unknown.items()]
    return fits, lines


def check_neurons(network: Network, chip: Chip) -> list[str]:
    """Hold every neuron against the limits of one neuron; return notes, on what is not counted for one.

    Raises DoesNotFit. An input of the network comes from outside the chip, so its values are only named.
    """
    notes: list[str] = []
    if (models := chip.models) is not None:
        others = {name: type(p).__name__ for name, p in network.populations.items()
                  if type(p).__name__ not in models.kinds}  # fmt: skip
        notes += [f"population {name!r}: expected {', '.join(models.kinds)}, the neurons of {chip.title}, got {kind}"
                  for name, kind in others.items()]  # fmt: skip
    for resource, words in PER_NEURON.items():
        amounts = {name: p.state_words if resource == "state_words" else message_bits(p)
                   for name, p in network.populations.items()}  # fmt: skip
        limit = chip.per_neuron.get(resource)
        if limit is None:
            notes.append(f"{words}: up to {max(amounts.values(), default=0)}, not counted: no limit was published")
            continue
        for name, amount in amounts.items():
            if amount > limit.value:
                raise DoesNotFit(name, resource, amount, int(limit.value), chip.title, limit.note, per="neuron")
        if resource == "message_bits":
            for name, node in network.inputs.items():
                if (bits := message_bits(node)) > limit.value:
                    most = f"{chip.title} takes {int(limit.value)}"
                    notes.append(f"input {name!r}: values of {bits} bits, {most}: send a value as several spikes")
    return notes


def message_bits(node: Input | Population) -> int:
    """Return the bits of a value that a node sends, its sign included: 1 for spikes, 32 for messages."""
    if isinstance(node, Input):
        return max(node.max_value.bit_length(), (-node.min_value).bit_length()) + (node.min_value < 0)
    return MESSAGE_MAX.bit_length() + 1 if node.graded else 1
