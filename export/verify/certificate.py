"""Proof that every form of a network spikes the same, or the first place where two of them differ.

Every back end runs the same input, and each bin of each population is compared with the reference simulator's. The
certificate holds hashes of network and input, versions, bins and mismatches.
"""

import hashlib
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core import reference
from sdsnn_core.activity import Activity, first_difference, prepare_inputs
from sdsnn_core.backend import Backend
from sdsnn_core.errors import MissingDependency, SdsnnError, UnsupportedNode, one_line
from sdsnn_core.files import installed
from sdsnn_core.network import NEVER_FIRES, CubaLif, Network

from .traces import save_mismatch

Spikes = Mapping[str, npt.NDArray[np.uint8]]


@final
@dataclass(frozen=True)
class Comparison:
    """One back end against the reference."""

    backend: str
    bins: int  # (sample, step, neuron) cells compared, spikes and voltages
    mismatches: int  # cells that differ
    first: dict[str, Any] | None  # the earliest of them
    seconds: float
    failed: str | None = None  # why the back end could not run
    trace_file: str | None = None  # the traces around the first mismatch, where saved
    voltage_bins: int = 0  # how many of the bins are voltages of outputs that are read by them


@final
@dataclass(frozen=True)
class Certificate:
    """What was compared and what came out; `as_dict` is the content of certificate.json (format 1)."""

    network_sha256: str
    input_sha256: str
    n_samples: int
    n_steps: int
    comparisons: tuple[Comparison, ...]
    versions: Mapping[str, str]
    made: str
    skipped: Mapping[str, str] = field(default_factory=dict)  # back ends that neither verify nor fail, with the reason

    @property
    def verified(self) -> bool:
        """Whether at least one back end ran, none failed and every bin agreed."""
        return bool(self.comparisons) and all(c.failed is None and not c.mismatches for c in self.comparisons)

    @property
    def mismatches(self) -> int:
        """Bins that differ from the reference, over all back ends."""
        return sum(c.mismatches for c in self.comparisons)

    @property
    def bins(self) -> int:
        """Bins compared, over all back ends."""
        return sum(c.bins for c in self.comparisons)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": 1,
            "verified": self.verified,
            "oracle": "reference",
            "network_sha256": self.network_sha256,
            "input_sha256": self.input_sha256,
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
            "bins": self.bins,
            "mismatches": self.mismatches,
            "versions": dict(self.versions),
            "made": self.made,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "skipped": dict(self.skipped),
        }


def verify(
    network: Network,
    spikes: npt.ArrayLike | Spikes,
    backends: Mapping[str, Backend],
    traces: Path | None = None,
    skipped: Mapping[str, str] | None = None,
) -> Certificate:
    """Run `network` on the reference and on every back end, and compare every bin of every population.

    Of an output that is read by its voltage, the voltages are compared too, in state units, where a back end has them.
    A back end that cannot run the network (UnsupportedNode) or is not installed is listed as skipped, with the reason.
    One that raises another SdsnnError is listed as failed; the certificate is then not verified. A back end may leave
    out populations that never fire. traces: folder for `mismatch-<back end>.nir-data`, the traces around a first
    mismatch. skipped: back ends known to take no part, with the reason.
    """
    inputs, n_samples, n_steps = prepare_inputs(network, spikes)
    truth = reference.run(network, inputs, record=list(network.populations), record_state=_read_by_voltage(network))
    comparisons, left_out = [], dict(skipped or {})
    for name, run in backends.items():
        try:
            comparisons.append(_compare(name, run, network, inputs, truth, traces))
        except (UnsupportedNode, MissingDependency) as error:
            left_out[name] = one_line(error)
    sha = hashlib.sha256()
    for name, train in inputs.items():
        sha.update(f"{name} {train.shape}".encode())
        sha.update(train.tobytes())
    packages = ("sdsnn", "numpy", "torch", "nir", "lava-nc", "lava-dl", "numba", "h5py")
    versions = {"python": platform.python_version(), **installed(packages)}
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    digests = network.digest(), sha.hexdigest()
    return Certificate(*digests, n_samples, n_steps, tuple(comparisons), versions, made, left_out)


def _compare(
    name: str, run: Backend, network: Network, inputs: Spikes, truth: Activity, traces: Path | None
) -> Comparison:
    started = time.perf_counter()
    try:
        activity = run(network, inputs, record=list(network.populations), record_state=_read_by_voltage(network))
    except (UnsupportedNode, MissingDependency):
        raise
    except SdsnnError as error:
        return Comparison(name, 0, 0, None, time.perf_counter() - started, failed=one_line(error))
    seconds, got = time.perf_counter() - started, activity.spikes
    silent = {
        key for key, p in network.populations.items() if type(p) is CubaLif and (p.threshold == NEVER_FIRES).all()
    }
    firing = set(network.populations) - silent
    unknown, missing = set(got) - set(truth.spikes), firing - set(got)
    shapes = {key for key in set(got) & set(truth.spikes) if np.shape(got[key]) != truth.spikes[key].shape}
    if different := sorted(unknown | missing | shapes):
        failed = f"recorded other populations or shapes than the reference: {', '.join(different)}"
        return Comparison(name, 0, 0, None, seconds, failed)
    voltages = {key: train for key, train in activity.voltage.items() if key in truth.voltage}
    pairs = [
        *((truth.spikes[key], np.asarray(train)) for key, train in got.items()),
        *((truth.voltage[key], np.asarray(train)) for key, train in voltages.items()),
    ]
    bins, voltage_bins = sum(each.size for _, each in pairs), sum(train.size for train in voltages.values())
    mismatches = sum(int((expected != each).sum()) for expected, each in pairs)
    first = _first({"spikes": (truth.spikes, got), "voltage": (truth.voltage, voltages)})
    trace_file = None
    if first is not None and traces is not None:
        traces.mkdir(parents=True, exist_ok=True)
        file = traces / f"mismatch-{name.replace(' ', '-')}.nir-data"
        trace_file = str(save_mismatch(file, network, inputs, got, name, (first["sample"], first["step"])))
    return Comparison(name, bins, mismatches, first, seconds, trace_file=trace_file, voltage_bins=voltage_bins)


def _first(pairs: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Return the earliest difference, as the certificate shows it. pairs: signal -> (reference, back end)."""
    differences: list[dict[str, Any]] = []
    for signal, (expected, got) in pairs.items():
        if (place := first_difference(expected, got)) is not None:
            node, sample, step, neuron = place
            differences.append({
                "node": node, "sample": sample, "step": step, "neuron": neuron,
                "reference": int(expected[node][sample, step, neuron]), "here": int(got[node][sample, step, neuron]),
                **({} if signal == "spikes" else {"signal": signal}),
            })  # fmt: skip
    return min(differences, key=lambda difference: difference["step"], default=None)


def _read_by_voltage(network: Network) -> list[str]:
    """Return the populations that an output reads by their voltage."""
    return sorted({output.source for output in network.outputs.values() if output.signal == "voltage"})
