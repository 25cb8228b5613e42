"""`record=` of the loaders: what is recorded is what came, once, and it is gone on with after an interruption."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from instances import TRANSPORTS, FakeInstance
from loader_samples import fields, samples
from torch.utils.data import DataLoader

from blendtorch.btt import (
    Recording,
    RecordingSettings,
    RecordingWriteError,
    RemoteIterableDataset,
    ReplayLoader,
    StreamLoader,
)
from blendtorch.errors import ConfigError, EncodeError
from tests.leftovers import leaves_nothing  # noqa: F401  (a fixture)

Start = Callable[..., FakeInstance]
COUNT = 20


def indexed(count: int, per_index: int = 1, first: int = 0, step: int = 1):
    """Samples with an index, several of each, as of episodes."""
    return [
        (index, fields(index * per_index + rank))
        for index in range(first, first + step * count, step)
        for rank in range(per_index)
    ]


def by_key(recording: Recording) -> dict[str, int]:
    return dict(zip(recording.keys, [sample["number"] for sample in recording], strict=True))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("copy", [True, False])
def test_a_loader_records_all_that_it_delivers(
    instance: Start, tmp_path: Path, transport: str, batch_size: int, copy: bool
) -> None:
    address = instance(samples(COUNT), transport, epoch=2).address
    with StreamLoader(address, batch_size, copy=copy, record=tmp_path / "r") as loader:
        delivered = [{name: values.clone() for name, values in batch.items()} for batch in loader]
    recording = Recording(tmp_path / "r")
    assert [sample["number"] for sample in recording] == list(range(COUNT))
    assert [path.name for path in recording.shards] == ["samples-00-00000.tar"]
    assert recording.problems == []
    replayed = list(ReplayLoader(recording, batch_size))
    assert len(replayed) == len(delivered)
    for one, other in zip(delivered, replayed, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert torch.equal(one[name], other[name]), name


def test_what_the_transform_changes_is_recorded_as_it_came(instance: Start, tmp_path: Path) -> None:
    def transform(batch: dict) -> dict:
        batch["image"][:] = 77
        return {"image": batch["image"]}

    with StreamLoader(instance(samples(4)).address, 2, transform=transform, record=tmp_path) as loader:
        assert all(batch["image"].eq(77).all() for batch in loader)
    assert [int(sample["image"][0, 0]) for sample in Recording(tmp_path)] == [0, 1, 2, 3]


def test_fields_that_do_not_stack_are_recorded(instance: Start, tmp_path: Path) -> None:
    ragged = [
        {"boxes": np.zeros((n, 4), np.float32), "name": "x" * n, "labels": {"id": np.arange(n)}} for n in range(5)
    ]
    with StreamLoader(instance(ragged).address, 2, record=tmp_path) as loader:
        list(loader)
    for n, sample in enumerate(Recording(tmp_path)):
        assert sample["boxes"].shape == (n, 4)
        assert sample["name"] == "x" * n
        np.testing.assert_array_equal(sample["labels"]["id"], np.arange(n))
    (batch,) = ReplayLoader(tmp_path, 5)
    assert [tuple(boxes.shape) for boxes in batch["boxes"]] == [(n, 4) for n in range(5)]
    assert batch["name"] == ["x" * n for n in range(5)]


def test_keys_are_the_index_and_the_rank_within_it(instance: Start, tmp_path: Path) -> None:
    with StreamLoader(instance(indexed(2, per_index=3)).address, 4, record=tmp_path) as loader:
        list(loader)
    assert by_key(Recording(tmp_path)) == {f"{i:09d}-{rank:04d}": 3 * i + rank for i in range(2) for rank in range(3)}


def test_the_number_of_instances_does_not_change_the_keys(instance: Start, tmp_path: Path) -> None:
    with StreamLoader(instance(indexed(6, 2)).address, 4, record=tmp_path / "one") as loader:
        list(loader)
    addresses = [instance(indexed(3, 2, first, 2), btid=first).address for first in range(2)]
    with StreamLoader(addresses, 4, record=tmp_path / "two") as loader:
        list(loader)
    one, two = (by_key(Recording(tmp_path / name)) for name in ("one", "two"))
    assert one == two
    assert len(one) == 12


def test_a_recording_is_gone_on_with_and_nothing_is_there_twice(instance: Start, tmp_path: Path) -> None:
    with StreamLoader(instance(indexed(5)).address, 1, record=tmp_path) as loader:
        list(loader)
    with StreamLoader(instance(indexed(12), btid=8).address, 1, record=tmp_path) as loader:
        assert sum(1 for _ in loader) == 12  # the stream itself is whole
    recording = Recording(tmp_path)
    assert [sample["number"] for sample in recording] == list(range(12))
    assert len(recording.shards) == 2
    assert recording.problems == []


def test_one_loader_records_on_when_it_is_iterated_over_again(instance: Start, tmp_path: Path) -> None:
    with StreamLoader(instance(samples()).address, 2, num_batches=3, record=tmp_path) as loader:
        list(loader)
        list(loader)
    numbers = [sample["number"] for sample in Recording(tmp_path)]
    assert numbers == list(range(len(numbers)))  # what was read ahead is recorded, too
    assert len(numbers) >= 12


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_workers_of_a_dataloader_record_shards_of_their_own(instance: Start, tmp_path: Path, workers: int) -> None:
    dataset = RemoteIterableDataset(instance(samples()).address, max_items=COUNT, record=tmp_path)
    batches = list(DataLoader(dataset, batch_size=2, num_workers=workers))
    delivered = sorted(number for batch in batches for number in batch["number"].tolist())
    recording = Recording(tmp_path)
    assert sorted(sample["number"] for sample in recording) == delivered
    assert len(recording) == COUNT
    assert {path.name for path in recording.shards} == {f"samples-{i:02d}-00000.tar" for i in range(max(1, workers))}
    assert not list(tmp_path.glob("*.partial"))


def test_a_dataset_yields_writable_samples_that_were_recorded_unchanged(instance: Start, tmp_path: Path) -> None:
    for item in RemoteIterableDataset(instance(samples(3)).address, record=tmp_path):
        item["image"][:] = 99
    assert [int(sample["image"][0, 0]) for sample in Recording(tmp_path)] == [0, 1, 2]


def test_settings_are_those_that_were_given(instance: Start, tmp_path: Path) -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    settings = RecordingSettings(
        tmp_path, encode={"image": "png"}, shard_samples=2, metadata={"classes": {"1": "cube"}, "seed": 7}
    )
    with StreamLoader(instance([{"image": picture + n} for n in range(5)]).address, record=settings) as loader:
        list(loader)
    recording = Recording(tmp_path)
    assert len(recording.shards) == 3
    assert recording.schema["image"].encoding == "png"
    assert recording.metadata["classes"] == {"1": "cube"}
    for n, sample in enumerate(recording):
        np.testing.assert_array_equal(sample["image"], picture + n)


def test_a_recording_of_another_seed_is_not_gone_on_with(instance: Start, tmp_path: Path) -> None:
    address = instance(samples()).address
    with StreamLoader(address, num_batches=2, record=RecordingSettings(tmp_path, metadata={"seed": 1})) as loader:
        list(loader)
    other = StreamLoader(address, record=RecordingSettings(tmp_path, metadata={"seed": 2}))
    with other, pytest.raises(ConfigError, match="seed is 1, this one's is 2"):
        next(iter(other))


def test_samples_that_may_be_of_another_launch_are_not_passed_over_silently(
    instance: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for btid in (7, 8):
        list(RemoteIterableDataset(instance(indexed(3), btid=btid).address, record=tmp_path))
    assert "3 samples that came have keys" in caplog.text
    assert "metadata=launcher.origin" in caplog.text


def test_a_wrong_setting_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for record in [tmp_path / "file", 3, ""]:
        with pytest.raises(ConfigError, match="expected"):
            StreamLoader("ipc:///tmp/none", record=record)
        with pytest.raises(ConfigError, match="expected"):
            RemoteIterableDataset("ipc:///tmp/none", record=record)


def test_a_field_that_cannot_be_recorded_is_named_in_the_loop(instance: Start, tmp_path: Path) -> None:
    bad = [fields(0), {**fields(1), "what.ever": np.zeros(2)}]
    with (
        StreamLoader(instance(bad).address, record=tmp_path) as loader,
        pytest.raises(EncodeError, match=r"what\.ever"),
    ):
        list(loader)
    assert [sample["number"] for sample in Recording(tmp_path)] == [0]


FULL = """
import resource, signal, sys
import numpy as np
from blendtorch.btt import StreamLoader, RecordingWriteError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
loader = StreamLoader(sys.argv[1], 1, record=sys.argv[2])
try:
    with loader:
        for batch in loader:
            print(int(batch["number"][0]), flush=True)
