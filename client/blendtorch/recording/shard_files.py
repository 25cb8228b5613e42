"""The files of a recording's folder: shards, and those that are not ended yet."""

import logging
import os
import re
from pathlib import Path

from ..errors import RecordingError
from .file_io import BINARY, append, open_file
from .shard_index import is_begun, scan
from .tar import END

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

log = logging.getLogger(__name__)

_FAR = 1 << 40
PARTIAL = ".partial"  # ends the name of a shard that is not ended
_NAME = re.compile(r"samples-(\d{2,})-(\d{5,})\.tar(?:\.partial)?")


def shard_name(worker: int, number: int) -> str:
    """The name of the shard with this number of a writer."""
    return f"samples-{worker:02d}-{number:05d}.tar"


def shards_of(folder: Path) -> list[Path]:
    """All shards of a folder, in order; those that are not ended yet, too."""
    # In this order: one that is ended between the two looks is seen twice, not never.
    partial = {path.name: path for path in folder.glob(f"*.tar{PARTIAL}") if _NAME.fullmatch(path.name)}
    ended = {path.name: path for path in folder.glob("*.tar")}
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
        if not _NAME.fullmatch(path.name):
            continue  # somebody else's
        try:
            descriptor = os.open(path, os.O_RDWR | BINARY)
        except FileNotFoundError:
            continue  # ended in the meantime
        try:
            # Otherwise its writer lives, somebody else has just ended it, or nobody can tell.
            if lock(descriptor) and is_at(path, descriptor):
                _finish(path, descriptor)
        finally:
            os.close(descriptor)


def lock(descriptor: int, without_locks: bool = False) -> bool:
    """Takes a shard for this writer; the system lets go of it when the writer dies.

    Args:
        descriptor: The shard.
        without_locks: What to return where the file system has no locks.

    Returns:
        Whether nobody else has it.
    """
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _FAR, os.SEEK_SET)  # locked bytes cannot be read there
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except (BlockingIOError, PermissionError):  # somebody else has it
        return False
    except OSError:  # ENOLCK, ENOSYS, ENOTSUP: some network file systems have none
        return without_locks
    return True


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def has_begun(path: Path) -> bool:
    """Whether there is more in a shard than its writer writes before the first sample."""
    try:
        descriptor = open_file(path)
    except OSError:
        return True  # the error says more
    try:
        return is_begun(descriptor)
    finally:
        os.close(descriptor)


def _finish(path: Path, descriptor: int) -> None:
    if not is_begun(descriptor):
        log.info("%s holds no sample; it is removed.", path)
        os.unlink(path)
        return
    try:
        index = scan(descriptor)
    except RecordingError as error:
        log.warning("%s %s; it is left as it is.", path, error)
        return
    ended = path.with_name(path.name.removesuffix(PARTIAL))
    if index.damaged or ended.exists():
        log.warning("%s is damaged: %s; it is left as it is.", path, "; ".join(index.problems))
        return
    os.ftruncate(descriptor, index.end)
    if not is_begun(descriptor):
        log.info("%s holds no complete sample; it is removed.", path)
        os.unlink(path)
        return
    append(descriptor, [END], index.end)
    os.fsync(descriptor)
    os.rename(path, ended)
    log.info("%s was left by an interrupted recording; its %d samples are kept.", path, len(index))
