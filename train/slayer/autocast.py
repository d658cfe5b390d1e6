"""State of autocast, for torch 2.3 and later."""

import functools

import torch


@functools.lru_cache
def _takes_a_device() -> bool:
    try:
        torch.is_autocast_enabled("cpu")
    except TypeError:  # before torch 2.4
        return False
    return True


def is_on(device: str) -> bool:
    """Return whether autocast is on for "cpu" or "cuda"."""
    if _takes_a_device():
        return torch.is_autocast_enabled(device)
    return torch.is_autocast_cpu_enabled() if device == "cpu" else torch.is_autocast_enabled()
