"""Gradients of masked weights, accumulated over the batches of an epoch: the grow scores at its end."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor

from .masks import MaskedHook, MaskedLayer


@final
class AbsentGradients:
    """Switches the accumulation of masked weights' gradients on and off: on in one batch of `every`, from the first on.

    The score of an epoch is the sum over batches of abs(gradient of the batch), as in RigL (arXiv:1911.11134), or of
    the gradient with its sign.
    """

    def __init__(self, layers: Sequence[MaskedLayer], every: int) -> None:
        self.every = every
        self.signed = False
        self._hooks = [synapse.hook for layer in layers for synapse in layer.synapses]
        self._needed: list[MaskedHook] = []
        self._batch = 0
        self._scaled: tuple[Any, float, list[tuple[MaskedHook, Tensor]]] | None = None

    @property
    def batch(self) -> int:
        """Number of batches of this epoch that have ended."""
        return self._batch

    def begin_epoch(self, layers: Collection[MaskedLayer], *, signed: bool = False) -> None:
        """Start an epoch that ends with a growth step in `layers`. signed: sum the gradients with their signs."""
        self.signed = signed
        hooks = [synapse.hook for layer in layers for synapse in layer.synapses]
        self._needed = [hook for hook in hooks if not bool(hook.mask.all())]
        for hook in self._hooks:
            hook.accumulates = False
            hook.signed = self.signed
        self._batch = -1
        self.next_batch()

    def next_batch(self) -> bool:
        """Set the hooks for the next batch; return False if a gradient scaler skipped the step of this one."""
        if self._scaled is not None and not self._add_scaled():
            return False
        self._batch += 1
        for hook in self._needed:
            hook.accumulates = self._batch % self.every == 0

        return True

    def clear(self) -> None:
        """Set all scores to zero."""
        self._scaled = None
        for hook in self._hooks:
            hook.absent_gradient.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return scores and batches of an epoch that has begun; empty between epochs."""
        if self._batch == 0:
            return {}
        return {"batch": self._batch, "scores": [hook.absent_gradient.clone() for hook in self._hooks]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state, after `begin_epoch`."""
        self._batch = int(state["batch"]) - 1
        self.next_batch()
        for hook, scores in zip(self._hooks, state["scores"], strict=True):
            hook.absent_gradient.copy_(scores)

    @contextmanager
    def one_batch(self, scaler: Any = None) -> Iterator[list[Tensor]]:
        """Sum the gradients of several backward passes with their signs; add the score of the sum at the end.

        With a scaler the sums are added in `next_batch`, when it is known whether their step was taken.
        """
        before = [(hook, hook.absent_gradient.clone()) for hook in self._hooks if hook.accumulates]
        for hook, _ in before:
            hook.absent_gradient.zero_()
            hook.signed = True
        try:
            yield [hook.absent_gradient for hook, _ in before]
        finally:
            for hook, scores in before:
                hook.signed = self.signed
                if scaler is None:
                    self._score(hook.absent_gradient).add_(scores)
            if scaler is not None:
                self._scaled = scaler, scaler.get_scale(), before

    def _add_scaled(self) -> bool:
        """Divide the sums of a scaled batch by the scale and add them; leave them out if their step was skipped."""
        assert self._scaled is not None
        scaler, scale, before = self._scaled
        self._scaled = None
        taken: bool = scaler.get_scale() >= scale
        for hook, scores in before:
            sums = hook.absent_gradient
            # A score of masked weights alone can overflow in a step that is taken.
            self._score(sums).div_(scale).masked_fill_(~torch.isfinite(sums), 0).mul_(float(taken)).add_(scores)
        return taken

    def _score(self, sums: Tensor) -> Tensor:
        """Return the scores of the gradients of a batch, in place."""
        return sums if self.signed else sums.abs_()
