"""Folders for sockets and shared memory that go with the process that made them, however it ends.

A folder belongs to whoever holds the lock of the file `lock` in it. The system takes the lock from a process that dies,
so folders whose lock nobody holds are leftovers; `make_folder` removes them. The file says that it is BlendTorch's, and
which boot of which machine made it: locks of other machines, where they share the folder, may not be seen here, and what
was there before this boot cannot be told from those. Both are left alone.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "blendtorch-"
_LOCK = "lock"
_MAGIC = b"BTLOCK1 "


class OwnedFolder:
    """A folder of mode 0700 that others may remove once this process is dead; made by `make_folder`.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def make_folder(parent: str | os.PathLike | None = None) -> OwnedFolder:
    """Makes a folder, after removing those of dead processes of this user.

    Args:
        parent: Where; by default the system's folder for temporary files.
    """
    parent = Path(parent or tempfile.gettempdir())
    remove_leftovers(parent)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    if fcntl is None:
        return OwnedFolder(path, None)
    lock = os.open(path / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(lock, _content())
    (path / f"{_LOCK}.new").rename(path / _LOCK)  # nobody sees it unlocked
    return OwnedFolder(path, lock)


def remove_leftovers(parent: Path) -> list[Path]:
    """Removes the folders of dead processes of this user; returns them."""
    left = find_leftovers(parent)
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return left


def find_leftovers(parent: Path) -> list[Path]:
    """The folders of dead processes of this user."""
    return [] if fcntl is None else [path for path in parent.glob(f"{_PREFIX}*") if _is_left(path)]


def _is_left(folder: Path) -> bool:
    try:
        status = os.lstat(folder)
        if status.st_uid != os.getuid() or not os.path.isdir(folder) or folder.is_symlink():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False  # no folder of ours, or one that is being made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        expected = _content()
        return stat.S_ISREG(os.fstat(lock).st_mode) and os.pread(lock, len(expected) + 1, 0) == expected
    except OSError:
        return False  # its owner lives
    finally:
        os.close(lock)


def _content() -> bytes:
    """What is in a lock made by this boot of this machine."""
    return _MAGIC + boot_id().encode() + b"\n"


def boot_id() -> str:
    """What tells this boot of this machine from all others; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
