"""How fast are recordings written, replayed and opened, compared with the disk, a copy, WebDataset and HDF5?

Samples are 640 x 480 RGBA uint8 and depth float32, stored as they are: 2.46 MB. Compared are

- `write`, a `RecordingWriter` that waits for the disk at the end, with `dd`: `dd if=/dev/zero bs=1M conv=fsync` of as
  many bytes into the same folder;
- `stream-recorded`, what arrives in batches of 8 from a Blender that publishes 40 samples a second, while it is
  recorded, with `stream`, while it is not; `fast` and `fast-recorded` are the same from a Blender that publishes as
  fast as it can;
- `replay`, a shuffled `ReplayLoader` with batches of 8, with `copy`: one thread copies samples in random order from
  memory into the rows of batch buffers. The recording is larger than the processor's cache, and in the page cache;
- `webdataset`, the library, reading the same shards in order into batches of 8 of numpy arrays; `h5py` reading the
  same arrays in random order from an HDF5 file, one sample a chunk;
- `open`, opening a recording of 100,000 small samples, with `open-first`, doing so for the first time.

Every round measures all rows one after the other, every other round backwards. Ratios are the medians of the rounds'
ratios.
"""

import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import torch
import webdataset
from report import parser, row_of_rounds, show

from blendtorch import btt

BATCH_SIZE = 8
IMAGE, DEPTH = (480, 640, 4), (480, 640)
SAMPLE_BYTES = 480 * 640 * 8
RATE = 40
SCRIPT = Path(__file__).parent / "record.blend.py"
MB = 1e6

Values = dict[str, float]


def main() -> None:
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--folder", type=Path, help="where to record to (default: a temporary folder)")
    args = made.parse_args()
    torch.set_num_threads(1)
    samples = 120 if args.quick else 320
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="blendtorch-record-") as name:
        folder = Path(name)
        source = _samples(2)  # what a renderer has just drawn is in the processor's cache, too
        writes = _rounds(3 if args.quick else 9, _writing(folder, source, samples))
        replays = _rounds(3 if args.quick else 9, _reading(folder, source, samples))
        streams = _rounds(2 if args.quick else 5, _streams(folder, args.blender, 80 if args.quick else 200))
        opens = [_opening(folder / "small", 20_000 if args.quick else 100_000)]
    rows = [
        row_of_rounds(writes, "dd", "MB/s", "dd", "the disk"),
        row_of_rounds(writes, "write", "MB/s", "dd", "the disk; a copy into the page cache"),
        row_of_rounds(streams, "stream", "samples/s", "stream", f"Blender, which publishes {RATE}"),
        row_of_rounds(streams, "stream-recorded", "samples/s", "stream", "as stream"),
        row_of_rounds(streams, "fast", "samples/s", "fast", "the copy into batches"),
        row_of_rounds(streams, "fast-recorded", "samples/s", "fast", "the copy into the page cache, and the disk"),
        row_of_rounds(replays, "copy", "samples/s", "copy", "memory"),
        row_of_rounds(replays, "replay", "samples/s", "copy", "the copy from the page cache"),
        row_of_rounds(replays, "webdataset", "samples/s", "copy", "tarfile, two copies, stacking"),
        row_of_rounds(replays, "h5py", "samples/s", "copy", "HDF5's chunks; stacking"),
        row_of_rounds(opens, "open-first", "s", "open-first", "reading all headers, in Python"),
        row_of_rounds(opens, "open", "s", "open-first", "reading the index"),
    ]
    show("record", rows, args.json)


def _rounds(count: int, measures: dict[str, Callable[[], float]]) -> list[Values]:
    """So many rounds, after one that only warms up."""
    rounds = []
    for i in range(count + 1):
        names = list(measures) if i % 2 else list(reversed(measures))
        values = {name: measures[name]() for name in names}
        if i:
            rounds.append(values)
    return rounds


def _samples(count: int) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 256, IMAGE, np.uint8), "depth": rng.uniform(1, 10, DEPTH).astype(np.float32)}
        for _ in range(count)
    ]


def _record(folder: Path, source: list[dict], count: int) -> None:
    with btt.RecordingWriter(folder) as writer:
        for i in range(count):
            writer.write({**source[i % len(source)], "btid": 0, "btepoch": 0, "btseq": i, "btindex": i, "frameid": i})


