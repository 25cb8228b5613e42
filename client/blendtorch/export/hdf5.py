"""`export_hdf5`: a recording as HDF5 files, one a split, for who wants arrays and no library of ours.

A file, of N samples:

* key: (N,) texts, the samples' keys.
* FIELD: (N, ...), an array or a number of each sample. A chunk is a sample, so that reading one reads no other; what is
  smaller than 64 KiB shares chunks.
* FIELD, a group (attribute layout "ragged"), where arrays differ in shape: values, row_splits, shapes. Sample i has
  values[row_splits[i]:row_splits[i + 1]].reshape(shapes[i]).
* FIELD: (N,) texts, or JSON (attribute layout "json") of lists, dicts and what else is no array.
* labels/camera/ENTRY: (N, ...).
* labels/instances/COLUMN, labels/keypoints/COLUMN: (R, ...), the rows of all samples. Those of sample i are
  row_splits[i] to row_splits[i + 1].
* present/PATH: (N,) bool, whether a sample has it; there only for what some samples lack. They hold NaN, 0, "" or no rows
  in its place. None is the same as lacking: so are the intrinsics of an orthographic camera.

Attributes: of the file format, format_version, blendtorch, conventions, metadata (JSON, that of the recording); of datasets
layout ("stacked", "ragged", "rows", "text", "json"), and unit, frame and about, where they are known.
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import ConfigError
from .hdf5_file import SplitFile
from .missing import need
from .readable import Progress, readable_samples
from .splits import SPLITS, checked_fractions, split_of
from .summary import ExportSummary
from .target import new_folder

if TYPE_CHECKING:
    from ..recording import Recording

Compression = Literal["gzip", "lzf"]
_MOST_PATHS = 5  # in a sentence


def export_hdf5(
    recording: "Recording",
    folder: str | os.PathLike,
    *,
    splits: Mapping[str, float] = SPLITS,
    fields: Collection[str] | None = None,
    compression: Compression | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write a recording as HDF5 files, FOLDER/SPLIT.h5; the module's docstring tells what is in them.

    Arrays are the recording's bit for bit. Images that are encoded there are decoded.

    Args:
        recording: The recording.
        folder: Where to, new or empty.
        splits: Share of each split, which has a file of its own; see `splits.split_of`. {"all": 1.0} makes one.
        fields: Names of the fields that are wanted; None for all.
        compression: Of arrays of 4 KiB and more. None is fastest to read; with "gzip" files of renders are some four times
            smaller, and reading takes seven times as long; "lzf" is larger and not faster.
        progress: Called with how many samples are done, and how many there are.

    Returns:
        What was written and left out.

    Raises:
        ConfigError: (a ValueError) h5py is missing; an option is out of range; the folder is not empty; no sample has one
            of the fields; samples do not go into one file, because a field has another dtype or number of axes in some.
    """
    checked_fractions(splits)
    if compression is not None and compression not in get_args(Compression):
        raise ConfigError(f'compression: expected None, "gzip" or "lzf", got {compression!r}')
    if isinstance(fields, str):
        raise ConfigError(f'fields: expected several names, such as ["image", "labels"], got {fields!r}')
    h5 = need("h5py", extra="export")
    summary = ExportSummary("HDF5", Path(os.path.abspath(folder)))
    wanted = None if fields is None else set(fields)
    seen: set[str] = set()
    counts = Counter(split_of(key, splits) for key in recording.keys)
    files: dict[str, SplitFile] = {}
    with new_folder(folder) as partial:
        try:
            for key, sample in readable_samples(recording, summary, progress):
                split = split_of(key, splits)
                if split not in files:
                    path = partial / f"{split}.h5"
                    files[split] = SplitFile(h5, path, counts[split], recording.metadata, compression)
                chosen = sample if wanted is None else {name: sample[name] for name in wanted & sample.keys()}
                seen.update(chosen)
                files[split].add(key, chosen)
            if wanted is not None and wanted - seen:
                raise ConfigError(f"fields: no sample has {', '.join(sorted(wanted - seen))}")
            for file in files.values():
                file.finish()
        finally:
            for file in files.values():
                file.close()
    for split in splits:
        summary.count(f"samples in {split}", files[split].count if split in files else 0)
        if split not in files and splits[split] > 0:
            summary.problem(f"no sample fell into {split}: splits go by episodes, and need many of them.")
    summary.count("fields", len(seen))
    lacking = sorted({path for file in files.values() for path in file.lacking})
    if lacking:
        summary.problem(f"some samples lack {_some(lacking)}: present/... of the files tells which")
    ragged = sorted({path for file in files.values() for path in file.ragged})
    if ragged:
        summary.problem(f"arrays differ in shape, and so are groups of values, row_splits and shapes: {_some(ragged)}")
    return summary


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:_MOST_PATHS]) + (
        f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    )
