"""Launch and load in one."""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ConfigError
from ..launch.launcher import BlenderLauncher
from .stream_loader import StreamLoader

_SOCKET = "DATA"
# What `stream` decides itself.
_INSTEAD = {
    "num_instances": "use instances=",
    "named_sockets": f"it loads from the socket {_SOCKET!r} alone. For others use BlenderLauncher and StreamLoader",
    "addresses": "it loads from the instances that it launches. For others that run already use StreamLoader(addresses)",
    "curve": "it takes the keys of its own launch. For those of another one use StreamLoader(addresses, curve=...)",
}


@contextmanager
def stream(
    scene: str | os.PathLike | None = None,
    script: str | os.PathLike | None = None,
    *,
    instances: int = 1,
    batch_size: int = 1,
    **options: Any,
) -> Iterator[StreamLoader]:
    """Launches Blender instances and loads batches of what they publish on the socket "DATA", as a context manager.

    ```
    with btt.stream(script="cube.blend.py", instances=4, batch_size=8, seed=1) as loader:
        for batch in loader:
            ...
    ```

    What an artist has set up in a scene with the BlendTorch panel needs no script: `btt.stream("scene.blend")`.

    Args:
        scene: The .blend to open; None for Blender's default scene.
        script: The Python script to run inside Blender; None runs what was set up in the scene with the BlendTorch panel.
        instances: How many Blenders to start.
        batch_size: How many samples a batch has.
        **options: Any other argument of `BlenderLauncher` or of `StreamLoader`.

    Yields:
        The loader. Its attribute `launcher` is the launcher.

    Raises:
        ConfigError: An option is of neither, or out of range.
        As entering a `BlenderLauncher`.
    """
    of_launcher = inspect.signature(BlenderLauncher).parameters
    of_loader = inspect.signature(StreamLoader).parameters
    for name in _INSTEAD.keys() & options.keys():
        raise ConfigError(f"stream has no option {name}: {_INSTEAD[name]}.")
    known = (of_launcher.keys() | of_loader.keys() | {"instances"}) - _INSTEAD.keys()
    if unknown := sorted(options.keys() - known):
        raise ConfigError(f"stream has no option {', '.join(unknown)}. Known are {', '.join(sorted(known))}.")
    launch_options = {name: value for name, value in options.items() if name in of_launcher}
    load_options = {name: value for name, value in options.items() if name in of_loader}
    launcher = BlenderLauncher(scene, script, instances, [_SOCKET], **launch_options)
    # Made before Blender starts, so that a wrong option costs no time; it connects when it is iterated over.
    StreamLoader("ipc://unused", batch_size, **load_options)
    with launcher:
        info = launcher.launch_info
        with StreamLoader(info.addresses[_SOCKET], batch_size, curve=info.curve, **load_options) as loader:
            loader.launcher = launcher
            yield loader
