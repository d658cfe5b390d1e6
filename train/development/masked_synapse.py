"""Masks on the synapses of SLAYER blocks, so that what development removed stays removed.

A mask sits between a synapse's quantiser and its convolution, where it holds whatever the optimiser, weight
normalisation or the quantiser do (SLAYER's own `mask` multiplies a tensor that weight normalisation makes anew).
Masks are buffers of the model and travel in its state_dict.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, final

import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode

from ..fused.sums.sparse import Pattern
from ..slayer.hooks import MaskingHook
from .quantiser import fits, quantise_masked, scale_of

_SQUARES = ("exp_avg_sq", "max_exp_avg_sq")  # Adam's averages of squared gradients


class _Mask(torch.autograd.Function):
    """weight where present, else 0; the gradient of absent synapses goes into `heard` instead of the weight.

    present, absent: 1 and 0 of the weight's dtype. On a CPU products take a tenth of the time of torch.where.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, present: Tensor, absent: Tensor, heard: Tensor | None, in_parts: bool
    ) -> Tensor:
        ctx.save_for_backward(present, absent)
        ctx.heard, ctx.in_parts = heard, in_parts
        return weight * present

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = grad_outputs
        present, absent = ctx.saved_tensors
        if ctx.heard is not None:
            ctx.heard.addcmul_(gradient if ctx.in_parts else gradient.abs(), absent)
        return gradient * present, None, None, None, None


class MaskedHook(torch.nn.Module, MaskingHook):
    """A synapse's quantiser with a mask behind it; stands in for SLAYER's `pre_hook_fx`.

    mask: bool buffer of the weight's shape. absent_gradient: abs(dL/dw) at absent synapses, summed over the backward
    passes since it was last zeroed. listens: whether it is summed. in_parts: with its sign, while a batch's gradient
    comes in several parts (step.py takes the absolute value of their sum). soft: in training, absent synapses take
    part and learn (the released code, B6); in evaluation and export they never do.
    """

    mask: Tensor
    absent_gradient: Tensor

    def __init__(self, quantise: Callable[..., Tensor] | None, weight: Tensor) -> None:
        super().__init__()
        self.quantise = quantise
        self.listens = False
        self.in_parts = False
        self.soft = False
        self._known: tuple[Tensor, int, dict[Hashable, Any]] | None = None
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("absent_gradient", torch.zeros_like(weight), persistent=False)

    def forward(self, weight: Tensor, descale: bool = False) -> Tensor:
        """Return the quantised, masked weight; as integers if `descale`, as SLAYER's export asks for."""
        if not descale and not (self.soft and self.training) and fits(weight, self.mask, self.absent_gradient):
            scale = scale_of(self.quantise)
            if scale is not None:
                into = self.absent_gradient.view(weight.shape) if self.listens else None
                return quantise_masked(weight, self.mask.view(weight.shape), scale, into, self.in_parts)
        quantised = weight
        if self.quantise is not None:
            quantised = self.quantise(weight, descale=True) if descale else self.quantise(weight)
        if self.soft and self.training and not descale:
            if self.listens and quantised.requires_grad:
                quantised.register_hook(self._hear)  # type: ignore[no-untyped-call]
            return quantised
        factors = self._factors(quantised.dtype)
        if factors is None:
            return quantised
        # SLAYER's recurrent synapse hands over its weight as a matrix.
        present, absent = (factor.view(weight.shape) for factor in factors)
        heard = self.absent_gradient.view(weight.shape) if self.listens else None
        result: Tensor = _Mask.apply(quantised, present, absent, heard, self.in_parts)  # type: ignore[no-untyped-call]
        return result

    def pattern(self, channels_last: bool) -> Pattern | None:
        """Return where the mask leaves synapses, or None where others matter too, or most are left.

        Others matter while they are listened to, and under a soft mask. channels_last: as in Pattern.of.
        """
        others = (self.soft and self.training) or (self.listens and torch.is_grad_enabled())
        if others or self.mask.device.type != "cpu":
            return None
        found: Pattern | None = self._remembered(channels_last, lambda: Pattern.of(self.mask, channels_last))
        return found

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return the mask and its opposite as numbers, None where nothing is absent."""

        def make() -> tuple[Tensor, Tensor] | None:
            present = self.mask.to(dtype)
            return None if bool(self.mask.all()) else (present, 1 - present)

        factors: tuple[Tensor, Tensor] | None = self._remembered(dtype, make)
        return factors

    def _remembered(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return make(), or what it gave for this key if the mask is the same tensor and has not changed since."""
        known = self._known
        if known is None or known[0] is not self.mask or known[1] != self.mask._version:
            known = self._known = (self.mask, self.mask._version, {})
        made = known[2]
        if key not in made:
            made[key] = make()
        return made[key]

    def _hear(self, gradient: Tensor) -> None:
        shape = self.mask.shape
        heard = gradient if self.in_parts else gradient.abs()
        self.absent_gradient += heard.view(shape).masked_fill(self.mask, 0)


