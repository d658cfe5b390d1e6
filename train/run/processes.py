"""The processes that train together: this one alone, or as many as Lightning Fabric makes or finds.

Every process holds the whole model and computes its parts of each batch; what they add up (gradients, counts) is the
same number on all of them, so that they take the same steps and the same structural decisions. Only the leader writes.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from sdsnn_core.errors import BackendError, ConfigError, MissingDependency, SdsnnError, one_line

from .config_training import HardwareConfig

T = TypeVar("T")
FABRIC = (
    "hardware: GPUs, several processes and bf16-mixed need Lightning Fabric: pip install 'lightning-fabric>=2.4,<3'"
)


class PeerFailed(SystemExit):
    """Another process failed and reports the error; this one exits with status 2 and no message."""


class Team:
    """One process on the CPU. rank, size: of this process among all. local_rank: among those of its machine."""

    rank = 0
    local_rank = 0
    size = 1
    device = torch.device("cpu")

    @property
    def leader(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of forward passes in training."""
        return nullcontext()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of one dtype, by their sums over all processes. The sum of two is exactly commutative."""

    def from_leader(self, make: Callable[[], T]) -> T:
        """Return what `make` returns in the leader, where alone it is called; where it raises, all processes end."""
        return make()

    def machine_by_machine(self, work: Callable[[], T]) -> T:
        """Do the same work everywhere, on each machine in one process first: it fills caches, the others read them."""
        return work()

    def agree(self, value: object, what: str) -> None:
        """Raise BackendError unless `value` equals the leader's in every process."""


class FabricTeam(Team):
    """The processes of a launched Lightning Fabric."""

    def __init__(self, fabric: Any) -> None:
        self._fabric = fabric
        self.rank, self.local_rank = fabric.global_rank, fabric.local_rank
        self.size, self.device = fabric.world_size, fabric.device

    def autocast(self) -> AbstractContextManager[Any]:
        """Return Fabric's context of the chosen precision."""
        context: AbstractContextManager[Any] = self._fabric.autocast()
        return context

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Add all of them up in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).to(self.device) for tensor in tensors])
        with self._talking():
            flat = self._fabric.all_reduce(flat, reduce_op="sum")
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def from_leader(self, make: Callable[[], T]) -> T:
        """Send what the leader made, through memory: the others need not see its files."""
        made = self._all_or_none(make if self.leader else lambda: None)
        result: T = self._broadcast(made)
        return result

    def machine_by_machine(self, work: Callable[[], T]) -> T:
        """Let the first process of every machine go before the others."""
        first = self._all_or_none(work if self.local_rank == 0 else lambda: None)
        other = self._all_or_none(work if self.local_rank != 0 else lambda: None)
        result: Any = first if self.local_rank == 0 else other
        return result  # type: ignore[no-any-return]

    def agree(self, value: object, what: str) -> None:
        """Compare with what the leader sends."""
        expected = self._broadcast(value)

        def compare() -> None:
            if value != expected:
                raise BackendError(f"process {self.rank}: has come to other {what} than process 0")

        self._all_or_none(compare)

    def _broadcast(self, value: Any) -> Any:
        if self.size == 1:
            return value
        with self._talking():
            return self._fabric.broadcast(value)

    @contextmanager
    def _talking(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch raises it when another process has ended
            raise BackendError(
                f"process {self.rank}: lost the others ({one_line(error)}); go on with --resume"
            ) from None

    def _all_or_none(self, work: Callable[[], Any]) -> Any:
        """Do the work; an error of any process ends all: it is raised where it happened, the others end quietly."""
        failed: SdsnnError | None = None
        result = None
        try:
            result = work()
        except SdsnnError as error:
            failed = error
        if self.size > 1:
            others: list[bool] = [False] * self.size
            with self._talking():
                torch.distributed.all_gather_object(others, failed is not None)
            if failed is None and any(others):
                raise PeerFailed(2)
        if failed is not None:
            raise failed
        return result


def assemble(config: HardwareConfig) -> Team:
    """Return the processes of a run, launched: on this machine Fabric starts those that torchrun has not.

    Fabric starts a process by running the program's own command again, which must come here too. Raises ConfigError
    for devices that are not there, MissingDependency without Fabric, BackendError if the processes do not meet.
    """
    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    devices, nodes = config.devices, config.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started the processes
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "cpu" and devices == nodes == 1 and config.precision == "32-true":
        return Team()
    if accelerator == "cuda" and torch.cuda.device_count() < devices:
        seen = torch.cuda.device_count()
        raise ConfigError([f"hardware: got {devices} devices with accelerator 'cuda', torch sees {seen} GPUs here"])
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingDependency(FABRIC) from None
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its banner is no news to us
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=config.precision,
            strategy="ddp" if devices * nodes > 1 else "auto",
        )
        fabric.launch()
    except (RuntimeError, ValueError, OSError) as error:
        raise BackendError(
            f"hardware: {devices} processes on each of {nodes} machines did not meet ({one_line(error)})"
        ) from None
    if fabric.world_size > 1:
        atexit.register(_part)
    return FabricTeam(fabric)


def _part() -> None:
    """Close the connections before the interpreter goes: their threads would abort it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
