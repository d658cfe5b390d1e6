"""State of autocast on the CPU, for torch 2.3 and later."""

import functools

import torch


@functools.lru_cache
def _takes_a_device() -> bool:
    try:
        torch.is_autocast_enabled("cpu")
    except TypeError:  # before torch 2.4
        return False
    return True


def on_cpu() -> bool:
    """Return whether autocast is on for the CPU."""
    return torch.is_autocast_enabled("cpu") if _takes_a_device() else torch.is_autocast_cpu_enabled()
