"""The files of a recording's folder: shards, and those that are not ended yet."""

import logging
import os
import re
from pathlib import Path

from ..errors import RecordingError
from ..wire.file_lock import AVAILABLE, try_lock
from .file_io import BINARY, append
from .shard_index import scan
from .tar import END

log = logging.getLogger(__name__)

PARTIAL = ".partial"  # ends the name of a shard that is not ended
_NAME = re.compile(r"samples-(\d{2,})-(\d{5,})\.tar(?:\.partial)?")


def shard_name(worker: int, number: int) -> str:
    """The name of the shard with this number of a writer."""
    return f"samples-{worker:02d}-{number:05d}.tar"


def shards_of(folder: Path) -> list[Path]:
    """All shards of a folder, in order; those that are not ended yet, too."""
    ended = {path.name: path for path in folder.glob("*.tar")}
    partial = {path.name: path for path in folder.glob(f"*.tar{PARTIAL}")}
    # Ended between the two looks
    found = [*ended.values(), *(path for name, path in partial.items() if name.removesuffix(PARTIAL) not in ended)]
    return sorted(found, key=lambda path: path.name)


def next_number(folder: Path, worker: int) -> int:
    """The number of a writer's next shard."""
    matches = [_NAME.fullmatch(path.name) for path in folder.iterdir()]
    return max((int(match[2]) + 1 for match in matches if match and int(match[1]) == worker), default=0)


def finish_abandoned(folder: Path) -> None:
    """Ends the shards that writers have left which are dead: at the last complete sample.

    Raises:
        OSError: The folder is not to be written to.
    """
    for path in folder.glob(f"*.tar{PARTIAL}"):
        try:
            descriptor = os.open(path, os.O_RDWR | BINARY)
        except FileNotFoundError:
            continue  # ended in the meantime
        try:
            # Its writer lives, or somebody else has just ended it.
            if lock(descriptor) and is_at(path, descriptor):
                _finish(path, descriptor)
        finally:
            os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Takes a shard for this writer; false when another one has it. The system lets go of it when the writer dies."""
    return not AVAILABLE or try_lock(descriptor, 0)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _finish(path: Path, descriptor: int) -> None:
    try:
        index = scan(descriptor)
    except RecordingError:
        index = None
    if index is None or not len(index):
        log.info("%s holds no complete sample; it is removed.", path)
        os.unlink(path)
        return
    os.ftruncate(descriptor, index.end)
    append(descriptor, [END], index.end)
    os.fsync(descriptor)
    os.rename(path, path.with_name(path.name.removesuffix(PARTIAL)))
    log.info("%s was left by an interrupted recording; its %d samples are kept.", path, len(index))
