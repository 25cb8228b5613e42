"""Where streams go on that were recorded before."""

from pathlib import Path

import pytest

from blendtorch.errors import ConfigError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter
from blendtorch.recording.origin import check_same_stream
from blendtorch.recording.resume import key_of, positions_after


def record(folder: Path, places: list[tuple[int, int]], num_instances: int | None, worker: int = 0) -> None:
    metadata = {} if num_instances is None else {"num_instances": num_instances}
    with RecordingWriter(RecordingSettings(folder, metadata=metadata), worker=worker) as writer:
        for index, rank in places:
            assert writer.write({}, key_of(index, rank))


def episodes(counts: dict[int, int]) -> list[tuple[int, int]]:
    return [(index, rank) for index, count in counts.items() for rank in range(count)]


@pytest.mark.parametrize(
    ("counts", "before", "now", "want"),
    [
        ({0: 3}, 1, 1, [(0, 0, 0)]),  # nobody knows whether that was all
        ({0: 3, 1: 3, 2: 1}, 1, 1, [(6, 2, 0)]),
        ({0: 3, 1: 2}, 2, 2, [(0, 0, 0), (0, 1, 0)]),
        ({0: 3, 1: 3, 2: 1}, 2, 2, [(3, 2, 0), (0, 1, 0)]),
        ({0: 2, 1: 1}, 2, 1, [(0, 0, 0)]),
        ({0: 3, 1: 2, 2: 1}, 2, 1, [(3, 1, 0)]),  # 0 is whole, for its instance went on to 2
        ({0: 3, 1: 3, 2: 3, 3: 1}, 1, 2, [(6, 4, 0), (3, 3, 0)]),
        ({1: 4}, 2, 2, [(0, 0, 0), (0, 1, 0)]),
        ({0: 3, 2: 3, 4: 1}, 2, 2, [(6, 4, 0), (0, 1, 0)]),
        ({0: 1, 3: 1}, 1, 1, [(1, 3, 0)]),  # 1 and 2 have no samples
        ({0: 3, 1: 1}, None, 1, [(0, 0, 0)]),  # nobody knows whose they are
    ],
)
def test_each_instance_goes_on_with_what_is_not_there_in_full(
    tmp_path: Path, counts: dict[int, int], before: int | None, now: int, want: list[tuple[int, int, int]]
) -> None:
    record(tmp_path, episodes(counts), before)
    assert positions_after(Recording(tmp_path), now) == want


def test_shards_of_several_launches_count_each_by_its_own_number_of_instances(tmp_path: Path) -> None:
    record(tmp_path, episodes({0: 2, 1: 1}), 2)
    record(tmp_path, [(0, 2), *episodes({2: 2})], 2)  # instance 0 goes on: 0 is whole now
    record(tmp_path, [(1, 1), (1, 2), (3, 0)], 2, worker=1)
    assert positions_after(Recording(tmp_path), 2) == [(3, 2, 0), (3, 3, 0)]
    assert positions_after(Recording(tmp_path), 1) == [(6, 2, 0)]


def test_keys_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path) as writer:
        for key in ("cube", "a-b", "7", "3-x"):
            writer.write({}, key)
    assert positions_after(Recording(tmp_path), 1) == [(0, 0, 0)]


def test_far_indices_take_no_time(tmp_path: Path) -> None:
    record(tmp_path, [(10_000_001, 0)], 1)
    assert positions_after(Recording(tmp_path), 2) == [(0, 10_000_002, 0), (0, 10_000_001, 0)]


HASHED = {"name": "a.blend", "sha256": "1"}


@pytest.mark.parametrize(
    ("before", "here", "told"),
    [
        (HASHED, {"name": "b.blend", "sha256": "1"}, "its scene is a.blend, this one's is b.blend"),
        (HASHED, {"name": "a.blend", "sha256": "2"}, "a.blend was changed since it was made"),
        ({"name": "a.blend"}, HASHED, "one of both is recorded by the panel"),
        (HASHED, {"name": "a.blend"}, "one of both is recorded by the panel"),
        (None, HASHED, "its scene is None, this one's is a.blend"),
    ],
)
def test_why_it_is_another_stream(before, here, told) -> None:
    with pytest.raises(ConfigError, match=told):
        check_same_stream(Path("folder"), {"scene": before}, {"scene": here})
