"""Images of a folder, loaded for a while."""

import os
from pathlib import Path

import bpy
import numpy as np

from ...errors import RandomizeError
from .context import Context
from .place import Place

EXTENSIONS = frozenset((".bmp", ".exr", ".hdr", ".jp2", ".jpeg", ".jpg", ".png", ".tga", ".tif", ".tiff", ".webp"))
"""Of files that are taken for images, in lower case."""


def images_in(folder: str) -> list[Path]:
    """The images of a folder in order of their names, which is the same on any machine.

    Args:
        folder: `//` is the folder of the .blend.

    Raises:
        RandomizeError: It is not there, or has none.
    """
    if folder.startswith("//") and not bpy.data.filepath:
        raise RandomizeError(
            f"the folder {folder} is beside the .blend, which is not saved yet; save it or give a full path"
        )
    path = Path(bpy.path.abspath(folder))
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.is_file())
    except OSError as error:
        raise RandomizeError(f"cannot look into the folder of images {path}: {error.strerror}") from error
    found = [path / name for name in names if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS]
    if not found:
        raise RandomizeError(f"the folder {path} has no images; expected files with {', '.join(sorted(EXTENSIONS))}")
    return found


def draw_image(folder: str, rng: np.random.Generator) -> Path:
    """Draws one of the images of a folder.

    Raises:
        RandomizeError: There are none.
    """
    found = images_in(folder)
    return found[min(int(rng.random() * len(found)), len(found) - 1)]


def load(ctx: Context, path: Path) -> bpy.types.Image:
    """The image of a file: the one that the scene has of it, or one that is there until the sample is done.

    Raises:
        RandomizeError: Blender cannot read it.
    """
    for image in bpy.data.images:
        if image.source == "FILE" and image.filepath and Path(bpy.path.abspath(image.filepath)) == path:
            return image
    try:
        image = bpy.data.images.load(str(path))
    except RuntimeError as error:
        raise RandomizeError(f"cannot load the image {path}: {str(error).strip()}") from error
    place = Place.of(image)

    def remove() -> None:
        loaded = place.find()
        if loaded is not None:
            bpy.data.images.remove(loaded)

    ctx.on_restore(remove)
    if not image.size[0]:
        raise RandomizeError(f"Blender cannot read the image {path}; remove it from the folder, or convert it")
    return image
