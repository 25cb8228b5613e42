"""How fast do samples stream from Blender into batches, compared with a copy, and with pickles over tcp?

Blender processes publish frames (640 x 480 RGBA uint8) that they do not render: two different ones in turn, from ordinary
writable arrays. They arrive in batches of 8. The transports are compared with

- `copy`: one thread copies such frames into the rows of four batch buffers in turn, 39 MB;
- `bare/1`, `bare-view/N`: the same way through shared memory with nothing but the copy, see `bare_ring`: what the machine
  allows, for two cores that copy share their way to memory;
- `pickle-tcp/N`: pickled dicts, PUSH/PULL over tcp, a DataLoader with N workers; `best` is the one with the best median.

`shm` is the loader as it comes, `shm-view` the one with `copy=False`. `dataloader-shm` collates with `btt.collate`,
`dataloader-default` as PyTorch does by default.

Every round measures all rows in a short burst each, one after the other, every other round backwards; between its bursts
a row's Blender instances wait and use no CPU. Ratios are the medians of the rounds' ratios. At the end the memory of both
ends is watched. No row looks at the pixels that arrive.
"""

import gc
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from bare_ring import BareRing, bare_ring
from pickle_tcp import PickleDataset
from report import Row, parser, row_of_rounds, show
from stream_samples import samples
from torch.utils.data import DataLoader, IterableDataset

from blendtorch import btt

BATCH_SIZE = 8
SHM_BYTES = 256 << 20  # the launcher's default
TIMEOUT_MS = 120_000
# For latencies: one sample every so often, so that none queues behind another; and longer bursts, for the percentiles.
PACE_S = 0.005
LATENCY_FACTOR = 2
RAMP_BATCHES = 4  # of each instance before a burst, for the loader has to connect first
# Samples of each instance that go through all memory that a stream has, and show how fast it is.
WARM_UP = {"frame": 128, "tiny-frame": 4096, "small": 2048, "large": 8}
MB = 1e6

Values = dict[str, float]  # of a round, by row


@dataclass(frozen=True)
class Stream:
    """A stream from Blender instances into a `StreamLoader`, on a channel of its own.

    Attributes:
        name: The name of its row.
        group: Which of the launchers has the instances: "shm", "ipc" or "tcp".
        remark: What limits it.
        ratio_to: The row it is compared with.
        kind: Which samples, see `stream_samples`.
        instances: How many publish.
        batch_size: Samples a batch.
        copy: False for batches that are views of shared memory.
    """

    name: str
    group: str
    remark: str
    ratio_to: str = ""
    kind: str = "frame"
    instances: int = 1
    batch_size: int = BATCH_SIZE
    copy: bool = True


PICKLES = {f"pickle-tcp/{workers}": workers for workers in (0, 1, 2, 4)}
BEST = "pickle-tcp/best"
# DataLoaders with two workers: how they collate, and what limits them.
DATALOADERS: dict[str, tuple[Callable[[list[Any]], Any] | None, str]] = {
    "dataloader-shm/2": (btt.collate, "its two workers: two copies each, and Python"),
    "dataloader-default/2": (None, "fresh shared memory for each batch"),
}
STREAMS = [
    Stream("shm/1", "shm", "as bare/1, and Python between the copies, in Blender", "copy"),
    Stream("shm-view/1", "shm", "as shm/1", "copy", copy=False),
    Stream("shm/2", "shm", "the copy into the batch, on one core", "copy", instances=2),
    Stream("shm-view/2", "shm", "as bare-view/2", "copy", instances=2, copy=False),
    Stream("shm/4", "shm", "as shm/2, if there are cores for five processes", "copy", instances=4),
    Stream("ipc/1", "ipc", "copies into the kernel, out of it, and into the batch", BEST),
    Stream("tcp/1", "tcp", "as ipc/1, and the loopback device", BEST),
    Stream("tcp/2", "tcp", "as tcp/1: receiving, on one core", BEST, instances=2),
    Stream("small/1", "shm", "Python: three arrays and five numbers, 180 bytes", "pickle-small", kind="small"),
    Stream("large/1", "shm", "as shm/1; 12 arrays, 40 MB, in batches of 2", "copy-large", kind="large", batch_size=2),
]
# How many producers, and slots for each: as the streams of these names.
BARE = {"bare/1": (1, 32), "bare-view/1": (1, 16), "bare-view/2": (2, 16)}
BARE_REMARKS = {
    "bare/1": "the copy into one of 32 slots, beyond the cache",
    "bare-view/1": "the copy into one of 16 slots, partly in the cache",
    "bare-view/2": "as bare-view/1, on two cores that share the cache",
}
LATENCIES = [
    Stream(f"latency/{group}", group, "waking two threads; the copies of one frame", batch_size=1)
    for group in ("shm", "ipc", "tcp")
]
# Tiny frames where it is the number that matters: they make 100,000 a matter of seconds.
MEMORIES = [
    Stream("shm", "shm", "64 x 64 RGBA", kind="tiny-frame"),
    Stream("tcp", "tcp", "64 x 64 RGBA", kind="tiny-frame"),
    Stream("shm-640x480", "shm", "640 x 480 RGBA"),
]

