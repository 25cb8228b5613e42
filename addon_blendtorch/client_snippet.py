"""The lines of Python that receive what the panel streams. No bpy here."""

import os
from pathlib import Path

from blendtorch.launch import LaunchInfo
from blendtorch.wire.curve import CurveKeys

from .stream_address import client_address

_PLAIN = """\
from blendtorch import btt

for batch in btt.StreamLoader({address!r}, batch_size=8):
    print(batch["btindex"].tolist(), tuple(batch["image"].shape))
"""

_WITH_KEYS = """\
from blendtorch import btt

# Whoever has this file can connect: on another machine, copy it there by a safe way, and give its path there.
info = btt.LaunchInfo.load_json({file!r})
for batch in btt.StreamLoader(info.addresses["DATA"], batch_size=8, curve=info.curve):
    print(batch["btindex"].tolist(), tuple(batch["image"].shape))
"""


def snippet(address: str, launch_info: Path | None = None) -> str:
    """Python that prints of each batch which samples it holds and the shape of its pictures.

    Args:
        address: Where the stream is bound.
        launch_info: The file that tells how to reach it, where keys are needed.
    """
    if launch_info is None:
        return _PLAIN.format(address=client_address(address))
    return _WITH_KEYS.format(file=str(launch_info))


def write_launch_info(file: Path, address: str, curve: CurveKeys) -> None:
    """Writes how clients reach the stream, with their keys, to a file that only this user can read (mode 0600)."""
    info = LaunchInfo({"DATA": [client_address(address)]}, pids=[os.getpid()], curve=curve.for_clients())
    info.save_json(file)