def _writing(folder: Path, source: list[dict], count: int) -> dict[str, Callable[[], float]]:
    nbytes = count * SAMPLE_BYTES

    def dd() -> float:
        target = folder / "dd"
        command = ["dd", "if=/dev/zero", f"of={target}", "bs=1M", f"count={nbytes >> 20}", "conv=fsync"]
        seconds = _seconds(partial(subprocess.run, command, check=True, stderr=subprocess.DEVNULL))
        target.unlink()
        return nbytes / MB / seconds

    def write() -> float:
        target = folder / "written"
        seconds = _seconds(partial(_record, target, source, count))
        shutil.rmtree(target)
        return nbytes / MB / seconds

    return {"dd": dd, "write": write}


def _reading(folder: Path, source: list[dict], count: int) -> dict[str, Callable[[], float]]:
    target = folder / "recording"
    _record(target, source, count)
    recording = btt.Recording(target)
    with h5py.File(folder / "recording.h5", "w") as file:
        for name, shape, dtype in [("image", IMAGE, np.uint8), ("depth", DEPTH, np.float32)]:
            data = file.create_dataset(name, (count, *shape), dtype, chunks=(1, *shape))
            for i, sample in enumerate(recording):
                data[i] = sample[name]
    originals = {name: np.stack([sample[name] for sample in recording]) for name in ("image", "depth")}
    buffers = [{name: np.empty_like(values[:BATCH_SIZE]) for name, values in originals.items()} for _ in range(4)]
    rng = np.random.default_rng(1)
    loader = btt.ReplayLoader(recording, BATCH_SIZE, shuffle=True, drop_last=True)
    batches = count // BATCH_SIZE

    def copy() -> None:
        order = rng.permutation(count)
        for i in range(batches):
            for name, rows in buffers[i % len(buffers)].items():
                for row, place in zip(order[i * BATCH_SIZE :], rows, strict=False):
                    np.copyto(place, originals[name][row])

    def replay() -> None:
        assert sum(len(batch["image"]) for batch in loader) == batches * BATCH_SIZE

    def read_webdataset() -> None:
        shards = [str(path) for path in recording.shards]
        dataset = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).map(_decoded)
        for group in _batches(dataset, batches):
            for name in ("image.npy", "depth.npy"):
                np.stack([sample[name] for sample in group])

    def read_h5py() -> None:
        order = rng.permutation(count)
        with h5py.File(folder / "recording.h5") as file:
            for i in range(batches):
                for name in ("image", "depth"):
                    np.stack([file[name][row] for row in order[i * BATCH_SIZE :][:BATCH_SIZE]])

    measures = {"copy": copy, "replay": replay, "webdataset": read_webdataset, "h5py": read_h5py}
    return {name: partial(_rate, run, batches * BATCH_SIZE) for name, run in measures.items()}


def _decoded(sample: dict) -> dict:
    """As WebDataset's `decode()` does by default, for arrays alone."""
    return {name: np.load(io.BytesIO(data)) for name, data in sample.items() if name.endswith(".npy")}


def _batches(samples: Iterator[dict], count: int) -> Iterator[list[dict]]:
    iterator = iter(samples)
    for _ in range(count):
        group = list(islice(iterator, BATCH_SIZE))
        assert len(group) == BATCH_SIZE
        yield group


def _streams(folder: Path, blender: str | None, count: int) -> dict[str, Callable[[], float]]:
    measures: dict[str, Callable[[], float]] = {}
    for name, args in [("stream", ["--rate", str(RATE)]), ("fast", [])]:
        for suffix in ("", "-recorded"):
            measures[name + suffix] = partial(
                _stream, folder / (name + suffix) if suffix else None, args, blender, count
            )
    return measures


def _stream(record: Path | None, args: list[str], blender: str | None, count: int) -> float:
    """Samples a second that arrive, after some that fill the queues."""
    with btt.stream(
        script=SCRIPT, batch_size=BATCH_SIZE, instance_args=[args], blend_path=blender, record=record, seed=1
    ) as loader:
        batches = iter(loader)
        for _ in range(5):
            next(batches)
        started = time.perf_counter()
        for _ in range(count // BATCH_SIZE):
            next(batches)
        seconds = time.perf_counter() - started
        batches.close()
    if record is not None:
        shutil.rmtree(record)
    return count // BATCH_SIZE * BATCH_SIZE / seconds


def _opening(folder: Path, count: int) -> Values:
    with btt.RecordingWriter(btt.RecordingSettings(folder, fsync="never")) as writer:
        for i in range(count):
            writer.write(
                {"image": np.full((4, 4, 3), i % 256, np.uint8), "btid": 0, "btepoch": 0, "btseq": i, "btindex": i}
            )

    def open_it() -> None:
        assert len(btt.Recording(folder)) == count

    first = _seconds(open_it)
    later = sorted(_seconds(open_it) for _ in range(5))
    return {"open-first": first, "open": later[2]}


def _rate(run: Callable[[], None], count: int) -> float:
    return count / _seconds(run)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
