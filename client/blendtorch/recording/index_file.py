"""The index of a shard as a file beside it, so that it is opened faster the next time. It can be removed at any time."""

import json
import logging
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RecordingError
from .description import Description
from .file_io import open_file
from .npy import MAX_HEADER, ArrayKind, header_of, npy_header, parse_npy_header
from .shard_index import JSON, KEY, ShardIndex, is_member

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
        arrays = _arrays(index_path(shard))
        about = json.loads(arrays["about"].tobytes())
        if about["version"] != _VERSION or about["stamp"] != list(stamp):
            return None
        return _index(arrays, about, stamp[0])
    # What damaged zip files lead to is not listed anywhere.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        known = f"{type(error).__name__}: {str(error)[:200]}"
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
        known = f"{type(error).__name__}: {str(error)[:200]}"
    if index_path(shard).exists():
        log.info("the index of %s cannot be read (%s); it is made anew.", shard, known)
    return None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz whose members are stored as they are: it takes no more memory than the file."""
    arrays = {}
    with open(open_file(path), "rb") as stream, zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        size = os.fstat(stream.fileno()).st_size
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("compressed")
        if sum(member.file_size for member in members) > size:
            raise ValueError("members are larger than the file")
        for member in members:
            content = archive.read(member)
            header = header_of(content[:MAX_HEADER])
            kind = parse_npy_header(header)
            if kind.header_bytes + kind.nbytes != len(content):
                raise ValueError("an array is larger than its member")
            array = np.frombuffer(content, kind.numpy_dtype, offset=kind.header_bytes)
            arrays[member.filename.removesuffix(".npy")] = array.reshape(kind.shape)
    return arrays


def _index(arrays: Mapping[str, np.ndarray], about: dict[str, Any], size: int) -> ShardIndex:
    """The index in a file, of which nothing is believed: who can write it can write anything."""
    offsets, sizes, kinds, keys = (arrays[name] for name in ("offsets", "sizes", "kinds", "keys"))
    members, table = about["members"], [_kind(*values) for values in about["kind_table"]]
    sound = (
        type(members) is list
        and all(type(member) is str and is_member(member) for member in members)
        and len(set(members)) == len(members)
        and (JSON in members or not len(keys))
        and type(about["skipped"]) is int
        and type(about["end"]) is int
        and type(about["problems"]) is list
        and all(type(problem) is str for problem in about["problems"])
        and about["skipped"] >= 0
        and keys.ndim == 2
        and keys.dtype == np.uint8
        and offsets.shape == sizes.shape == kinds.shape == (len(keys), len(members))
        and (offsets.dtype, sizes.dtype, kinds.dtype) == (np.int64, np.int64, np.int32)
    )
    if not sound:
        raise RecordingError("its parts do not fit together")
    there = offsets >= 0
    is_npy = np.array([member.endswith(".npy") for member in members], bool)
    nbytes = np.array([kind.header_bytes + kind.nbytes for kind in table] + [0], np.int64)
    names = keys.view(f"S{max(keys.shape[1], 1)}").reshape(-1) if keys.size else np.zeros(0, "S1")
    sound = (
        ((offsets <= size) & (sizes <= size)).all()
        and (sizes[there] >= 0).all()
        and (offsets[there] + sizes[there] <= size).all()
        and (kinds < len(table)).all()
        and ((kinds >= 0) == (there & is_npy)).all()
        and (nbytes[kinds[kinds >= 0]] == sizes[kinds >= 0]).all()
        and (not len(keys) or there[:, members.index(JSON)].all())
        and len(names) == len(keys)
        and len(np.unique(names)) == len(names)
        and all(KEY.fullmatch(name.decode("latin1")) for name in names.tolist())
    )
    if not sound:
        raise RecordingError("its numbers do not fit together")
    return ShardIndex(
        Description.from_json(about["description"].encode()),
        names,
        members,
        offsets,
        sizes,
        kinds,
        table,
        about["end"],
        True,
        about["skipped"],
        False,
        about["problems"],
    )


def _kind(dtype: Any, shape: Any, header_bytes: Any) -> ArrayKind:
    if type(dtype) is not str or type(shape) is not list or any(type(n) is not int for n in shape):
        raise RecordingError("a kind of array is none")
    header = npy_header(dtype, tuple(shape))
    if type(header_bytes) is not int or not len(header) <= header_bytes <= MAX_HEADER:
        raise RecordingError("a kind of array is none")
    return replace(parse_npy_header(header), header_bytes=header_bytes)


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
    keys = np.ascontiguousarray(index.keys).view(np.uint8).reshape(len(index.keys), -1 if len(index.keys) else 0)
    arrays = {"offsets": index.offsets, "sizes": index.sizes, "kinds": index.kinds, "keys": keys}
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
