"""`ReplayLoader` and `FileDataset`: what was recorded, in batches and one by one."""

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from blendtorch import btt
from blendtorch.errors import ConfigError, MissingFileError, RecordingError

COUNT = 23


def sample(number: int) -> dict[str, Any]:
    return {
        "image": np.full((6, 8, 3), number, np.uint8),
        "mask": np.arange(48).reshape(6, 8) % (number + 2) == 0,
        "number": number,
        "weight": number / 7,
        "boxes": np.full((number % 3, 4), number, np.float32),
        "labels": {"id": np.arange(number % 3, dtype=np.uint32), "object": ["a"] * (number % 3)},
        "btid": number % 2,
        "btepoch": 0,
        "btseq": number // 2,
        "btindex": number,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with btt.RecordingWriter(btt.RecordingSettings(tmp_path / "r", shard_samples=5)) as writer:
        for number in range(COUNT):
            writer.write(sample(number))
    return tmp_path / "r"


def numbers(batches: Any) -> list[list[int]]:
    return [batch["number"].tolist() for batch in batches]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "replay" in thread.name]


def test_batches_are_those_of_a_stream(folder: Path) -> None:
    loader = btt.ReplayLoader(folder, 4)
    batches = list(loader)
    assert numbers(batches) == [list(range(i, min(i + 4, COUNT))) for i in range(0, COUNT, 4)]
    assert len(loader) == len(batches) == 6
    for i, batch in enumerate(batches):
        want = [sample(number) for number in range(4 * i, min(4 * i + 4, COUNT))]
        for name in ("image", "mask"):
            np.testing.assert_array_equal(batch[name].numpy(), np.stack([one[name] for one in want]))
        assert (batch["image"].dtype, batch["mask"].dtype) == (torch.uint8, torch.bool)
        assert (batch["number"].dtype, batch["weight"].dtype) == (torch.int64, torch.float64)
        assert batch["weight"].tolist() == [one["weight"] for one in want]
        assert isinstance(batch["boxes"], list)  # they do not stack
        for boxes, one in zip(batch["boxes"], want, strict=True):
            np.testing.assert_array_equal(boxes.numpy(), one["boxes"])
        assert [labels["object"] for labels in batch["labels"]] == [one["labels"]["object"] for one in want]
        for name in ("btid", "btepoch", "btseq", "btindex"):
            assert batch[name].tolist() == [one[name] for one in want]
            assert batch[name].dtype == torch.int64


def test_fields_that_some_samples_lack_are_none(tmp_path: Path) -> None:
    with btt.RecordingWriter(tmp_path) as writer:
        writer.write({"image": np.zeros(2), "name": "x"})
        writer.write({"depth": np.ones(3)})
    (batch,) = btt.ReplayLoader(tmp_path, 2)
    assert batch["name"] == ["x", None]
    assert batch["image"][0].tolist() == [0, 0]
    assert batch["image"][1] is None
    assert batch["depth"][0] is None
    assert batch["depth"][1].tolist() == [1, 1, 1]


def test_a_field_that_is_an_array_in_some_samples_alone(tmp_path: Path) -> None:
    with btt.RecordingWriter(tmp_path) as writer:
        for x in ({"x": np.zeros(2)}, {"x": 3.5}, {}, {}):
            writer.write(x)
    first, second = btt.ReplayLoader(tmp_path, 2)
    assert first["x"][0].tolist() == [0, 0]
    assert first["x"][1] == 3.5
    assert second == {}


def test_images_are_decoded(tmp_path: Path) -> None:
    with btt.RecordingWriter(btt.RecordingSettings(tmp_path, encode={"image": "png"})) as writer:
        for number in range(3):
            writer.write(sample(number))
    (batch,) = btt.ReplayLoader(tmp_path, 3)
    assert batch["image"].shape == (3, 6, 8, 3)
    assert batch["image"][:, 0, 0, 0].tolist() == [0, 1, 2]


def test_each_epoch_has_every_sample_once_in_another_order(folder: Path) -> None:
    def epochs(seed: int) -> list[list[int]]:
        loader = btt.ReplayLoader(folder, 4, shuffle=True, seed=seed)
        return [[n for batch in numbers(loader) for n in batch] for _ in range(3)]

    first = epochs(1)
    assert all(sorted(order) == list(range(COUNT)) for order in first)
    assert len({tuple(order) for order in first}) == 3
    assert first == epochs(1)
    assert first != epochs(2)


@pytest.mark.parametrize(
    ("options", "want"), [({}, 6), ({"drop_last": True}, 5), ({"num_batches": 2}, 2), ({"num_batches": 99}, 6)]
)
def test_how_many_batches_an_epoch_has(folder: Path, options: dict[str, Any], want: int) -> None:
    loader = btt.ReplayLoader(folder, 4, **options)
    assert len(list(loader)) == len(loader) == loader.num_batches == want


def test_a_batch_is_never_written_to_again_while_it_is_used(folder: Path) -> None:
    kept = list(itertools.islice(btt.ReplayLoader(folder, 2, prefetch=1), 11))
    assert [batch["image"][0, 0, 0, 0].item() for batch in kept] == list(range(0, 22, 2))
    kept[0]["image"][:] = 99  # the file is not written to
    assert btt.Recording(folder)[0]["image"].max() == 0


