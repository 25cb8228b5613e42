"""The Render Result as arrays. Blender gives its pixels to files alone, so it writes one that exists in memory only."""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ..errors import ConfigError, SceneError
from . import compat
from .exr import Exr, read_exr
from .temporary_settings import TemporarySettings

_TARGA_HEADER = 18


def set_image_settings(change: TemporarySettings, scene: bpy.types.Scene) -> None:
    """Has the scene's files be pictures for as long as `change` lasts; `save_passes` and `save_image` need it.

    To be called before rendering: Blender refuses pictures below 16 pixels while the scene's format is a video's.
    """
    image_settings = scene.render.image_settings
    change.keep(image_settings.linear_colorspace_settings)  # which each new format sets
    # The media type decides which formats there are, and the format which colours and depths.
    change.keep(image_settings, first=("media_type", "file_format", "color_mode", "color_depth"))
    _assign(image_settings, compat.multilayer_exr_settings(image_settings))


def save_passes(scene: bpy.types.Scene) -> Exr:
    """All passes of the scene's last render, scene-linear, as they are in an EXR file.

    Raises:
        ConfigError: The scene's colour configuration has no space for what is no colour.
    """
    image_settings = scene.render.image_settings
    _assign(image_settings, compat.multilayer_exr_settings(image_settings))
    if image_settings.color_management == "OVERRIDE":
        # The override has a colour space for files of floats, too. It is left an override, because Blender would
        # fill it with the scene's settings when it becomes one again.
        try:
            image_settings.linear_colorspace_settings.name = "Non-Color"
        except TypeError as error:
            raise ConfigError(
                "the output's colour management overrides the scene's, and there is no colour space 'Non-Color' that keeps "
                f"passes as they are ({error}): set scene.render.image_settings.color_management = 'FOLLOW_SCENE'."
            ) from None
    return read_exr(_save(scene))


def save_image(scene: bpy.types.Scene, channels: int) -> np.ndarray:
    """The last render's picture through the scene's view transform, or the output's where that is overridden.

    Args:
        scene: What was rendered.
        channels: 3, over black where the film is transparent, or 4, the colours then not multiplied by alpha.

    Returns:
        H x W x channels uint8, first row at the top.
    """
    image_settings = scene.render.image_settings
    _assign(image_settings, compat.targa_settings(image_settings, {3: "RGB", 4: "RGBA"}[channels]))
    return _read_targa(_save(scene), channels)


def _save(scene: bpy.types.Scene) -> memoryview:
    """Has Blender write the Render Result and returns the file's bytes.

    `Image.save_render` rather than `render(write_still=True)`: it is as fast, prints nothing, calls no `render_write`
    handler, and touches neither `filepath` nor the rules for names of files.
    """
    with _file_in_memory() as (path, read):
        bpy.data.images["Render Result"].save_render(path, scene=scene)
        data = read()
    if not len(data):
        raise SceneError(f"Blender wrote nothing to {path}, where the picture was expected.")
    return data


def _assign(image_settings: bpy.types.ImageFormatSettings, values: dict[str, object]) -> None:
    for name, value in values.items():
        setattr(image_settings, name, value)


@contextmanager
def _file_in_memory() -> Iterator[tuple[str, Callable[[], memoryview]]]:
    """A path to write to, and what reads it. Nothing is left of it; on Linux (memfd) not even after a SIGKILL."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("blendtorch frame")
        try:
            path = f"/proc/self/fd/{descriptor}"
            if os.path.exists(path):
                yield path, lambda: _mapped(descriptor)
                return
        finally:
            os.close(descriptor)
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else compat.temporary_folder()
    descriptor, path = tempfile.mkstemp(prefix="blendtorch-frame-", dir=folder)
    os.close(descriptor)
    try:
        yield path, lambda: memoryview(Path(path).read_bytes())
    finally:
        os.unlink(path)


def _mapped(descriptor: int) -> memoryview:
    size = os.fstat(descriptor).st_size
    # The map lives as long as arrays that are views of it, beyond the descriptor.
    return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)) if size else memoryview(b"")


def _read_targa(data: memoryview, channels: int) -> np.ndarray:
    """Reads an uncompressed TARGA (Truevision TGA 2.0 specification): BGR or BGRA, usually the bottom row first."""
    header = bytes(data[:_TARGA_HEADER])
    if len(header) < _TARGA_HEADER or header[1:3] != b"\x00\x02" or header[16] != 8 * channels:
        raise SceneError(
            f"Blender wrote a file that begins with {header.hex()}, expected an uncompressed TARGA of {channels} channels."
        )
    width, height = (int.from_bytes(header[at : at + 2], "little") for at in (12, 14))
    start = _TARGA_HEADER + header[0]
    if len(data) < start + height * width * channels:
        raise SceneError(f"Blender's TARGA file of {width} x {height} pixels has {len(data)} bytes only.")
    pixels = np.frombuffer(data, np.uint8, height * width * channels, start).reshape(height, width, channels)
    if not header[17] & 0x20:
        pixels = pixels[::-1]
    image = np.empty(pixels.shape, np.uint8)
    for channel, source in enumerate((2, 1, 0, 3)[:channels]):
        image[..., channel] = pixels[..., source]
    return image