# What is asked for: by what factor a row is to exceed another one; without another one, a number a second.
ASKED: list[tuple[str, float, str | None]] = [
    ("shm/1", 0.8, "copy"),
    ("shm/1", 6, BEST),
    ("shm-view/1", 1.2, "copy"),
    ("shm-view/2", 2, "copy"),
    ("tcp/1", 2, BEST),
    ("dataloader-shm/2", 2, "pickle-tcp/2"),
    ("small/1", 20_000, None),
]


def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()
    # Filling a batch takes one core for a millisecond; torch's thread pool would wait for cores that publish.
    torch.set_num_threads(1)
    # Four workers on two cores are to be measured, too.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    with ExitStack() as stack:
        launchers = {group: stack.enter_context(launch(group, args.blender)) for group in ("shm", "ipc", "tcp")}
        bare = {name: stack.enter_context(bare_ring(*setting)) for name, setting in BARE.items()}
        rounds, memory_rows = compete(launchers, bare, args.quick)
    show("Streaming 640 x 480 RGBA into batches of 8", [*rows_of(rounds), *memory_rows], args.json)
    print_asked(rounds)


def launch(group: str, blender: str | None) -> btt.BlenderLauncher:
    """The instances of a group: those that publish on command, and the last ones, which publish for DataLoaders."""
    streams = [stream for stream in [*STREAMS, *LATENCIES, *MEMORIES] if stream.group == group]
    roles = [["obey"]] * max(stream.instances for stream in streams)
    if group == "shm":
        roles += [["endless", socket_name(name)] for name in DATALOADERS]
    elif group == "tcp":
        roles.append(["pickle", *map(socket_name, PICKLES)])
    names = [*(socket_name(stream.name) for stream in streams), *(name for role in roles for name in role[1:])]
    return btt.BlenderLauncher(
        script=Path(__file__).parent / "stream.blend.py",
        num_instances=len(roles),
        named_sockets=["CTRL", *names],
        instance_args=roles,
        blend_path=blender,
        proto="auto" if group == "shm" else group,
        shm_bytes=SHM_BYTES if group == "shm" else 0,
        on_failure="raise",  # a new instance would not know what it was told to publish
    )


def socket_name(row: str) -> str:
    """Names of sockets have no slash."""
    return row.replace("/", "-")


def compete(
    launchers: dict[str, btt.BlenderLauncher], bare: dict[str, BareRing], quick: bool
) -> tuple[list[Values], list[Row]]:
    """Measures everything; returns the values of all rounds, and the rows about memory."""
    seconds, rounds = (0.15, 3) if quick else (0.7, 9)
    addresses = {group: launcher.launch_info.addresses for group, launcher in launchers.items()}
    commands = {
        group: [btt.DuplexChannel(address, btid) for btid, address in enumerate(of_group["CTRL"])]
        for group, of_group in addresses.items()
    }

    def streaming(stream: Stream) -> Streaming:
        of_stream = addresses[stream.group][socket_name(stream.name)][: stream.instances]
        return Streaming(stream, of_stream, commands[stream.group])

    # First, since workers are forked: this process shall have few threads then.
    reading = [
        reader(name, PickleDataset(addresses["tcp"][socket_name(name)][-1]), workers)
        for name, workers in PICKLES.items()
    ]
    for i, (name, (collate, _)) in enumerate(DATALOADERS.items()):
        # The last instances publish for these, in this order.
        address = addresses["shm"][socket_name(name)][i - len(DATALOADERS)]
        reading.append(reader(name, btt.RemoteIterableDataset(address), 2, collate))
    contestants: list[Callable[[float], Values]] = [
        Repeated("copy", copier("frame", BATCH_SIZE, buffers=4)).measure,
        *(Repeated(name, ring.take_batch, ramp=64).measure for name, ring in bare.items()),
        *(streaming(stream).measure for stream in STREAMS),
        *(row.measure for row in reading),
        Repeated("copy-large", copier("large", batch_size=2, buffers=2), batch_size=2).measure,
        Repeated("pickle-small", pickler("small"), batch_size=1).measure,
        *(streaming(stream).measure_latency for stream in LATENCIES),
    ]
    results = []
    for i in range(rounds):
        values: Values = {}
        for measure in reversed(contestants) if i % 2 else contestants:
            values |= measure(seconds)
        results.append(values)
    memory_rows = watch_memory(
        [streaming(stream) for stream in MEMORIES],
        [launchers[stream.group].launch_info.pids[0] for stream in MEMORIES],
        counts={"tiny-frame": 10_000, "frame": 800} if quick else {"tiny-frame": 100_000, "frame": 8_000},
    )
    return results, memory_rows


