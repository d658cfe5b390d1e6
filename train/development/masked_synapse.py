"""Masks on the weights of SLAYER synapses.

A mask acts between a synapse's quantiser and its convolution, so it holds whatever the optimiser, weight normalisation
or the quantiser do (SLAYER's own `mask` multiplies a tensor that weight normalisation recomputes). Masks are buffers of
the model and part of its state_dict.
"""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

from ..fused.sums.channels import Channels, Places
from ..fused.sums.sparse import Pattern
from ..slayer.hooks import MaskingHook
from .quantiser import fits, quantise_masked, scale_of

_SQUARES = ("exp_avg_sq", "max_exp_avg_sq")  # Adam's averages of squared gradients


class _Mask(torch.autograd.Function):
    """weight * present; the gradient of masked weights is added to `sums` and does not reach the weight.

    present, absent: 1 and 0 in the weight's dtype. On a CPU, products take a tenth of the time of torch.where.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, present: Tensor, absent: Tensor, sums: Tensor | None, signed: bool) -> Tensor:
        ctx.save_for_backward(present, absent)
        ctx.sums, ctx.signed = sums, signed
        return weight * present

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = grad_outputs
        present, absent = ctx.saved_tensors
        if ctx.sums is not None:
            ctx.sums.addcmul_(gradient if ctx.signed else gradient.abs(), absent)
        return gradient * present, None, None, None, None


class MaskedHook(torch.nn.Module, MaskingHook):
    """Quantiser and mask of one weight tensor; takes the place of SLAYER's `pre_hook_fx`."""

    mask: Tensor  # bool buffer of the weight's shape, True where a synapse is present
    absent_gradient: Tensor  # buffer of the weight's shape; abs(dL/dw) of masked weights, summed over backward passes

    def __init__(self, quantise: Callable[..., Tensor] | None, weight: Tensor) -> None:
        super().__init__()
        self.quantise = quantise
        self.accumulates = False  # add to `absent_gradient` in backward passes
        self.signed = False  # add dL/dw instead of abs(dL/dw); see `Developer.accumulating`
        self._cache: tuple[Tensor, int, dict[Hashable, Any]] | None = None
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("absent_gradient", torch.zeros_like(weight), persistent=False)

    def forward(self, weight: Tensor, descale: bool = False) -> Tensor:
        """Return the quantised, masked weight; as integers if `descale`, as SLAYER's export needs it."""
        # SLAYER's recurrent synapse passes its weight as a matrix.
        sums = self.absent_gradient.view(weight.shape) if self.accumulates else None
        scale = None if descale else scale_of(self.quantise)
        if scale is not None and fits(weight, self.mask, self.absent_gradient):
            return quantise_masked(weight, self.mask.view(weight.shape), scale, sums, self.signed)
        quantised = weight
        if self.quantise is not None:
            quantised = self.quantise(weight, descale=True) if descale else self.quantise(weight)
        factors = self._factors(quantised.dtype)
        if factors is None:
            return quantised
        present, absent = (factor.view(weight.shape) for factor in factors)
        result: Tensor = _Mask.apply(quantised, present, absent, sums, self.signed)  # type: ignore[no-untyped-call]
        return result

    def pattern(self, channels_last: bool) -> Pattern | None:
        """Return the places of present synapses; None where masked weights take part, or most are present."""
        pattern: Pattern | None = self._of_present(channels_last, lambda: Pattern.of(self.mask, channels_last))
        return pattern

    def channels(self, before: Places | None = None) -> Channels | None:
        """Return the channels that have synapses; None where masked weights take part, or most channels have some."""
        key = "channels" if before is None else before.indices.tobytes()
        channels: Channels | None = self._of_present(key, lambda: Channels.of(self.mask, before))
        return channels

    def _of_present(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return compute(), as `_cached` does; None where masked weights take part in the next pass, and on a GPU."""
        if self._all_take_part() or self.mask.device.type != "cpu":
            return None
        return self._cached(key, compute)

    def _all_take_part(self) -> bool:
        """Return whether masked weights take part in the next pass: their gradients are needed."""
        return self.accumulates and torch.is_grad_enabled()

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return the mask and its complement as numbers; None if nothing is masked."""
        factors: tuple[Tensor, Tensor] | None = self._cached(
            dtype, lambda: None if bool(self.mask.all()) else (self.mask.to(dtype), (~self.mask).to(dtype))
        )
        return factors

    def _cached(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return compute(), or its earlier result for this key if the mask has not changed since."""
        if self._cache is None or self._cache[0] is not self.mask or self._cache[1] != self.mask._version:
            self._cache = (self.mask, self.mask._version, {})
        results = self._cache[2]
        if key not in results:
            results[key] = compute()
        return results[key]


class MaskedSynapse:
    """One weight tensor of a block's synapse, (out, in / groups, *kernel), with its mask.

    SLAYER stores a transposed convolution as (in, out, *kernel). Here its outputs come first, as those of all others.
    """

    def __init__(self, name: str, synapse: Any) -> None:
        kinds = import_slayer().synapse
        if isinstance(synapse, kinds.complex.ComplexLayer):
            raise UnsupportedNode(f"{name}: expected a Dense or Conv synapse, got a complex one, which cannot develop")
        self.name = name
        self.synapse = synapse
        self.turned = isinstance(synapse, kinds.layer.ConvTranspose)
        self.kernelwise = self.turned or isinstance(synapse, kinds.layer.Conv)
        if self.turned and (synapse.groups > 1 or self.normalised):
            raise UnsupportedNode(
                f"{name}: expected a ConvT without groups and weight_norm, got one that cannot develop"
            )
        hook = synapse.pre_hook_fx
        # nn.Module's __setattr__ would register a module beside SLAYER's `pre_hook_fx` property, not through it.
        synapse._pre_hook_fx = hook if isinstance(hook, MaskedHook) else MaskedHook(hook, float_weight(synapse))

    def _outputs_first(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1) if self.turned else tensor

    @property
    def hook(self) -> MaskedHook:
        """The hook with the mask."""
        hook = self.synapse._pre_hook_fx
        assert isinstance(hook, MaskedHook), "the hook of a masked synapse was replaced"
        return hook

    @property
    def normalised(self) -> bool:
        """Whether SLAYER's weight normalisation is on (weight = g v / |v| per unit)."""
        return hasattr(self.synapse, "weight_v")

    @property
    def float_weight(self) -> Tensor:
        """The float weight before quantiser and mask, detached; masked entries included."""
        return self._outputs_first(float_weight(self.synapse))

    @property
    def deployed_weight(self) -> Tensor:
        """The quantised and masked weight, in SLAYER's float units."""
        with torch.no_grad():
            return self._outputs_first(self.hook(float_weight(self.synapse)))

    @property
    def mask(self) -> Tensor:
        """Bool, True where a synapse is not masked."""
        return self._outputs_first(self.hook.mask)

    @property
    def absent_gradient(self) -> Tensor:
        """The gradients of masked weights, summed over backward passes."""
        return self._outputs_first(self.hook.absent_gradient)

    @property
    def present(self) -> Tensor:
        """Bool, True where a synapse is not masked and does not quantise to zero."""
        return self.mask & (self.deployed_weight != 0)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The trainable parameters: the weight, or g and v."""
        return [self.synapse.weight_g, self.synapse.weight_v] if self.normalised else [self.synapse.weight]

    def replace_mask(self, mask: Tensor, optimiser: torch.optim.Optimizer | None) -> None:
        """Set a new mask. Newly masked and newly unmasked weights become zero, with fresh moments."""
        weight, before = self.float_weight, self.mask.clone()
        self.set_mask(mask)
        self.set_weight(weight * (mask & before))
        self.forget_moments(optimiser, ~mask | (mask & ~before))

    def set_mask(self, mask: Tensor) -> None:
        """Set a new mask and leave the weights as they are."""
        assert mask.shape == self.mask.shape, (mask.shape, self.mask.shape)
        assert mask.dtype == torch.bool, mask.dtype
        self.mask.copy_(mask)

    def set_weight(self, weight: Tensor) -> None:
        """Set new float weights, in place; masked entries must be zero.

        Under weight normalisation, g and v of a unit change only where its weights do, and v keeps its length per unit
        of weight. A unit with zero weights gets g = 0, and v = 1 at its present synapses (everywhere if it has none):
        its weights are exactly zero and finite, and can grow again through g.
        """
        with torch.no_grad():
            if not self.normalised:
                self._outputs_first(self.synapse.weight).copy_(weight)
                return
            g, v = self.synapse.weight_g, self.synapse.weight_v
            rows = (-1, *(1,) * (weight.dim() - 1))
            changed = (weight != _normalised(g, v)).flatten(1).any(1).reshape(rows)
            empty = ~(weight != 0).flatten(1).any(1).reshape(rows)
            stretch = v.flatten(1).norm(dim=1).reshape(rows) / g
            stretch = torch.where(g == 0, torch.ones_like(stretch), stretch)
            length = weight.flatten(1).norm(dim=1).reshape(rows) * stretch.sign()
            isolated = ~self.mask.flatten(1).any(1).reshape(rows)
            start = (self.mask | isolated).to(weight.dtype)
            # A unit already at g = 0 stays as it is, unless its mask changed the places to start from.
            restart = empty & (changed | ((v != 0) != (start != 0)).flatten(1).any(1).reshape(rows))
            v.copy_(torch.where(restart, start, torch.where(changed, weight * stretch, v)))
            g.copy_(torch.where(empty, torch.zeros_like(g), torch.where(changed, length, g)))
            self.synapse.weight = _normalised(g, v)

    def forget_moments(self, optimiser: torch.optim.Optimizer | None, where: Tensor) -> None:
        """Reset the optimiser's moments of the synapses `where` (bool, the weight's shape).

        All moments become zero, except Adam's second moment at present synapses: it becomes the mean of the tensor's
        other present ones. Adam counts its steps for whole tensors, so a second moment that starts at zero late in a
        run would make the first steps some six times too long. g of a unit is reset if all its synapses are.
        """
        if optimiser is None:
            return
        unit, connected = where.flatten(1).all(1), self.mask.flatten(1).any(1)
        for parameter in self.parameters:
            for name, value in optimiser.state.get(parameter, {}).items():
                if not isinstance(value, Tensor) or value.shape != parameter.shape:
                    continue
                value = self._outputs_first(value)
                new, present = where, self.mask
                if value.shape != where.shape:  # g has one entry per unit
                    new, present = (entries.reshape(value.shape) for entries in (unit, connected))
                value.masked_fill_(new, 0)
                if name in _SQUARES:
                    others = present & ~new
                    mean = (value * others).sum() / others.sum().clamp(min=1)
                    value.copy_(torch.where(new & present, mean, value))


def float_weight(synapse: Any) -> Tensor:
    """Return the float weight of a SLAYER synapse, detached; under weight normalisation from the current g and v."""
    with torch.no_grad():
        if hasattr(synapse, "weight_v"):  # synapse.weight is the result of the last forward pass
            return _normalised(synapse.weight_g, synapse.weight_v)
        weight: Tensor = synapse.weight.detach()
        return weight


def _normalised(g: Tensor, v: Tensor) -> Tensor:
    return torch._weight_norm(v, g, 0)
