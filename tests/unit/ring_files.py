"""What tests of rings ask the system."""

import contextlib
import os
from pathlib import Path


def open_files() -> int:
    """How often this process has a ring open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them is gone
            links.append(os.readlink(link))
    return sum("x.ring" in link or "x.real" in link for link in links)
