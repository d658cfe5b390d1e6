"""Network -> Lava processes, for the fixed-point models on CPU. Runs only where Lava is imported: see `run.py`.

One process per population and projection. Lava's own models do the arithmetic; thin subclasses start every sample
from the initial state (u = 0, v = v0, nothing under way in the synapses) and record what the neurons emit:

    populations  see `neurons.py`
    Synapses     Dense or Sparse, with delays DelayDense or DelaySparse
    Convolution  Conv; with a delay, or sums beyond 24 bits, the synapses it stands for

The sign mode is always MIXED, with 9 weight bits where a weight is odd and 8 where all are even: what the models
derive by themselves clips and truncates matrices of one sign (lava.utils.weightutils).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.network import (
    MESSAGE_MAX,
    Convolution,
    CubaLif,
    Input,
    Network,
    Population,
    Projection,
    RefractoryLif,
    Synapses,
)
from sdsnn_core.neurons.resets import depths
from sdsnn_core.rules import Rules

from .neurons import NEURONS, STATES, process, sampled

Storage = Literal["auto", "dense", "sparse"]

MESSAGE_BITS: Final = 8  # of graded input; 0 means binary
WIDE_BITS: Final = 24  # of messages; the models ask only whether it is more than 0
SPARSE_ENTRIES: Final = 2**22  # below, Dense is as fast or faster at every density (measured with lava-nc 0.10.0)
CONV_LIMIT: Final = 2**23  # lava.proc.conv wraps its sums to 24 bits, the synapses of a Network do not


@lru_cache(maxsize=1)
def restarting_models() -> dict[type, type]:
    """Return {Lava process: our subclass of its fixed-point model}."""
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
    from lava.proc.conv.models import PyConvModelFixed
    from lava.proc.conv.process import Conv
    from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
    from lava.proc.sparse.process import DelaySparse, Sparse

    def restarted(model: type, buffer: str) -> type:
        class Restarted(model):  # type: ignore[misc]
            """A connection model of Lava whose messages under way are dropped between samples."""

            def run_spk(self) -> None:
                if (int(self.time_step) - 1) % RESTART["n_steps"] == 0 and getattr(self, buffer) is not None:
                    getattr(self, buffer)[...] = 0
                super().run_spk()

        return Restarted

    def remembering(model: type) -> type:
        class Remembering(model):  # type: ignore[misc]
            """Lava's delay model rebuilds its (delays * n_post, n_pre) matrix in every step; weights are constant."""

            def get_delay_wgts_mat(self, weights: Any, delays: Any, max_delay: int) -> Any:
                # The first call of a step comes after the weights were clipped and truncated once.
                if not hasattr(self, "_split"):
                    self._split = model.get_delay_wgts_mat(weights, delays, max_delay)  # type: ignore[attr-defined]
                return self._split

        return Remembering

    models = {
        **{process(name): sampled(name) for name in STATES},
        Dense: restarted(PyDenseModelBitAcc, "a_buff"),
        Sparse: restarted(PySparseModelBitAcc, "a_buff"),
        DelayDense: restarted(remembering(PyDelayDenseModelBitAcc), "a_buff"),
        DelaySparse: restarted(remembering(PyDelaySparseModelBitAcc), "a_buff"),
        Conv: restarted(PyConvModelFixed, "a_buf"),
    }
    fixed = tag("fixed_pt")
    return {p: implements(proc=p, protocol=LoihiProtocol)(requires(CPU)(fixed(m))) for p, m in models.items()}


# Conv takes no extra parameters, so the length of a sample reaches the models that Lava forks through the module.
RESTART: Final[dict[str, int]] = {"n_steps": 1}


PROCESSES: Rules[Callable[[Network, Any, Storage], str]] = Rules("Lava: process of a projection")


def process_kind(network: Network, name: str, storage: Storage = "auto") -> str:
    """Return which Lava process projection `name` becomes: 'Dense', 'Sparse', 'DelayDense', 'DelaySparse' or 'Conv'."""
    projection = network.projections[name]
    return PROCESSES.for_(projection)(network, projection, storage)


def _largest_event(network: Network, name: str) -> int:
    node = network.nodes[name]
    if isinstance(node, Input):
        return max(node.max_value, -node.min_value)
    return MESSAGE_MAX if isinstance(node, Population) and node.graded else 1


@PROCESSES.of(Convolution)
def _convolution_kind(network: Network, projection: Convolution, storage: Storage) -> str:
    if projection.delay.any():
        return "DelaySparse"
    kernel = projection.kernel.astype(np.int64)
    reach = int(np.abs(kernel).sum(axis=(1, 2, 3)).max()) * _largest_event(network, projection.source)
    return "Conv" if reach << projection.weight_exp < CONV_LIMIT else "Sparse"


@PROCESSES.of(Synapses)
def _synapses_kind(network: Network, projection: Synapses, storage: Storage) -> str:
    entries = network.size_of(projection.source) * network.size_of(projection.target)
    dense = storage == "dense" or (
        storage == "auto" and (entries <= SPARSE_ENTRIES or projection.n_weights * 10 > entries)
    )
    return f"{'Delay' if projection.delay.any() else ''}{'Dense' if dense else 'Sparse'}"