class Repeated:
    """Calls something that handles one batch, again and again.

    Args:
        name: Of its row.
        batch: What is called.
        batch_size: Samples a call.
        ramp: How many samples go by before the clock runs: as many as can have waited in queues since the last burst.
    """

    def __init__(self, name: str, batch: Callable[[], Any], batch_size: int = BATCH_SIZE, ramp: int = 0) -> None:
        self._name = name
        self._batch = batch
        self._batch_size = batch_size
        self._ramp = ramp

    def measure(self, seconds: float) -> Values:
        """Samples per second."""
        for _ in range(0, self._ramp, self._batch_size):
            self._batch()
        done = 0
        started = time.perf_counter()
        while (taken_s := time.perf_counter() - started) < seconds:
            self._batch()
            done += self._batch_size
        return {self._name: done / taken_s}


def copier(kind: str, batch_size: int, buffers: int) -> Callable[[], None]:
    """A function that copies samples into one of several batch buffers, in turn."""
    sources = [list(sample.values()) for sample in samples(kind)]
    # Filled, not only asked for: the first write to fresh memory is slow.
    empty = [[np.full((batch_size, *array.shape), 1, array.dtype) for array in sources[0]] for _ in range(buffers)]
    next_source, next_buffer = cycle(sources), cycle(empty)

    def copy_batch() -> None:
        buffer = next(next_buffer)
        for row in range(batch_size):
            for target, array in zip(buffer, next(next_source), strict=True):
                np.copyto(target[row], array)

    return copy_batch


def pickler(kind: str) -> Callable[[], Any]:
    """A function that pickles and unpickles a sample."""
    next_source = cycle(samples(kind))
    return lambda: pickle.loads(pickle.dumps(next(next_source), protocol=5))


def reader(
    name: str, dataset: IterableDataset, workers: int, collate: Callable[[list[Any]], Any] | None = None
) -> Repeated:
    """A DataLoader, the workers of which live on between the bursts."""
    batches = iter(DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=workers, collate_fn=collate))
    # Each worker has read two batches ahead; ten samples wait at either end, and some in the kernel.
    return Repeated(name, partial(next, batches), ramp=40 * max(1, workers))


