"""Differential fuzzing: random networks and inputs, every form against the reference, every bin compared.

A quarter of the networks are SLAYER models, lowered and compacted, whose own spikes join in; half of them have
adaptive, resonating or sigma-delta blocks. A quarter may have every feature of a Network of CUBA neurons, extremes that
wrap and saturate included; a quarter has neurons of every model. A quarter are chains that a netx file can hold.
Everything follows from a seed and the number of the network, so that a mismatch can be drawn again alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
from networks import random_network

from sdsnn.export.netx.writer import write_netx
from sdsnn.export.nir_format.writer import write_nir
from sdsnn.export.resolution import finest_resolution, slayer_resolution, with_resolution
from sdsnn.export.verify.backends import file_backend, recorded
from sdsnn.export.verify.certificate import Certificate, verify
from sdsnn_core import reference
from sdsnn_core.activity import random_spikes
from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.backend import Backend
from sdsnn_core.compaction import compact
from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Network, Population, Sigma, SigmaDelta

Trains = Mapping[str, npt.NDArray[np.uint8]]

N_SAMPLES: Final = 2
N_STEPS: Final = (16, 24, 24, 72)  # drawn from; the last is longer than the longest delay
FINER: Final = 0.25  # share of SLAYER models whose states are refined as far as they allow, or less
EXACT: Final = 2**25  # of 1/2**18: the sums of messages that SLAYER's float32 holds exactly
LAVA_BATCH: Final = 25  # networks per child process of Lava, whose start takes seconds


@final
@dataclass(frozen=True, eq=False)
class Case:
    """A network, its input (name -> (samples, steps, size)), and what SLAYER emitted where it was a SLAYER model."""

    number: int
    kind: str
    network: Network
    inputs: Trains
    slayer: Trains | None = None


@dataclass
class Tally:
    """What was compared: per back end [networks, bins, mismatches]; one line for every network that disagreed."""

    networks: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    backends: dict[str, list[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def bins(self) -> int:
        """Bins compared over all back ends."""
        return sum(entry[1] for entry in self.backends.values())

    @property
    def mismatches(self) -> int:
        """Bins that differed; a back end that could not run counts as one."""
        return sum(entry[2] for entry in self.backends.values())

    def add(self, case: Case, certificate: Certificate) -> None:
        """Count the comparisons of one network."""
        for c in certificate.comparisons:
            entry = self.backends.setdefault(c.backend, [0, 0, 0])
            wrong = c.mismatches + (c.failed is not None)
            for at, value in enumerate((1, c.bins, wrong)):
                entry[at] += value
            if wrong:
                self.failures.append(f"network {case.number} ({case.kind}): {c.backend}: {c.failed or c.first}")

    def lines(self) -> list[str]:
        """Return the result as text, the closing line last."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        table = [f"{name}: networks {n}, bins {b}, mismatches {m}" for name, (n, b, m) in self.backends.items()]
        closing = f"networks {self.networks}, bins {self.bins}, mismatches {self.mismatches}"
        return [*self.failures, f"drawn: {kinds}", *table, closing]


def draw_case(seed: int, number: int) -> Case:
    """Draw network `number` of the sequence that `seed` begins."""
    rng = np.random.default_rng([seed, number])
    kind = ("slayer", "any", "chain", "models")[number % 4]
    if kind == "slayer":
        return (_slayer_case if number % 8 else _neurons_case)(rng, number)
    if kind == "chain":
        network = _random_chain(rng)
    else:
        network = random_network(rng, graded=bool(rng.random() < 0.2), models=kind == "models")
    return Case(number, kind, network, random_spikes(rng, network, N_SAMPLES, int(rng.choice(N_STEPS))))