def test_the_transform_runs_in_the_background(folder: Path) -> None:
    def transform(batch: dict) -> Any:
        return threading.current_thread().name, batch["number"]

    name, values = next(iter(btt.ReplayLoader(folder, 2, transform=transform)))
    assert "replay" in name
    assert values.tolist() == [0, 1]


def test_the_device_is_where_tensors_go(folder: Path) -> None:
    batch = next(iter(btt.ReplayLoader(folder, 2, device="meta")))
    assert batch["image"].device.type == "meta"
    assert batch["labels"][0]["object"] == []


def test_a_state_is_gone_on_from(folder: Path) -> None:
    options = {"batch_size": 4, "shuffle": True, "seed": 3}
    whole = [numbers(btt.ReplayLoader(folder, **options))]
    loader = btt.ReplayLoader(folder, **options)
    whole = [numbers(loader), numbers(loader)]
    loader = btt.ReplayLoader(folder, **options)
    assert numbers(loader) == whole[0]
    iterator = iter(loader)
    assert [next(iterator)["number"].tolist() for _ in range(2)] == whole[1][:2]
    state = loader.state_dict()
    other = btt.ReplayLoader(folder, **options)
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert numbers(other) == whole[1][2:]
    third = numbers(other)  # the epoch after is whole again
    assert len(third) == 6
    assert third != whole[1]


def test_the_state_between_epochs_is_the_next_one(folder: Path) -> None:
    loader = btt.ReplayLoader(folder, 4, shuffle=True)
    state = loader.state_dict()
    assert (state["epoch"], state["batches"]) == (0, 0)
    list(loader)
    assert loader.state_dict() == {**state, "epoch": 1}
    for other in ({"seed": 1}, {"shuffle": False}, {"batch_size": 5}):
        with pytest.raises(ConfigError, match="the state is of a loader with"):
            btt.ReplayLoader(folder, **{"batch_size": 4, "shuffle": True, **other}).load_state_dict(state)


@pytest.mark.parametrize(
    "state", [None, {}, {"version": 2, "epoch": 0, "batches": 0}, {"version": 1, "epoch": -1, "batches": 0}]
)
def test_what_is_no_state_is_refused(folder: Path, state: Any) -> None:
    with pytest.raises(ConfigError, match="not the state of a ReplayLoader"):
        btt.ReplayLoader(folder).load_state_dict(state)


def test_a_loop_that_is_left_ends_its_thread(folder: Path) -> None:
    loader = btt.ReplayLoader(folder, 2)
    for batch in loader:
        assert threads()
        if batch["number"][0] >= 4:
            break
    loader.close()
    assert not threads()
    assert numbers(loader)[0] == [0, 1]  # a new epoch
    with btt.ReplayLoader(folder, 2) as loader:
        iterator = iter(loader)
        next(iterator)
    assert not threads()
    assert list(iterator) == []


def test_another_loop_ends_the_one_before(folder: Path) -> None:
    loader = btt.ReplayLoader(folder, 2)
    first = iter(loader)
    next(first)
    second = iter(loader)
    assert next(second)["number"].tolist() == [0, 1]
    assert list(first) == []
    loader.close()


def test_stats_count(folder: Path) -> None:
    loader = btt.ReplayLoader(folder, 4)
    list(loader)
    stats = loader.stats()
    assert stats.received == COUNT
    assert (stats.lost, stats.dropped) == (0, 0)
    assert "23 received" in str(stats)
    assert len(list(btt.progress(btt.ReplayLoader(folder, 4)))) == 6


def test_a_file_that_was_changed_is_an_error_in_the_loop(folder: Path) -> None:
    loader = btt.ReplayLoader(folder, 4)
    shard = loader.recording.shards[2]
    with shard.open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(RecordingError, match=r"samples-00-00002\.tar.*changed"):
        list(loader)
    assert not threads()


def test_a_recording_in_place_of_its_folder(folder: Path) -> None:
    some = btt.Recording(folder)[3:9:2]
    assert numbers(btt.ReplayLoader(some, 2)) == [[3, 5], [7]]
    assert [item["number"] for item in btt.FileDataset(some)] == [3, 5, 7]


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 1.5}, {"prefetch": 0}, {"seed": -1}, {"num_batches": -1}]
)
def test_bad_arguments(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        btt.ReplayLoader(folder, **options)


def test_what_is_not_there(tmp_path: Path) -> None:
    for kind in (btt.ReplayLoader, btt.FileDataset):
        with pytest.raises(MissingFileError, match="no recording"):
            kind(tmp_path / "none")
        with pytest.raises(MissingFileError, match="holds no shards"):
            kind(tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_with_workers_and_shuffling(folder: Path, workers: int) -> None:
    dataset = btt.FileDataset(folder)
    loader = DataLoader(dataset, 4, shuffle=True, num_workers=workers, collate_fn=list)
    items = [item for batch in loader for item in batch]
    assert sorted(item["number"] for item in items) == list(range(COUNT))
    for item in items:
        want = sample(item["number"])
        assert item.keys() == want.keys()
        np.testing.assert_array_equal(item["image"], want["image"])
        np.testing.assert_array_equal(item["labels"]["id"], want["labels"]["id"])


def test_samples_of_a_dataset_may_be_changed(folder: Path) -> None:
    dataset = btt.FileDataset(folder, item_transform=lambda item: item["image"])
    assert len(dataset) == COUNT
    dataset[3][:] = 77
    assert dataset[3].max() == 3
    with pytest.raises(IndexError):
        dataset[COUNT]
