"""A neuron that replaces lava-dl's cuba.Neuron. Importing this module imports lava-dl."""

import math
from typing import Any

import torch

from sdsnn_core.errors import NetworkError
from sdsnn_core.lava.compat import import_slayer

from ..slayer.hooks import SpikeGate
from .chunked import Chunked, run_chunked
from .kernels.neuron import Constants
from .layout import time_last, time_major
from .recurrent import Neurons, run_loop
from .synapses import Plan
from .triton import passes as triton_passes

_slayer = import_slayer()
_cuba = _slayer.neuron.cuba
_quantize = _slayer.utils.quantize
SlayerNeuron: Any = _cuba.Neuron


def is_watched(module: torch.nn.Module) -> bool:
    """Return whether backward hooks of a module need a call of the module."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


class Neuron(SlayerNeuron):  # type: ignore[misc]
    """SLAYER's CUBA neuron with fused passes: same arguments, attributes, parameters, buffers and results.

    Input and output are (batch, channels, ..., steps). The fused passes take the usual neuron: float32, binary spikes,
    decays that are not learned, no norm, at rest at the start (on a GPU any state). SLAYER's own code serves the rest.
    One difference, on purpose: with shared_param=False the decays of a convolution belong to its channels, as in
    SLAYER's CUDA kernel; SLAYER's CPU code lays them along the width, which raises unless the sizes agree.
    """

    shape: torch.Size | None
    current_state: torch.Tensor
    voltage_state: torch.Tensor
    persistent_state: bool
    norm: Any

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the spikes of every step."""
        if input.dim() < 3 or self.shape not in (None, input.shape[1:-1]):
            inner = "channels, ..." if self.shape is None else ", ".join(map(str, self.shape))
            raise NetworkError(f"neuron: expected input of shape (batch, {inner}, steps), got {tuple(input.shape)}")
        spikes = None
        if self._is_usual() and input.dtype == torch.float32 and input.numel():
            if input.is_cuda and triton_passes.usable():
                spikes = self._run_on_gpu(input)
            elif input.device.type == "cpu":
                spikes = self._run(Plan.of_currents(input), shifted=False)
        if spikes is None:
            return self._run_slayers(input)
        return spikes if self.drop is None else self.drop(spikes)

    def behind(self, plan: Plan, shifted: bool) -> torch.Tensor | None:
        """Return the spikes of a synapse's currents, which never exist all at once; a step late if `shifted`.

        None where a call of the neuron is needed, for its hooks or its options, or where only SLAYER's own passes are
        exact.
        """
        hooks = list(self._forward_hooks.values())
        if self._forward_pre_hooks or is_watched(self) or not all(isinstance(hook, SpikeGate) for hook in hooks):
            return None
        if self.shape is None or self.drop is not None or not self._is_usual():
            return None
        if plan.units is not None and not self.threshold + self.threshold_eps > 0:  # units at rest spike
            return None
        spikes = self._run(plan, shifted)
        for hook in hooks if spikes is not None else ():
            if plan.units is not None and bool(hook.gate[plan.units.indices].all()):
                continue  # it silences units that have no currents
            changed = hook(self, (None,), spikes)
            spikes = spikes if changed is None else changed
        return spikes

    def loop(self, z: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
        """Return the spikes of SLAYER's recurrent loop over z (batch, units, steps), with weights (to, from).

        None where the neuron must be called once per step, or where only SLAYER's own passes are exact.
        """
        gates = [hook.gate if isinstance(hook, SpikeGate) else None for hook in self._forward_hooks.values()]
        if len(gates) > 1 or None in gates or self._forward_pre_hooks or is_watched(self):
            return None
        if self.persistent_state is not True or self.drop is not None or self.shape is None or not self._is_usual():
            return None
        if z.device.type != "cpu" or not z.dtype == weights.dtype == torch.float32 or z.dim() != 3 or not z.numel():
            return None
        self._fit_states(z.shape[:-1])
        neurons = Neurons(self._constants(), self._decays(), gates[0] if gates else None)
        results = run_loop(time_major(z), weights, neurons, (self.current_state, self.voltage_state))
        if results is None:
            return None
        spikes, (self.current_state, self.voltage_state) = results
        return time_last(spikes)

    def _is_usual(self) -> bool:
        """Return whether the fused passes have what this neuron has."""
        options = (self.debug, self.graded_spike, self.requires_grad)
        power_of_two = self.s_scale >= 1 and math.frexp(self.s_scale)[0] == 0.5
        return self.norm is None and power_of_two and not any(option is True for option in options)

    def _run(self, plan: Plan, shifted: bool) -> torch.Tensor | None:
        """Return the spikes of a plan's currents on the CPU, or None where only SLAYER's own passes are exact."""
        if self.persistent_state is True or self.shape not in (None, torch.Size(plan.shape)):
            return None
        self._fit_states(torch.Size((plan.memory.shape[1], *plan.shape)))
        if bool(self.current_state.any()) or bool(self.voltage_state.any()):
            return None
        current, voltage = self._decays()
        if plan.units is not None:
            current, voltage = (d if d.numel() == 1 else d[plan.units.indices] for d in (current, voltage))
        chunked = Chunked(plan.sums, (current, voltage), self._constants(), shifted)
        rows = run_chunked(plan.memory, plan.weight, chunked)
        return None if rows is None else plan.unpacked(rows)

    def _run_on_gpu(self, z: torch.Tensor) -> torch.Tensor:
        self._fit_states(z.shape[:-1])
        states = (self.current_state, self.voltage_state)
        spikes, current, voltage = triton_passes.fire(z, self._decays(), states, self._constants())
        if self.persistent_state is True:
            self.current_state, self.voltage_state = current, voltage * (spikes.detach()[..., -1] <= 0)
        return spikes

    def _run_slayers(self, input: torch.Tensor) -> torch.Tensor:
        """Return the spikes by SLAYER's own passes. For decays per channel, an image's places become samples."""
        spikes: torch.Tensor
        if self.shared_param is not False or input.dim() == 3:
            spikes = super().forward(input.contiguous())  # its norms take views
            return spikes
        self._fit_states(input.shape[:-1])
        shape, places = self.shape, input.shape[:1] + input.shape[2:-1]
        names = ("current_state", "voltage_state")
        assert shape is not None
        for name in names:
            setattr(self, name, getattr(self, name).movedim(1, -1).flatten(0, -2))
        self.shape = shape[:1]
        try:
            spikes = super().forward(input.movedim(1, -2).flatten(0, -3))
        finally:
            self.shape = shape
            for name in names:
                setattr(self, name, getattr(self, name).unflatten(0, places).movedim(-1, 1))
        return spikes.reshape(*places, *spikes.shape[1:]).movedim(-2, 1)

    def _fit_states(self, size: torch.Size) -> None:
        """Let SLAYER learn the shape, draw decays and fit the states to (batch, *shape), by a run of no steps."""
        if self.shape is not None and self.current_state.shape == self.voltage_state.shape == size:
            return
        persistent, norm, device = self.persistent_state, self.norm, self.current_state.device
        self.persistent_state, self.norm = False, None  # neither takes a run of no steps
        try:
            with torch.no_grad():
                super().dynamics(torch.empty(*size, 0))
        finally:
            self.persistent_state, self.norm = persistent, norm
        self.current_state, self.voltage_state = self.current_state.to(device), self.voltage_state.to(device)

    def _decays(self) -> tuple[torch.Tensor, torch.Tensor]:
        return _quantize(self.current_decay), _quantize(self.voltage_decay)

    def _constants(self) -> Constants:
        threshold = self.threshold + self.threshold_eps
        width, height = self.tau_rho * _cuba.TAU_RHO_MULT, self.scale_rho * _cuba.SCALE_RHO_MULT
        return Constants.of(self.s_scale, threshold, width, height)
