"""A neuron that takes the place of lava-dl's cuba.Neuron. Importing this module imports lava-dl."""

from __future__ import annotations

import math
from typing import Any

import torch

from sdsnn_core.errors import NetworkError
from sdsnn_core.lava.compat import import_slayer

from ..slayer.hooks import SpikeGate
from .functions import Constants, fire, integrate, shift
from .layout import layout_of, steps_first, steps_last
from .recurrent import Loop, finish
from .synapses import Plan
from .through import through
from .triton import passes as triton_passes

_slayer = import_slayer()
SlayerNeuron: Any = _slayer.neuron.cuba.Neuron
_cuba = _slayer.neuron.cuba
_quantize = _slayer.utils.quantize


def is_watched(module: torch.nn.Module) -> bool:
    """Return whether somebody wants to see the gradients that pass a module, which takes a call of the module."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


class Neuron(SlayerNeuron):  # type: ignore[misc]
    """SLAYER's CUBA neuron with fused passes: same arguments, attributes, parameters, buffers and results.

    Input and output are (batch, channels, ..., steps) float32. Other dtypes, other devices and `debug` take SLAYER's
    own path. One difference, on purpose: with shared_param=False the decays of a convolution belong to its channels,
    as in SLAYER's CUDA kernel; SLAYER's CPU code lays them along the width, which raises unless the sizes agree.
    """

    shape: torch.Size | None
    current_state: torch.Tensor
    voltage_state: torch.Tensor

    def dynamics(self, input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return current and voltage after every step, voltage before reset. Both carry gradients."""
        if not self._can_fuse(input):
            current, voltage = super().dynamics(input)
            return current, voltage
        self._prepare(input)
        current = integrate(input, _quantize(self.current_decay), self.current_state, Constants(self.s_scale, None))
        if self.norm is not None:
            current = self.norm(current.contiguous())  # SLAYER's norms take views
        voltage = integrate(
            current, _quantize(self.voltage_decay), self.voltage_state,
            Constants(self.s_scale, self.threshold + self.threshold_eps),
        )  # fmt: skip
        if self.persistent_state is True:
            self.current_state = current[..., -1].detach().clone()
            self.voltage_state = voltage[..., -1].detach().clone()
        return current, voltage

    def forward(self, input: torch.Tensor, late: bool = False) -> torch.Tensor:
        """Return the spikes of every step; a step late, with none in the first, if `late` (see can_be_late)."""
        if not self._can_fuse(input):
            spikes: torch.Tensor = super().forward(input)
            return shift(spikes) if late else spikes
        self._prepare(input)
        constants = self._constants()
        current_decay = _quantize(self.current_decay)
        if self.norm is not None:
            constants_i = Constants(self.s_scale, None)
            current = integrate(input, current_decay, self.current_state, constants_i)
            input = self.norm(current.contiguous())  # SLAYER's norms take views
            current_decay = None
        spikes, last_i, last_v = fire(
            input, current_decay, _quantize(self.voltage_decay), self.current_state, self.voltage_state, constants,
            torch.is_grad_enabled(), late,
        )  # fmt: skip
        if self.persistent_state is True:
            self.current_state = last_i
            self.voltage_state = last_v * (spikes.detach()[..., -1] <= 0)
        if self.drop is not None:
            spikes = self.drop(spikes)
        return spikes

    def behind(self, plan: Plan) -> torch.Tensor | None:
        """Return what forward(late=True) makes of a synapse's sums, without making them all at once.

        None where that is not the same, or has to be asked of the sums; then nothing has changed but what every call
        of `forward` does before it starts.
        """
        if self.shape is None or self.graded_spike is True or self.requires_grad is True or self._forward_pre_hooks:
            return None
        if is_watched(self):
            return None
        memory = plan.memory
        like = memory.new_empty(1).expand(memory.shape[1], *self.shape, memory.shape[0])
        if not self._can_be_late() or not self._can_fuse(like):
            return None
        self._prepare(like)
        if bool(self.current_state.any()) or bool(self.voltage_state.any()):
            return None
        decays = (_quantize(self.current_decay), _quantize(self.voltage_decay))
        rows = through(memory, plan.weight, plan.sums, decays, self._constants())
        if rows is None:
            return None
        spikes = steps_last(plan.shaped(rows, memory.shape[0]))
        if spikes.shape[1:-1] != self.shape:
            return None
        for hook in self._forward_hooks.values():
            changed = hook(self, (None,), spikes)
            spikes = spikes if changed is None else changed
        return spikes

    def loop(self, z: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
        """Return what SLAYER's recurrent loop makes of z (batch, units, steps), with weights (to, from).

        None where that is not the same, or has to be asked of a call per step; then nothing has changed but what every
        call of `forward` does before it starts.
        """
        gates = [hook.gate if isinstance(hook, SpikeGate) else None for hook in self._forward_hooks.values()]
        usual = self.drop is None and self.norm is None and self.graded_spike is False and self.requires_grad is False
        if not usual or len(gates) > 1 or None in gates or self.persistent_state is not True:
            return None
        if self._forward_pre_hooks or is_watched(self):
            return None
        if z.device.type != "cpu" or weights.dtype != torch.float32 or z.dim() != 3 or not self._can_fuse(z):
            return None
        if not z.numel() or self.shape is None:
            return None
        self._prepare(z)
        memory = steps_first(z)
        states = (self.current_state, self.voltage_state)
        learn = torch.is_grad_enabled() and (z.requires_grad or weights.requires_grad)
        decays = (_quantize(self.current_decay), _quantize(self.voltage_decay))
        loop = Loop(self._constants(), decays, gates[0] if gates else None)
        last = loop.run(memory.detach(), weights.detach(), states, learn)
        if last is None:
            return None
        self.current_state, self.voltage_state = last
        spikes = finish(memory, weights, loop) if learn else loop.spikes
        assert spikes is not None
        return steps_last(spikes)

    def can_be_late(self, input: torch.Tensor) -> bool:
        """Return whether `late` can be asked for: the same as shifting what a call without it returns.

        Not where somebody keeps or looks at the spikes of the last step. A `SpikeGate` does the same at each
        step and may therefore see the shifted spikes.
        """
        if not self._can_be_late() or not self._can_fuse(input):
            return False
        layout = layout_of(input)
        return layout is not None and layout.by_step

    def _can_be_late(self) -> bool:
        if self.persistent_state is True or self.drop is not None or self.norm is not None:
            return False
        return all(isinstance(hook, SpikeGate) for hook in self._forward_hooks.values())

    def _constants(self) -> Constants:
        return Constants(
            scale=self.s_scale,
            threshold=self.threshold + self.threshold_eps,
            width=self.tau_rho * _cuba.TAU_RHO_MULT,
            height=self.scale_rho * _cuba.SCALE_RHO_MULT,
            graded=self.graded_spike is True,
        )

    def _can_fuse(self, input: torch.Tensor) -> bool:
        """Return whether the fused passes take this input."""
        if input.dtype != torch.float32 or self.debug is True:
            return False
        return input.device.type == "cpu" or (input.is_cuda and triton_passes.usable())

    def _prepare(self, input: torch.Tensor) -> None:
        """Do what SLAYER does before its dynamics: learn the shape, draw the decays, fit the states, clamp."""
        shape = input.shape[1:-1]
        if self.shape is None:
            if not shape:
                raise NetworkError(
                    f"neuron: got input of shape {tuple(input.shape)}, not (batch, channels, ..., steps)"
                )
            self.shape = shape
            self.num_neurons = math.prod(shape)
            if self.shared_param is False:
                self._draw_decays(shape[0])
        elif self.shape != shape:
            allowed = ("batch", *self.shape, "steps")
            raise NetworkError(f"neuron: got input of shape {tuple(input.shape)}, its shape is {allowed}")
        size = input.shape[:-1]
        if self.current_state.shape != size:
            same_batch = self.current_state.shape[0] == size[0]
            for name in ("current_state", "voltage_state"):
                state = getattr(self, name)
                setattr(self, name, state * state.new_ones(size) if same_batch else state.new_zeros(size))
        if self.requires_grad is True:
            self.clamp()

    def _draw_decays(self, channels: int) -> None:
        """Draw a decay per channel, in SLAYER's order: its seeds give its values."""
        for name in ("current_decay", "voltage_decay"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            drawn = low + (high - low) * torch.rand(channels, dtype=torch.float32).to(self.device)
            getattr(self, name).data = self.p_scale * drawn
            delattr(self, f"{name}_min")
            delattr(self, f"{name}_max")
