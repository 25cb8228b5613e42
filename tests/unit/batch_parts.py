"""What a trainer may hold of a batch, any of which keeps its memory from being used again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

PARTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "tensor": lambda batch: batch["image"],
    "slice": lambda batch: batch["image"][1:3, ::2],
    "transposed": lambda batch: batch["image"].transpose(1, 2),
    "other dtype": lambda batch: batch["image"].view(torch.uint8),
    "numpy": lambda batch: batch["image"].numpy()[0, 5:],
    "memoryview": lambda batch: memoryview(batch["image"].numpy()),
    "samples": lambda batch: batch["image"].unbind(0),
    "storage": lambda batch: batch["image"].untyped_storage(),
    "dlpack": lambda batch: np.from_dlpack(batch["image"]),
}


def content(part: Any) -> bytes:
    """The bytes of a part."""
    if isinstance(part, torch.UntypedStorage):
        part = torch.empty(0, dtype=torch.uint8).set_(part)
    return b"".join(np.asarray(one).tobytes() for one in (part if isinstance(part, tuple) else (part,)))
