"""Where tensors go."""

from typing import Any

import torch

from ..errors import ConfigError


def wants_pinning(device: torch.device | None, pin_memory: bool | None) -> bool:
    """Whether batches lie in page-locked memory; by default where they go to a CUDA device.

    Raises:
        ConfigError: They are to, and there is no CUDA.
    """
    pins = device is not None and device.type == "cuda" if pin_memory is None else pin_memory
    if pins and not torch.cuda.is_available():
        what = "pin_memory=True" if device is None else f"device={str(device)!r}"
        raise ConfigError(f"{what} needs CUDA, and torch finds none. Leave it out.")
    return pins


def to_device(batch: Any, device: torch.device) -> Any:
    """Moves the tensors of a batch, or what a transform has made of it, to a device."""
    if isinstance(batch, torch.Tensor):
        there = batch.to(device, non_blocking=True)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        return there
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)  # a named tuple
    return batch
