"""The processes that train together: this one alone, or as many as Lightning Fabric starts or finds.

Every process holds the whole model and computes its parts of each batch. What is all-reduced (gradients, counts) is the
same number on every rank, so all ranks take the same steps and the same structural decisions. Only rank 0 writes files.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from sdsnn_core.errors import BackendError, ConfigError, MissingDependency, SdsnnError, one_line

T = TypeVar("T")
FABRIC = (
    "hardware: GPUs, several processes and bf16-mixed need Lightning Fabric: pip install 'lightning-fabric>=2.4,<3'"
)


class PeerFailed(SystemExit):
    """Another process failed and reports the error; this one exits with status 2 and no message."""


class ProcessGroup:
    """One process on the CPU. rank, world_size: of this process among all. local_rank: among those of its machine."""

    rank = 0
    local_rank = 0
    world_size = 1
    device = torch.device("cpu")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of forward passes in training."""
        return nullcontext()

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of one dtype, by their sums over all ranks. The sum of two is exactly commutative."""

    def from_rank_0(self, make: Callable[[], T]) -> T:
        """Call `make` on rank 0 only and broadcast its result; if it raises, all processes end."""
        return make()

    def local_rank_0_first(self, work: Callable[[], T]) -> T:
        """Do the same work on every rank, on local rank 0 first: it fills caches that the others read."""
        return work()

    def check_equal(self, value: object, what: str) -> None:
        """Raise BackendError on every rank whose `value` differs from that of rank 0."""


class FabricGroup(ProcessGroup):
    """The processes of a launched Lightning Fabric."""

    def __init__(self, fabric: Any) -> None:
        self._fabric = fabric
        self.rank, self.local_rank = fabric.global_rank, fabric.local_rank
        self.world_size, self.device = fabric.world_size, fabric.device

    def autocast(self) -> AbstractContextManager[Any]:
        """Return Fabric's context of the chosen precision."""
        context: AbstractContextManager[Any] = self._fabric.autocast()
        return context

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sum all of them in one message."""
        if self.world_size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).to(self.device) for tensor in tensors])
        with self._communication():
            flat = self._fabric.all_reduce(flat, reduce_op="sum")
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def from_rank_0(self, make: Callable[[], T]) -> T:
        """Broadcast through memory: the other ranks need not see the files of rank 0."""
        result: T = self._broadcast(self._all_or_none(make if self.rank == 0 else lambda: None))
        return result

    def local_rank_0_first(self, work: Callable[[], T]) -> T:
        """Do the work on the local ranks 0, then on the others."""
        first = self._all_or_none(work if self.local_rank == 0 else lambda: None)
        other = self._all_or_none(work if self.local_rank != 0 else lambda: None)
        result: T = first if self.local_rank == 0 else other
        return result

    def check_equal(self, value: object, what: str) -> None:
        """Compare with the broadcast value of rank 0."""
        expected = self._broadcast(value)

        def compare() -> None:
            if value != expected:
                raise BackendError(f"process {self.rank}: expected the {what} of process 0, got others")

        self._all_or_none(compare)

    def _broadcast(self, value: Any) -> Any:
        if self.world_size == 1:
            return value
        with self._communication():
            return self._fabric.broadcast(value)

    @contextmanager
    def _communication(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch raises it when another process has ended
            raise BackendError(
                f"process {self.rank}: lost the others ({one_line(error)}); go on with --resume"
            ) from None

    def _all_or_none(self, work: Callable[[], Any]) -> Any:
        """Do the work; an error on any rank ends all: it is raised where it happened, the others exit without words."""
        failure: SdsnnError | None = None
        result = None
        try:
            result = work()
        except SdsnnError as error:
            failure = error
        if self.world_size > 1:
            failures = [False] * self.world_size
            with self._communication():
                torch.distributed.all_gather_object(failures, failure is not None)
            if failure is None and any(failures):
                raise PeerFailed(2)
        if failure is not None:
            raise failure
        return result


def init_process_group(
    accelerator: Literal["cpu", "cuda", "auto"] = "cpu",
    devices: int = 1,
    num_nodes: int = 1,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
) -> ProcessGroup:
    """Start the processes of a run that torchrun has not started, and return their group.

    Fabric starts a process by running the program's own command again, which must call this function too.

    Args:
        accelerator: auto takes GPUs if torch sees any, else the CPU.
        devices: processes on each machine, one per GPU. torchrun's own number comes first.
        num_nodes: machines. torchrun's own number comes first.
        precision: of the synapses while training.

    Raises:
        ConfigError: devices are missing.
        MissingDependency: more than one process on the CPU in 32 bits, without Lightning Fabric.
        BackendError: the processes do not connect.
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    nodes = num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started the processes
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if accelerator == "cpu" and devices == nodes == 1 and precision == "32-true":
        return ProcessGroup()
    if accelerator == "cuda" and (n_gpus := torch.cuda.device_count()) < devices:
        raise ConfigError([f"hardware devices: expected up to {n_gpus}, the GPUs that torch sees, got {devices}"])
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingDependency(FABRIC) from None
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # no banner
    try:
        fabric = Fabric(
            accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision,
            strategy="ddp" if devices * nodes > 1 else "auto",
        )  # fmt: skip
        fabric.launch()
    except (RuntimeError, ValueError, OSError) as error:
        raise BackendError(
            f"hardware: {devices} processes on each of {nodes} machines did not connect ({one_line(error)})"
        ) from None
    if fabric.world_size > 1:
        # Close the connections before the interpreter ends: their threads would abort it.
        atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())
    return FabricGroup(fabric)