class Streaming:
    """A `StreamLoader`, and the instances that publish for it on command.

    The loader is connected while it is measured only: its thread looks into shared memory all the time.

    Args:
        stream: What it is.
        addresses: Of its channel, in each of its instances.
        commands: To the instances of its group.
    """

    def __init__(self, stream: Stream, addresses: Sequence[str], commands: Sequence[btt.DuplexChannel]) -> None:
        self.stream = stream
        self._loader = btt.StreamLoader(addresses, stream.batch_size, copy=stream.copy, timeoutms=TIMEOUT_MS)
        self._commands = commands[: stream.instances]
        self._per_second = 0.0
        with self.connected():
            self._per_second = self._rate(WARM_UP[stream.kind])

    @contextmanager
    def connected(self, ramp: int = 0) -> Iterator[None]:
        """Connects the loader, and has some samples of each instance go by; by default through all memory there is."""
        with self._loader:
            self._rate(ramp or WARM_UP[self.stream.kind])
            yield

    def measure(self, seconds: float) -> Values:
        """Samples per second, of a burst that takes about as long as asked for if it is as fast as the last one."""
        batches_each = round(self._per_second * seconds / self.stream.instances / self.stream.batch_size)
        with self.connected(RAMP_BATCHES * self.stream.batch_size):
            self._per_second = self._rate(max(1, batches_each) * self.stream.batch_size)
        return {self.stream.name: self._per_second}

    def measure_latency(self, seconds: float) -> Values:
        """Milliseconds from before `publish` in Blender until the training loop has the sample."""
        with self.connected(RAMP_BATCHES * self.stream.batch_size):
            delays_ms = [
                (time.monotonic() - float(batch["sent_s"][0])) * 1000
                for batch in self.take(round(LATENCY_FACTOR * seconds / PACE_S), PACE_S)
            ]
        name = self.stream.name
        return {name.replace("/", f"-p{p}/"): float(np.percentile(delays_ms, p)) for p in (50, 99)}

    def take(self, samples_each: int, interval_s: float = 0) -> Iterator[dict[str, Any]]:
        """Has each instance publish so many samples, whole batches of them, and takes all."""
        command = {"channel": socket_name(self.stream.name), "kind": self.stream.kind}
        for channel in self._commands:
            channel.send(**command, samples=samples_each, interval_s=interval_s)
        return islice(self._loader, samples_each * self.stream.instances // self.stream.batch_size)

    def _rate(self, samples_each: int) -> float:
        started = time.perf_counter()
        for _ in self.take(samples_each):
            pass
        return samples_each * self.stream.instances / (time.perf_counter() - started)


def watch_memory(streamings: Sequence[Streaming], pids: Sequence[int], counts: dict[str, int]) -> list[Row]:
    """By how much the resident memory of both ends grows over many samples.

    Args:
        streamings: The streams.
        pids: The instance that publishes for each.
        counts: How many samples, by kind.
    """
    gc.collect()
    start = {"trainer": _rss_mb(None), "blender": _rss_mb(pids[0])}
    rows = [Row(f"rss-{end}", mb, "MB", 1.0, f"rss-{end}", "before the samples below") for end, mb in start.items()]
    for streaming, pid in zip(streamings, pids, strict=True):
        count = counts[streaming.stream.kind]
        with streaming.connected():
            before = {"trainer": _rss_mb(None), "blender": _rss_mb(pid)}
            for _ in streaming.take(count):
                pass
            gc.collect()
            after = {"trainer": _rss_mb(None), "blender": _rss_mb(pid)}
        for end in start:
            growth = after[end] - before[end]
            remark = f"growth over {count:,} samples of {streaming.stream.remark}"
            row = Row(f"memory-{end}/{streaming.stream.name}", growth, "MB", growth / start[end], f"rss-{end}", remark)
            rows.append(row)
    return rows


def _rss_mb(pid: int | None) -> float:
    """Resident memory of a process, or of this one; pages of shared memory that it has touched count, too."""
    return psutil.Process(pid).memory_info().rss / MB


def rows_of(rounds: list[Values]) -> list[Row]:
    """The rows in the order of the table, references first; adds the best of the pickles to the rounds."""
    pickles = [row_of_rounds(rounds, name, "images/s", name) for name in PICKLES]
    best = max(pickles, key=lambda row: row.value).name
    for values in rounds:
        values[BEST] = values[best]
    parallel = "pickling at one end, unpickling and collating at the other"
    rows = [
        row_of_rounds(rounds, "copy", "images/s", "copy", "one core's way to memory"),
        row_of_rounds(rounds, "pickle-tcp/0", "images/s", BEST, "as the others; nothing is read ahead"),
        *(row_of_rounds(rounds, name, "images/s", BEST, parallel) for name in list(PICKLES)[1:]),
        row_of_rounds(rounds, BEST, "images/s", BEST, f"is {best}"),
        row_of_rounds(rounds, "copy-large", "samples/s", "copy-large", "as copy"),
        row_of_rounds(rounds, "pickle-small", "samples/s", "pickle-small", "dumps and loads in one process, not sent"),
    ]
    rows += [row_of_rounds(rounds, name, "images/s", "copy", remark) for name, remark in BARE_REMARKS.items()]
    for stream in STREAMS:
        unit = "images/s" if stream.kind == "frame" else "samples/s"
        rows.append(row_of_rounds(rounds, stream.name, unit, stream.ratio_to, stream.remark))
    for name, (_, remark) in DATALOADERS.items():
        rows.append(row_of_rounds(rounds, name, "images/s", "pickle-tcp/2", remark))
    for stream in LATENCIES:
        for p in (50, 99):
            name = stream.name.replace("/", f"-p{p}/")
            rows.append(row_of_rounds(rounds, name, "ms", f"latency-p{p}/tcp", stream.remark))
    return rows


def print_asked(rounds: list[Values]) -> None:
    """What was asked for beside what was measured; nothing depends on it, for machines differ."""
    print("\n| asked for | measured | |\n|---|---|---|")
    for name, least, other in ASKED:
        row = row_of_rounds(rounds, name, "", other or name)
        value = row.ratio if other else row.value
        asked = f"{name} >= {least:g} x {other}" if other else f"{name} >= {least:,} a second"
        print(f"| {asked} | {value:,.2f} | {'met' if value >= least else 'not met'} |")
    print("\n| compared with bare copies in the same run | |\n|---|---|")
    for name in BARE:
        stream = name.replace("bare", "shm")
        print(f"| {stream} / {name} | {row_of_rounds(rounds, stream, '', name).ratio:.2f} |")


if __name__ == "__main__":
    main()
