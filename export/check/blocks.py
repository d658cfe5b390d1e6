"""Rules on SLAYER blocks: what training, exporting by hand or netx would do with them."""

from typing import Any, Final

from sdsnn_core.lava.compat import import_slayer

from .rule import Rule, Traps, each

_each = each(lambda blocks: ((f"block {i} ({type(block).__name__})", block) for i, block in enumerate(blocks)))


def _is_cuba(block: Any) -> bool:
    """Return whether the block has CUBA neurons: rules about their step concern no others."""
    return isinstance(getattr(block, "neuron", None), import_slayer().neuron.cuba.Neuron)


def _spikes(block: Any) -> bool:
    """Return whether the block has neurons that spike: sigma-delta ones send values, in the step of their input."""
    neuron = getattr(block, "neuron", None)
    return neuron is not None and not isinstance(neuron, import_slayer().neuron.sigma_delta.Neuron)


def _keeps_state(block: Any) -> bool:
    """Return whether the block is of a kind that sets persistent_state itself."""
    base = import_slayer().block.base
    return isinstance(block, (base.AbstractRecurrent, base.AbstractKWTA))


def _synapses(block: Any) -> list[Any]:
    """Return the synapses of a block, real and imaginary parts apart."""
    from sdsnn.train.slayer.integers import parts_of

    layers = [getattr(block, name, None) for name in ("synapse", "input_synapse", "recurrent_synapse")]
    return [part for layer in layers if layer is not None for part, _ in parts_of(layer)]


def mask_and_norm(where: str, block: Any) -> Traps:
    """`mask=` does nothing under weight normalisation."""
    if getattr(block, "mask", None) is not None and any(hasattr(s, "weight_g") for s in _synapses(block)):
        yield where, "mask= with weight_norm: the mask has no effect", "weight_norm=False, or sdsnn's masks"


def shared_state(where: str, block: Any) -> Traps:
    """Recurrent and KWTA write persistent_state into the dict of neuron parameters that the caller passes."""
    neuron = getattr(block, "neuron", None)
    if not _keeps_state(block) and getattr(neuron, "persistent_state", False):
        yield where, "carries its state from batch to batch", "give every block its own dict(neuron_params)"


def recurrent_state(where: str, block: Any) -> Traps:
    """Recurrent blocks start from the state of the last batch; netx starts from zero."""
    if _keeps_state(block):
        help_ = "sdsnn.train.slayer.block_spikes.reset_state before every batch"
        yield where, "keeps its state between forward passes", help_


def count_log(where: str, block: Any) -> Traps:
    """count_log=True takes the mean of a bool tensor."""
    if getattr(block, "count_log", False):
        yield where, "count_log=True, at which forward stops (RuntimeError)", "count_log=False"


def dead_zone(where: str, block: Any) -> Traps:
    """Weights up to 1/64 become 0 when quantised."""
    from sdsnn.train.development.masked_synapse import float_weight

    for layer in _synapses(block):
        hook = getattr(layer, "pre_hook_fx", None)
        if hook is None:
            continue
        weight = float_weight(layer)
        before, after = int((weight != 0).sum()), int((hook(weight) != 0).sum())
        if after < before:
            what = f"{before} weights are not 0, {after} of them after quantisation (|w| <= 1/64 becomes 0)"
            yield where, what, "count the deployed weights"


def no_quantiser(where: str, block: Any) -> Traps:
    """Without its hook a synapse is float: export_hdf5 raises, and nothing on a chip equals it."""
    if any(getattr(layer, "pre_hook_fx", None) is None for layer in _synapses(block)):
        yield where, "pre_hook_fx=None: float weights", "leave the default, quantize_8bit"


def tie(where: str, block: Any) -> Traps:
    """In float32 SLAYER's epsilon vanishes beside a threshold of 64 and more; its CUDA kernel drops it always."""
    if not _is_cuba(block):
        return
    neuron = block.neuron
    epsilon = getattr(neuron, "threshold_eps", None)
    if epsilon is None or getattr(neuron, "_threshold", None) in (None, -1):
        return
    if neuron.v_th_mant >= 64 * neuron.w_scale and epsilon < 1 / neuron.s_scale:
        yield where, f"threshold {float(neuron.threshold):g} fires on a tie", "neuron.threshold_eps = 1 / s_scale"


def norms(where: str, block: Any) -> Traps:
    """netx ignores the exponent of WgtScaleBatchNorm."""
    norm = getattr(getattr(block, "neuron", None), "norm", None)
    if norm is not None and type(norm).__name__ != "MeanOnlyBatchNorm":
        yield where, f"{type(norm).__name__}: netx ignores its exponent", "MeanOnlyBatchNorm or none"


def graded(where: str, block: Any) -> Traps:
    """Graded spikes are cast to bool by netx."""
    if _spikes(block) and block.neuron.graded_spike:
        yield where, "graded spikes, which netx casts to 0 and 1", "graded_spike=False"


def shift(where: str, block: Any) -> Traps:
    """delay_shift=False has no counterpart on a chip, where a layer costs a step."""
    if _spikes(block) and getattr(block, "delay_shift", True) is False:
        yield where, "delay_shift=False: a chip takes one step for every layer", "leave delay_shift=True"


def kinds(where: str, block: Any) -> Traps:
    """Blocks that have no rule on the way to a chip."""
    from sdsnn.train.slayer.graph.builder import kind_of, lowered_kinds, why_not

    known = lowered_kinds()
    if kind_of(block) not in known:
        base = next((kind.__name__ for kind in type(block).__mro__[1:] if kind in known), None)
        others = f"use SLAYER's blocks {', '.join(sorted({kind.__name__ for kind in known}))}"
        yield where, why_not(block), f"use SLAYER's own {base}, or its forward pass" if base else others


BLOCK_RULES: Final = (
    Rule("mask-and-norm", "error", _each(mask_and_norm)),
    Rule("shared-state", "error", _each(shared_state)),
    Rule("recurrent-state", "warning", _each(recurrent_state)),
    Rule("count-log", "error", _each(count_log)),
    Rule("dead-zone", "note", _each(dead_zone)),
    Rule("no-quantiser", "error", _each(no_quantiser)),
    Rule("tie", "error", _each(tie)),
    Rule("norm", "error", _each(norms)),
    Rule("graded", "error", _each(graded)),
    Rule("delay-shift", "error", _each(shift)),
    Rule("block-kind", "error", _each(kinds)),
)
