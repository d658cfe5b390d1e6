"""Finer states: the same weights and thresholds in smaller units, so that rounding the decays matters less.

Fixed point and NIR's floats differ only in that integer decays round towards zero. With every weight, threshold, bias
and initial voltage times 2**bits a state unit stands for 2**-bits as much, and the difference shrinks with it, until
states reach their 24 bits. SLAYER follows with `s_scale` times 2**bits, bit for bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core import reference
from sdsnn_core.activity import prepare_inputs
from sdsnn_core.arithmetic import STATE_LIMIT, before_decay, decay
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import DECAY_UNITY, NEVER_FIRES, CubaLif, Network, Population, Projection
from sdsnn_core.nodes import BIAS_EXP_MAX, BIAS_MAX, THRESHOLD_MAX, WEIGHT_EXP_MAX

MOST_BITS: Final = WEIGHT_EXP_MAX
KEY: Final = "resolution"  # in a network's provenance


def with_resolution(network: Network, bits: int) -> Network:
    """Return `network` with state units of 2**-bits: weight_exp + bits, thresholds, biases and starts times 2**bits.

    A readout (NEVER_FIRES) keeps its threshold; its voltage is 2**bits times as large. The provenance records the bits.
    Raises NetworkError naming the node whose numbers do not fit.
    """
    if not 0 <= bits <= MOST_BITS:
        raise NetworkError(f"resolution: expected 0 to {MOST_BITS} bits, got {bits}")
    if not bits:
        return network
    finer = {name: _finer_population(f"population {name!r}", p, bits) for name, p in network.populations.items()}
    nodes = {**network.nodes, **finer}
    projections: dict[str, Projection] = {}
    for name, projection in network.projections.items():
        exponent = projection.weight_exp + bits
        if exponent > WEIGHT_EXP_MAX:
            raise NetworkError(f"projection {name!r} weight_exp: expected 0..{WEIGHT_EXP_MAX}, got {exponent}")
        projections[name] = replace(projection, weight_exp=exponent)
    provenance = {**network.provenance, KEY: resolution_of(network) + bits}
    return replace(network, nodes=nodes, projections=projections, provenance=provenance)


def resolution_of(network: Network) -> int:
    """Return the bits that `with_resolution` has added, as the provenance records."""
    return int(network.provenance.get(KEY, 0))


def _finer_population(where: str, population: Population, bits: int) -> CubaLif:
    if not isinstance(population, CubaLif):
        raise NetworkError(f"{where}: expected CUBA neurons for a finer resolution, got {type(population).__name__}")
    threshold = population.threshold.astype(np.int64)
    finer = np.where(threshold == NEVER_FIRES, threshold, threshold << bits)
    if (finer[threshold != NEVER_FIRES] > THRESHOLD_MAX).any():
        raise NetworkError(f"{where} threshold: expected 0..{THRESHOLD_MAX}, got {finer.max()}")
    bias, exponent = population.bias.astype(np.int64), population.bias_exp + bits
    if not bias.any():
        exponent = population.bias_exp
    elif exponent > BIAS_EXP_MAX:
        bias, exponent = bias << (exponent - BIAS_EXP_MAX), BIAS_EXP_MAX
        if np.abs(bias).max() > BIAS_MAX:
            raise NetworkError(f"{where} bias: expected up to {BIAS_MAX}, got {np.abs(bias).max()}")
    start = _finer_start(population, bits)
    if np.abs(start).max() >= 2**31:
        raise NetworkError(f"{where} initial_voltage: expected 32 bits, got {np.abs(start).max()}")
    return replace(population, threshold=finer, bias=bias, bias_exp=exponent, initial_voltage=start)


def _finer_start(population: CubaLif, bits: int) -> npt.NDArray[np.int64]:
    """Return the initial voltage that decays in the first step to exactly 2**bits times what it did.

    An initial voltage mostly undoes the bias of a first step that SLAYER does not have; that must stay exact.
    """
    start, rate = np.broadcast_arrays(
        population.initial_voltage.astype(np.int64), population.voltage_decay.astype(np.int64)
    )
    return np.where(rate < DECAY_UNITY, before_decay(decay(start, rate) << bits, rate), start << bits)


def largest_states(network: Network, spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, int]:
    """Return for every population the largest |current| or |voltage after reset| on `spikes`, in state units."""
    inputs, n_samples, n_steps = prepare_inputs(network, spikes)
    largest = dict.fromkeys(network.populations, 0)
    for sample in range(n_samples):  # states of one sample at a time: a batch of images would take gigabytes
        one = {name: train[sample : sample + 1] for name, train in inputs.items()}
        activity = reference.run(network, one, n_steps, record=(), record_state=tuple(largest))
        for name in largest:
            states = (activity.current[name], activity.voltage[name])
            largest[name] = max(largest[name], *(int(np.abs(s.astype(np.int64)).max(initial=0)) for s in states))
    return largest


def finest_resolution(network: Network, spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> int:
    """Return the most bits that the numbers of `network` allow and with which no state leaves 24 bits on `spikes`."""
    largest = max(largest_states(network, spikes).values(), default=0)
    for bits in range(MOST_BITS, 0, -1):
        with suppress(NetworkError):
            if with_resolution(network, bits) and largest << bits < STATE_LIMIT:
                return bits
    return 0


@contextmanager
def slayer_resolution(blocks: Sequence[Any], bits: int) -> Iterator[None]:
    """Make SLAYER's neurons, which quantise their states to 1/s_scale, compute in units of 2**-bits inside the context.

    Their epsilon on the threshold of a hundredth unit would vanish in float32; a whole unit means > as well.
    """
    if not bits:
        yield
        return
    # modules are hashed by identity, and two blocks may share a neuron
    neurons: set[Any] = {block.neuron for block in blocks if hasattr(getattr(block, "neuron", None), "s_scale")}
    before = [(neuron, neuron.s_scale, neuron.threshold_eps) for neuron in neurons]
    try:
        for neuron in neurons:
            neuron.s_scale <<= bits
            neuron.threshold_eps = 1 / neuron.s_scale
        yield
    finally:
        for neuron, scale, epsilon in before:
            neuron.s_scale, neuron.threshold_eps = scale, epsilon
