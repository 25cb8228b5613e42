"""The index of a shard as a file beside it, so that it is opened faster the next time. It can be removed at any time."""

import json
import logging
import os
import tempfile
import zipfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RecordingError
from .description import Description
from .npy import ArrayKind, npy_header
from .shard_index import ShardIndex

log = logging.getLogger(__name__)

_VERSION = 1


def index_path(shard: Path) -> Path:
    """Where the index of a shard is kept."""
    return shard.with_name(f".{shard.name}.index.npz")


def load_index(shard: Path, stamp: tuple[int, int]) -> ShardIndex | None:
    """The index that was saved for a shard of this size and time of change; None where there is none, or a damaged one.

    Args:
        shard: The shard.
        stamp: Its size in bytes, and when it was changed last, in nanoseconds.
    """
    try:
        with np.load(index_path(shard), allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["version"] != _VERSION or about["stamp"] != list(stamp):
                return None
            return _index(file, about, stamp[0])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RecordingError) as error:
        if not isinstance(error, FileNotFoundError):
            log.info("the index of %s cannot be read (%s); it is made anew.", shard, error)
        return None


def _index(file: Any, about: dict[str, Any], size: int) -> ShardIndex:
    """The index in a file, whose numbers are checked, for who can write it can write anything."""
    offsets, sizes, kinds, keys = (file[name] for name in ("offsets", "sizes", "kinds", "keys"))
    table = [ArrayKind(dtype, tuple(shape), header_bytes) for dtype, shape, header_bytes in about["kind_table"]]
    shape = (len(keys), len(about["members"]))
    there = offsets >= 0
    sound = (
        offsets.shape == sizes.shape == kinds.shape == shape
        and (offsets.dtype, sizes.dtype, kinds.dtype) == (np.int64, np.int64, np.int32)
        and keys.ndim == 1
        and keys.dtype.kind == "S"
        and all(len(npy_header(kind.dtype, kind.shape)) == kind.header_bytes for kind in table)
        and (kinds < len(table)).all()
        and ((offsets <= size) & (sizes <= size)).all()
        and (sizes[there] >= 0).all()
        and (offsets[there] + sizes[there] <= size).all()
    )
    if not sound:
        raise RecordingError("its numbers do not fit together")
    nbytes = np.array([kind.header_bytes + kind.nbytes for kind in table] or [0], np.float64)
    if (nbytes[kinds[kinds >= 0]] != sizes[kinds >= 0]).any() or not there[kinds >= 0].all():
        raise RecordingError("its numbers do not fit together")
    return ShardIndex(
        Description.from_json(about["description"].encode()),
        keys,
        about["members"],
        offsets,
        sizes,
        kinds,
        table,
        about["end"],
        True,
        about["skipped"],
        about["problems"],
    )


def save_index(shard: Path, stamp: tuple[int, int], index: ShardIndex) -> None:
    """Leaves the index beside the shard, where that folder can be written to."""
    about = {
        "version": _VERSION,
        "stamp": list(stamp),
        "description": index.description.to_json().decode(),
        "members": index.members,
        "kind_table": [astuple(kind) for kind in index.kind_table],
        "end": index.end,
        "skipped": index.skipped,
        "problems": index.problems,
    }
    arrays = {"offsets": index.offsets, "sizes": index.sizes, "kinds": index.kinds, "keys": index.keys}
    try:
        descriptor, name = tempfile.mkstemp(dir=shard.parent, prefix=".index-")
        try:
            with open(descriptor, "wb") as file:
                np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
            os.chmod(name, os.stat(shard).st_mode & 0o666)  # who may read the shard may read this
            os.replace(name, index_path(shard))
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        log.info("the index of %s is not kept: %s", shard, error)
