"""Which batches' gradients absent synapses hear, so that the end of an epoch can tell where one is missed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import final

from .masks import MaskedHook, MaskedLayer


@final
class Hearing:
    """Switches `MaskedHook.listens` from batch to batch. every: one in so many is heard, the epoch's first included."""

    def __init__(self, layers: Sequence[MaskedLayer], every: int) -> None:
        self.every = every
        self._hooks = [synapse.hook for layer in layers for synapse in layer.synapses]
        self._wanted: list[MaskedHook] = []
        self._batch = 0

    def begin(self, layers: Collection[MaskedLayer]) -> None:
        """Start an epoch whose end will ask what was heard in `layers`."""
        hooks = [synapse.hook for layer in layers for synapse in layer.synapses]
        self._wanted = [hook for hook in hooks if not bool(hook.mask.all())]
        for hook in self._hooks:
            hook.listens = False
        self._batch = 0
        self._switch()

    def after_batch(self) -> None:
        """Get ready for the next batch."""
        self._batch += 1
        self._switch()

    def _switch(self) -> None:
        for hook in self._wanted:
            hook.listens = self._batch % self.every == 0