def _random_chain(rng: np.random.Generator) -> Network:
    """Draw what netx allows: images, or loops, or delays; biases in units of 64 state units."""
    feature = rng.choice(["convolution", "recurrent", "delays"])
    drawn = random_network(
        rng,
        skip=False,
        weight_exp=False,
        convolution=feature == "convolution",
        recurrent=feature == "recurrent",
        delays=feature == "delays",
        even=bool(rng.random() < 0.5),
        graded=bool(rng.random() < 0.2),
    )
    nodes = {name: replace(node, bias_exp=6) if isinstance(node, Population) else node
             for name, node in drawn.nodes.items()}  # fmt: skip
    return Network(nodes, drawn.projections)


def _slayer_case(rng: np.random.Generator, number: int) -> Case:
    import torch
    from slayer_models import draw_model

    from sdsnn.train.slayer.block_spikes import trace
    from sdsnn.train.slayer.lowering import lower

    torch.manual_seed(int(rng.integers(2**31)))
    blocks, shape = draw_model(rng, ends=True)
    lowered = lower(blocks, shape)
    n_steps = int(rng.choice(N_STEPS))
    spikes = (rng.random((N_SAMPLES, n_steps, *shape)) < rng.choice([0.1, 0.3, 0.6])).astype(np.uint8)
    bits = int(rng.integers(finest_resolution(lowered, spikes) + 1)) if rng.random() < FINER else 0
    with slayer_resolution(blocks, bits):
        trains = trace(blocks, spikes)
    compaction = compact(with_resolution(lowered, bits))
    network = compaction.network
    # An Affine readout emits no spikes; its voltages are compared in tests/train/slayer/test_lowering.py.
    kept = {name: trains[name][..., compaction.kept[name]] for name in network.populations if name in trains}
    return Case(number, "slayer", network, {"input": spikes.reshape(N_SAMPLES, n_steps, -1)}, kept)


def _neurons_case(rng: np.random.Generator, number: int) -> Case:
    """Draw SLAYER blocks of other neurons than CUBA."""
    import torch
    from slayer_neurons import draw_chain

    from sdsnn.train.slayer.block_spikes import trace
    from sdsnn.train.slayer.lowering import lower

    torch.manual_seed(int(rng.integers(2**31)))
    graded = bool(rng.random() < 0.5)
    blocks, shape = draw_chain(rng, graded=graded)
    lowered, n_steps, largest = lower(blocks, shape, input_max=3), int(rng.choice(N_STEPS)), 3 if graded else 1
    values = rng.integers(1, largest + 1, (N_SAMPLES, n_steps, *shape))
    spikes = (values * (rng.random(values.shape) < rng.choice([0.1, 0.3, 0.6]))).astype(np.uint8)
    compaction = compact(lowered)
    network, trains = compaction.network, trace(blocks, spikes)
    kept = {name: trains[name][..., compaction.kept[name]] for name in network.populations if name in trains}
    inputs = {"input": spikes.reshape(N_SAMPLES, n_steps, -1)}
    return Case(number, "slayer", network, inputs, kept if _exact(lowered, spikes) else None)


def _exact(network: Network, spikes: npt.NDArray[np.uint8]) -> bool:
    """Return whether no register overflows, and no sum of messages what SLAYER's float32 holds."""
    states = reference.run(network, spikes, record=(), record_state=network.populations)
    limits = {
        name: EXACT if isinstance(node, SigmaDelta | Sigma) else STATE_LIMIT
        for name, node in network.populations.items()
    }
    return all(
        np.abs(state[name]).max(initial=0) < limit - 1
        for state in (states.current, states.voltage)
        for name, limit in limits.items()
    )