@final
class MaskedSynapse:
    """One weight tensor of a block, (out, in / groups, *kernel), with its mask."""

    def __init__(self, name: str, synapse: Any) -> None:
        if getattr(synapse, "complex", False):
            raise UnsupportedNode(f"{name}: complex synapses do not develop; allowed are Dense and Conv")
        self.name = name
        self.synapse = synapse
        self.kernelwise = type(synapse).__name__ == "Conv"
        hook = synapse.pre_hook_fx
        # nn.Module's __setattr__ would put a module beside SLAYER's `pre_hook_fx` property, not through it.
        synapse._pre_hook_fx = hook if isinstance(hook, MaskedHook) else MaskedHook(hook, self.weight)

    @property
    def hook(self) -> MaskedHook:
        """The hook that holds the mask."""
        hook = self.synapse._pre_hook_fx
        assert isinstance(hook, MaskedHook), "the hook of a masked synapse was replaced"
        return hook

    @property
    def normalised(self) -> bool:
        """Whether SLAYER's weight normalisation is on (weight = g v / |v| per unit)."""
        return hasattr(self.synapse, "weight_v")

    @property
    def weight(self) -> Tensor:
        """The float weight that the next forward pass would quantise, detached; absent entries included."""
        return float_weight(self.synapse)

    @property
    def mask(self) -> Tensor:
        """Bool, True where a synapse may be."""
        return self.hook.mask

    @property
    def present(self) -> Tensor:
        """Bool: allowed by the mask and not quantised to zero."""
        with torch.no_grad():
            deployed: Tensor = self.hook(self.weight)
            return self.mask & (deployed != 0)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The parameters behind the weight: the weight itself, or g and v."""
        owner = self.synapse
        return [owner.weight_g, owner.weight_v] if self.normalised else [owner.weight]

    def set_mask(self, mask: Tensor) -> None:
        """Put a new mask in place. Weights stay what they are: see set_weight."""
        assert mask.shape == self.mask.shape, (mask.shape, self.mask.shape)
        assert mask.dtype == torch.bool, mask.dtype
        self.hook.mask.copy_(mask)

    def set_weight(self, weight: Tensor) -> None:
        """Give the synapses new weights, in place of the old; where absent, zero is what belongs there.

        Under weight normalisation g and v of a unit change only where its weights do, and v keeps its length per unit
        of weight. A unit whose weights are all zero gets g = 0 and v = 1 at its present synapses (1 everywhere if it
        has none): its weights are exactly zero, and finite, and can grow again through g.
        """
        with torch.no_grad():
            if not self.normalised:
                self.synapse.weight.copy_(weight)
                return
            g, v = self.synapse.weight_g, self.synapse.weight_v
            rows = (-1, *(1,) * (weight.dim() - 1))
            changed = (weight != _normalised(g, v)).flatten(1).any(1).reshape(rows)
            empty = ~(weight != 0).flatten(1).any(1).reshape(rows)
            stretch = v.flatten(1).norm(dim=1).reshape(rows) / g
            stretch = torch.where(g == 0, torch.ones_like(stretch), stretch)
            length = weight.flatten(1).norm(dim=1).reshape(rows) * stretch.sign()
            alone = ~self.mask.flatten(1).any(1).reshape(rows)
            start = (self.mask | alone).to(weight.dtype)
            # A unit that was at zero with g = 0 already stays as it is, unless its mask gave it other places to start.
            restart = empty & (changed | ((v != 0) != (start != 0)).flatten(1).any(1).reshape(rows))
            v.copy_(torch.where(restart, start, torch.where(changed, weight * stretch, v)))
            g.copy_(torch.where(empty, torch.zeros_like(g), torch.where(changed, length, g)))
            self.synapse.weight = _normalised(g, v)

    def forget_moments(self, optimiser: torch.optim.Optimizer | None, where: Tensor) -> None:
        """Give the synapses `where` (bool, the weight's shape) the optimiser's memory of a synapse that is new.

        All moments become zero, but the second moment of Adam at present synapses becomes the mean of the tensor's
        other present ones: Adam counts its steps for whole tensors, and an average of squares that begins at zero
        late in a run would make the first steps of a synapse that grows back some six times as long as the others'.
        The same goes for g, whose entry is new where all synapses of its unit are.
        """
        if optimiser is None:
            return
        unit, alive = where.flatten(1).all(1), self.mask.flatten(1).any(1)
        for parameter in self.parameters:
            state = optimiser.state.get(parameter, {})
            for name, value in state.items():
                if not isinstance(value, Tensor) or value.shape != parameter.shape:
                    continue
                new, present = where, self.mask
                if parameter.shape != where.shape:  # g has one entry per unit
                    new, present = (entries.reshape(parameter.shape) for entries in (unit, alive))
                value.masked_fill_(new, 0)
                if name in _SQUARES:
                    others = present & ~new
                    mean = (value * others).sum() / others.sum().clamp(min=1)
                    value.copy_(torch.where(new & present, mean, value))


def float_weight(synapse: Any) -> Tensor:
    """The float weight of a SLAYER synapse, detached; under weight normalisation from g and v as they are now."""
    with torch.no_grad():
        if hasattr(synapse, "weight_v"):  # synapse.weight is what the last forward pass made of them
            return _normalised(synapse.weight_g, synapse.weight_v)
        weight: Tensor = synapse.weight.detach()
        return weight


def _normalised(g: Tensor, v: Tensor) -> Tensor:
    return torch._weight_norm(v, g, 0)