def build(
    network: Network,
    inputs: Mapping[str, npt.NDArray[np.uint8]],
    record: Mapping[str, Mapping[str, Path]],
    storage: Storage = "auto",
    resets: tuple[int, int] = (0, 0),
) -> Any:
    """Make and connect the processes that run all samples one after the other, each from the initial state.

    inputs: name -> (n_samples, n_steps, size). record: population -> {"spikes" | "current" | "voltage": .npy file of
    shape (n_samples, n_steps, size)}, written while it runs. Returns one process, for `run_steps`.
    """
    from lava.proc.io.source import RingBuffer

    n_steps = next(iter(inputs.values())).shape[1]
    RESTART["n_steps"] = n_steps
    processes: dict[str, Any] = {}
    depth = depths(network)
    for name, train in inputs.items():
        if any(True for _ in network.outgoing(name)):
            processes[name] = RingBuffer(data=train.reshape(-1, train.shape[-1]).T.astype(np.int32))
    for name, population in network.populations.items():
        processes[name] = NEURONS.for_(population)(population)
        phase = (resets[1] + depth[name]) % max(1, resets[0])
        add_parameters(processes[name], population, n_steps, record[name], (resets[0], phase))
    connect(network, processes, storage)
    return processes[next(iter(network.populations))]


def run_steps(process: Any, n_steps: int) -> None:
    """Run all that is connected to `process`, on the fixed-point models, and stop it."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=restarting_models())
    try:
        process.run(condition=RunSteps(num_steps=n_steps), run_cfg=config)
    finally:
        process.stop()


def add_parameters(
    neurons: Any, population: Population, n_steps: int, record: Mapping[str, Path], resets: tuple[int, int] = (0, 0)
) -> None:
    """Give a process of neurons what `neurons.sampled` needs; images of netx are (W, H, C)."""
    parameters = neurons.proc_params
    parameters["restarts"] = resets
    parameters["n_steps"] = n_steps
    parameters["record"] = {kind: str(path) for kind, path in record.items()}
    if isinstance(population, CubaLif | RefractoryLif):
        start = population.per_neuron("initial_voltage").astype(np.int32)
        parameters["start"] = start.reshape(tuple(neurons.v.shape)[::-1]).T


def connect(network: Network, processes: dict[str, Any], storage: Storage = "auto") -> None:
    """Add the processes of all projections, and join parts without a path between them."""
    for name, projection in network.projections.items():
        processes[name] = _connect(network, projection, process_kind(network, name, storage), processes)
    _join(network, processes)


def _connect(network: Network, projection: Projection, kind: str, processes: Mapping[str, Any]) -> Any:
    """Make the process of a projection between two others; neurons are vectors in the C order of their shape."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.sparse.process import DelaySparse, Sparse
    from lava.utils.weightutils import SignMode

    shape_in = network.shape_of(projection.source)
    largest = _largest_event(network, projection.source)
    bits = 0 if largest == 1 else MESSAGE_BITS if largest < 2**MESSAGE_BITS else WIDE_BITS
    s_out, a_in = processes[projection.source].s_out, _dendrite(processes[projection.target], projection)
    if kind == "Conv":
        assert isinstance(projection, Convolution)
        # Lava's images are (W, H, C), its kernels (C_out, kw, kh, C_in) and flipped: it convolves, torch correlates.
        kernel = projection.kernel[:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(np.int32)
        window = {key: getattr(projection, key)[::-1] for key in ("padding", "stride", "dilation")}
        conv = Conv(
            weight=kernel << projection.weight_exp,  # the model ignores weight_exp
            input_shape=shape_in[::-1],
            groups=projection.groups,
            num_message_bits=bits,
            **window,
        )
        s_out.reshape(shape_in).transpose([2, 1, 0]).connect(conv.s_in)
        conv.a_out.transpose([2, 1, 0]).flatten().connect(a_in)
        return conv
    synapses = projection.synapses(shape_in)
    shape = (network.size_of(projection.target), network.size_of(projection.source))
    where = (synapses.post, synapses.pre)
    weights: Any = sparse.csr_matrix((synapses.weight.astype(np.int32), where), shape=shape)
    delays: Any = sparse.csr_matrix((np.broadcast_to(synapses.delay, synapses.weight.shape).astype(int), where), shape)
    if kind.endswith("Dense"):
        weights, delays = weights.toarray(), delays.toarray()
    makers = {"Dense": Dense, "Sparse": Sparse, "DelayDense": DelayDense, "DelaySparse": DelaySparse}
    process = makers[kind](
        weights=weights,
        weight_exp=synapses.weight_exp,
        sign_mode=SignMode.MIXED,
        num_weight_bits=9 if (synapses.weight & 1).any() else 8,
        num_message_bits=bits,
        **({"delays": delays} if kind.startswith("Delay") else {}),
    )
    s_out.connect(process.s_in)
    process.a_out.connect(a_in)
    return process


def _dendrite(neurons: Any, projection: Projection) -> Any:
    """Return the port of a process of neurons at which a projection arrives."""
    if not hasattr(neurons, "a_real_in"):
        return neurons.a_in
    return neurons.a_imag_in if projection.imaginary else neurons.a_real_in


def _join(network: Network, processes: dict[str, Any]) -> None:
    """Connect parts of the network that have no path between them: Lava runs only what is connected.

    The connections carry no synapse, so they change nothing.
    """
    from lava.proc.sparse.process import Sparse

    part = {name: name for name in (*network.inputs, *network.populations) if name in processes}

    def root(name: str) -> str:
        while part[name] != name:
            name = part[name]
        return name

    for projection in network.projections.values():
        part[root(projection.source)] = root(projection.target)
    main = next(iter(network.populations))
    for name in network.populations:
        if root(name) != root(main):
            part[root(name)] = root(main)
            shape = (network.size_of(name), network.size_of(main))
            link = Sparse(weights=sparse.csr_matrix(shape, dtype=np.int32))
            processes[main].s_out.connect(link.s_in)
            link.a_out.connect(getattr(processes[name], "a_in", None) or processes[name].a_real_in)
            processes[f"{main} nowhere {name}"] = link