def fuzz(
    n_networks: int,
    *,
    seed: int = 0,
    first: int = 0,
    lava_every: int = 0,
    extra: Mapping[str, Backend] | None = None,
    folder: Path | None = None,
    progress: Callable[[Tally], Any] | None = None,
) -> Tally:
    """Compare networks `first` to `first + n_networks - 1`; return what was compared.

    Back ends: SLAYER (of its models), the NIR file and the netx file (where the network is a chain) read back, `extra`,
    the network before its compaction (of the others), and for every `lava_every`-th network (0: none) Lava's processes
    and lava-dl's netx. folder: where the networks that disagree and the traces around the first difference go.
    progress: called now and then.
    """
    tally = Tally()
    numbers = iter(range(first, first + n_networks))
    with tempfile.TemporaryDirectory(prefix="sdsnn-fuzz-") as scratch:
        while batch := list(islice(numbers, LAVA_BATCH * max(1, lava_every))):
            for_lava = []
            for number in batch:
                case = draw_case(seed, number)
                _compare(case, Path(scratch), extra or {}, folder, tally)
                if lava_every and number % lava_every == 0:
                    for_lava.append(case)
            for case, backends in _lava_backends(for_lava, Path(scratch)):
                tally.add(case, verify(case.network, case.inputs, backends, _own(folder, case)))
            if progress is not None:
                progress(tally)
    return tally


def _compare(case: Case, scratch: Path, extra: Mapping[str, Backend], folder: Path | None, tally: Tally) -> None:
    nir_file, netx_file = scratch / "network.nir", scratch / "network.net"
    backends: dict[str, Backend] = {}
    if case.slayer is not None:
        backends["slayer"] = recorded(case.slayer)
    backends["nir"] = file_backend(write_nir(case.network, nir_file))
    if _netx(case.network, netx_file) is not None:
        backends["netx file"] = file_backend(netx_file)
    failed = len(tally.failures)
    tally.add(case, verify(case.network, case.inputs, {**backends, **extra}, _own(folder, case)))
    if case.kind != "slayer":  # those are compacted already
        compaction = compact(case.network)
        whole = extra.get("engine", reference.run)(case.network, case.inputs)
        kept = {name: whole.spikes[name][..., compaction.kept[name]] for name in compaction.network.populations}
        tally.add(case, verify(compaction.network, case.inputs, {"compaction": recorded(kept)}, _own(folder, case)))
    tally.networks += 1
    tally.kinds[case.kind] = tally.kinds.get(case.kind, 0) + 1
    if (own := _own(folder, case)) is not None and len(tally.failures) > failed:
        own.mkdir(parents=True, exist_ok=True)
        write_nir(case.network, own / "network.nir")


def _own(folder: Path | None, case: Case) -> Path | None:
    return None if folder is None else folder / str(case.number)


def runs_in_lava(network: Network) -> bool:
    """Return whether Lava has a process for all neurons."""
    from sdsnn.export.lava.neurons import refuse_neurons

    try:
        refuse_neurons(network)
    except UnsupportedNode:
        return False
    return True


def _netx(network: Network, path: Path) -> Path | None:
    try:
        return write_netx(network, path, loader="sdsnn")
    except (NetworkError, UnsupportedNode):
        return None


def _lava_backends(cases: list[Case], scratch: Path) -> Iterator[tuple[Case, dict[str, Backend]]]:
    """Run a batch in Lava, and where there is a file in lava-dl's netx; yield what was recorded."""
    from sdsnn.export.lava.run import run_lava_many
    from sdsnn.export.netx.run import run_netx_many

    if not cases:
        return
    cases = [case for case in cases if runs_in_lava(case.network)]
    lava = run_lava_many([(case.network, case.inputs) for case in cases])
    files = {case.number: _netx(case.network, scratch / f"{case.number}.net") for case in cases}
    jobs = [(path, case.inputs) for case in cases if (path := files[case.number]) is not None]
    netx = iter(run_netx_many(jobs) if jobs else [])
    for case, activity in zip(cases, lava, strict=True):
        names = list(case.network.populations)
        backends = {"lava": recorded({name: activity.spikes[name] for name in names})}
        if (path := files[case.number]) is not None:
            loaded = next(netx)
            backends["netx in lava-dl"] = recorded({name: loaded.spikes[name] for name in names})
            path.unlink()
        yield case, backends