except RecordingWriteError as error:
    print("stopped:", error, flush=True)
"""


def test_a_full_disk_stops_the_loop_and_keeps_what_was_recorded(instance: Start, tmp_path: Path) -> None:
    large = ({"image": np.full((100, 100), n % 256, np.uint8), "number": n} for n in itertools.count())
    result = subprocess.run(
        [sys.executable, "-c", FULL, instance(large).address, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("stopped:"), result.stdout + result.stderr
    assert "cannot be written on" in lines[-1]
    assert "Make room" in lines[-1]
    recording = Recording(tmp_path)
    numbers = [sample["number"] for sample in recording]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= len(lines) - 1  # at least what was delivered
    assert len(numbers) > 10
    assert all((sample["image"] == sample["number"] % 256).all() for sample in recording)


KILLED = """
import sys
from blendtorch.btt import StreamLoader
for batch in StreamLoader(sys.argv[1], 1, record=sys.argv[2]):
    print(int(batch["number"][0]), flush=True)
"""


def test_what_was_delivered_before_a_kill_is_readable_and_gone_on_with(instance: Start, tmp_path: Path) -> None:
    address = instance(samples()).address
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, address, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) == 30:
                break
        os.kill(process.pid, signal.SIGKILL)
    assert list(tmp_path.glob("*.partial"))
    before = [sample["number"] for sample in Recording(tmp_path)]
    assert before == list(range(len(before)))
    assert len(before) > 30
    with StreamLoader(address, 1, num_batches=5, record=tmp_path) as loader:
        list(loader)
    assert not list(tmp_path.glob("*.partial"))
    after = [sample["number"] for sample in Recording(tmp_path)]
    assert len(after) == len(set(after))
    assert set(after) > set(before)


def test_the_error_is_one_that_callers_expect() -> None:
    assert issubclass(RecordingWriteError, OSError)
