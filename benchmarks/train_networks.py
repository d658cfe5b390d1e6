"""The candidates of benchmarks/train.py: one network, built of each library's own layers and neurons."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

CANDIDATES = ("slayer", "fused", "developing", "spikingjelly", "snntorch")
STEPS, CHANNELS, HIDDEN, CLASSES = 50, (16, 32), 256, 10
CURRENT_DECAY, VOLTAGE_DECAY, THRESHOLD = 0.25, 0.03, 1.25


def build_slayer(kind: str, device: str) -> tuple[Any, Callable[[], None]]:
    """Return SLAYER's network, stock, fused, or fused with masks that develop, and what follows a step."""
    import torch

    from sdsnn.train.fused import fuse  # sets torch's memory up before it allocates
    from sdsnn_core.lava.compat import import_slayer

    cuba = import_slayer().block.cuba
    neuron = {
        "threshold": THRESHOLD,
        "current_decay": CURRENT_DECAY,
        "voltage_decay": VOLTAGE_DECAY,
        "tau_grad": 0.03,
        "scale_grad": 3,
    }
    more = {"weight_scale": 3, "weight_norm": True}
    model = torch.nn.Sequential(
        cuba.Conv(dict(neuron), 2, CHANNELS[0], 3, padding=1, **more),
        cuba.Pool(dict(neuron), 2, weight_scale=1.4),
        cuba.Conv(dict(neuron), CHANNELS[0], CHANNELS[1], 3, padding=1, **more),
        cuba.Pool(dict(neuron), 2, weight_scale=1.4),
        cuba.Flatten(),
        cuba.Dense(dict(neuron), CHANNELS[1] * 81, HIDDEN, **more),
        cuba.Dense(dict(neuron), HIDDEN, CLASSES, **more),
    ).to(device)
    after: Callable[[], None] = lambda: None  # noqa: E731
    if kind != "slayer":
        fuse(model)
    if kind == "developing":
        from sdsnn.train.development.developer import Developer
        from sdsnn_core.development import DevelopmentConfig

        sample = torch.zeros(1, 2, 34, 34, 1, device=device)
        after = Developer(model, sample, 10, DevelopmentConfig()).step
    return model, after


def build_other(kind: str) -> Any:
    """Return the network of spikingjelly or snnTorch: input (batch, 2, 34, 34, steps), output (batch, 10, steps).

    Both run a synaptic current and a membrane per neuron, reset to zero, and loop over steps in Python, as their
    documentation does; layers without state take all steps at once where the library has a way to.
    """
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv, dense = torch.nn.Conv2d, torch.nn.Linear
            layers: list[Any] = [conv(2, CHANNELS[0], 3, padding=1, bias=False), None, torch.nn.AvgPool2d(2), None]
            layers += [conv(*CHANNELS, 3, padding=1, bias=False), None, torch.nn.AvgPool2d(2), None]
            layers += [torch.nn.Flatten(), dense(CHANNELS[1] * 64, HIDDEN, bias=False), None]
            layers += [dense(HIDDEN, CLASSES, bias=False), None]
            self.layers = torch.nn.ModuleList([self.neuron() if layer is None else layer for layer in layers])

        def neuron(self) -> Any:
            if kind == "snntorch":
                import snntorch

                return snntorch.Synaptic(
                    1 - CURRENT_DECAY, 1 - VOLTAGE_DECAY, THRESHOLD, init_hidden=True, reset_mechanism="zero"
                )
            from spikingjelly.activation_based import neuron, surrogate

            cuba = neuron.CUBALIFNode(
                1 - CURRENT_DECAY, 1 - VOLTAGE_DECAY, THRESHOLD, 0.0, surrogate_function=surrogate.Sigmoid()
            )
            cuba.step_mode = "m"
            return cuba

        def forward(self, x: Any) -> Any:
            return self.by_step(x) if kind == "snntorch" else self.by_layer(x)

        def by_layer(self, x: Any) -> Any:
            from spikingjelly.activation_based import functional

            functional.reset_net(self)
            x = x.movedim(-1, 0).contiguous()
            for layer in self.layers:
                x = layer(x) if hasattr(layer, "step_mode") else functional.seq_to_ann_forward(x, layer)
            return x.movedim(0, -1)

        def by_step(self, x: Any) -> Any:
            for layer in self.layers:
                if hasattr(layer, "reset_mem"):
                    layer.reset_mem()
            outputs = []
            for step in x.movedim(-1, 0).contiguous():
                for layer in self.layers:
                    step = layer(step)
                outputs.append(step)
            return torch.stack(outputs, -1)

    return Network()


def measure(kind: str, steps: int, batch: int, threads: int, device: str) -> dict[str, Any]:
    """Train `steps` timed steps after one that is not; return their wall and CPU seconds, losses and peak memory."""
    warnings.simplefilter("ignore")
    ours = kind in ("slayer", "fused", "developing")
    import torch

    import sdsnn.train  # noqa: F401

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, after = build_slayer(kind, device) if ours else (build_other(kind).to(device), lambda: None)
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(batch, 2, 34, 34, STEPS, generator=generator) < 0.03).float().to(device)
    labels = torch.randint(0, CLASSES, (batch,), generator=generator).to(device)
    if ours:
        with torch.no_grad():
            model(x[:1, ..., :1])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    wall, cpu, losses = [], [], []
    for _ in range(steps + 1):
        started, used = time.perf_counter(), time.process_time()
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x).sum(-1), labels)
        loss.backward()
        optimiser.step()
        after()
        losses.append(float(loss.detach()))
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"wall_s": wall[1:], "cpu_s": cpu[1:], "losses": losses, "peak_mib": peak}
