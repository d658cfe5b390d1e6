"""Gradients of masked weights, accumulated over the batches of an epoch: the grow scores at its end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from torch import Tensor

from .masks import MaskedLayer


@final
class AbsentGradients:
    """Switches the accumulation of masked weights' gradients on and off, batch by batch.

    The score of an epoch is the sum over batches of abs(gradient of the batch), as in RigL (arXiv:1911.11134).

    Args:
        layers: the masked layers of a model.
        every: accumulate in one batch of this many, the first of an epoch included.
    """

    def __init__(self, layers: Sequence[MaskedLayer], every: int) -> None:
        self.every = every
        self._hooks = [synapse.hook for layer in layers for synapse in layer.synapses]
        self._needed = self._hooks[:0]
        self._batch = 0

    def begin_epoch(self, layers: Collection[MaskedLayer]) -> None:
        """Start an epoch that ends with a growth step in `layers`."""
        hooks = [synapse.hook for layer in layers for synapse in layer.synapses]
        self._needed = [hook for hook in hooks if not bool(hook.mask.all())]
        for hook in self._hooks:
            hook.accumulates = False
        self._batch = -1
        self.next_batch()

    def next_batch(self) -> None:
        """Set the hooks for the next batch."""
        self._batch += 1
        for hook in self._needed:
            hook.accumulates = self._batch % self.every == 0

    def clear(self) -> None:
        """Set all scores to zero."""
        for hook in self._hooks:
            hook.absent_gradient.zero_()

    @contextmanager
    def one_batch(self) -> Iterator[list[Tensor]]:
        """Sum the gradients of several backward passes with their signs; add the absolute value at the end."""
        before = [(hook, hook.absent_gradient.clone()) for hook in self._hooks if hook.accumulates]
        for hook, _ in before:
            hook.absent_gradient.zero_()
            hook.signed = True
        try:
            yield [hook.absent_gradient for hook, _ in before]
        finally:
            for hook, scores in before:
                hook.signed = False
                hook.absent_gradient.abs_().add_(scores)
