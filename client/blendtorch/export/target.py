"""`new_folder` and `new_file`: targets that are there only once they are whole, and that overwrite nothing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError

PARTIAL = ".partial"
"""What the name of an export that is not done, or was interrupted, ends with."""


@contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Give a folder FOLDER.partial to write into, which becomes FOLDER at the end of the `with` block.

    An exception in the block removes it. What a killed process leaves keeps its name, so that it cannot be taken for a
    whole export.

    Args:
        folder: The target. It must not exist, or be an empty folder.

    Yields:
        The folder to write into; on the same file system, beside the target.

    Raises:
        ConfigError: (a ValueError) The target has something in it or is a file, or FOLDER.partial exists.
    """
    target = Path(os.path.abspath(folder))
    partial = target.with_name(target.name + PARTIAL)
    _refuse(partial, target)
    if target.is_dir() and any(target.iterdir()):
        raise ConfigError(f"{target} is not empty; nothing is overwritten: choose another folder, or remove it")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file, expected a folder that is new or empty")
    partial.mkdir(parents=True)
    try:
        yield partial
        if target.is_dir():
            target.rmdir()
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def new_file(file: str | os.PathLike) -> Iterator[Path]:
    """Give the path FILE.partial to write to, which becomes FILE at the end of the `with` block.

    Args:
        file: The target, which must not exist. Its folder is made where it is not there.

    Yields:
        The path to write to. The suffix is that of the target, for libraries that look at it: "a.partial.mp4".

    Raises:
        ConfigError: (a ValueError) The target exists, or so does FILE.partial.
    """
    target = Path(os.path.abspath(file))
    partial = target.with_name(target.stem + PARTIAL + target.suffix)
    _refuse(partial, target)
    if target.exists():
        raise ConfigError(f"{target} exists; nothing is overwritten: choose another name, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _refuse(partial: Path, target: Path) -> None:
    if partial.exists():
        raise ConfigError(
            f"{partial} is there: an export to {target.name} is running, or was interrupted. Remove it in that case."
        )
