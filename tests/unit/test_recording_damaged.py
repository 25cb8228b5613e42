"""Shards that were cut or have changed: never an error but RecordingError, never a sample that was not recorded."""

import io
import os
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact import assert_exact
from recording_samples import (
    HONEST,
    assert_sample,
    honest,
    key_of,
    member,
    npy,
    readable,
    record,
    run,
    sample,
    shard_of,
)

from blendtorch.errors import MissingFileError, RecordingError
from blendtorch.recording import Recording, RecordingWriter
from blendtorch.recording.tar import BLOCK

COUNT = 3


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A small shard, as if its writer had been interrupted, so that no index of it is kept."""
    (path,) = record(tmp_path, [sample(number) for number in range(COUNT)])
    return path.rename(path.with_name(path.name + ".partial"))


def assert_only_ours(found: dict[str, dict[str, Any]]) -> None:
    for key, one in found.items():
        assert_sample(one, sample(int(key[:9])), key)


def cuts(size: int) -> list[int]:
    blocks = list(range(0, size, BLOCK))
    return sorted({*blocks, *(cut + odd for cut in blocks for odd in (1, 124, 257, 511)), size - 1, size})


def test_a_shard_that_is_cut_anywhere_has_the_samples_before(shard: Path) -> None:
    data = shard.read_bytes()
    with tarfile.open(shard) as file:
        members = file.getmembers()
    ends = [m.offset_data + -(-m.size // BLOCK) * BLOCK for m in members if m.name.endswith(".json")]
    first = members[1].offset
    for cut in cuts(len(data)):
        shard.write_bytes(data[:cut])
        if cut < first:
            with pytest.raises((RecordingError, MissingFileError), match=r"\.tar\.partial "):
                Recording(shard)
            continue
        found = readable(shard)
        assert sorted(found) == [key_of(number) for number in range(sum(end <= cut for end in ends))], cut
        assert_only_ours(found)


def test_an_ended_shard_that_was_cut_is_told(shard: Path) -> None:
    """By what copied it, say: between two samples nothing else shows that there were more."""
    data = shard.read_bytes()
    with tarfile.open(shard) as file:
        members = file.getmembers()
    ended = shard.rename(shard.with_name("samples-00-00000.tar"))
    for cut in [m.offset for m in members[1:]] + [m.offset + 700 for m in members[1:]] + [len(data) - 1024]:
        ended.write_bytes(data[:cut])
        recording = Recording(ended)
        assert recording.problems, f"cut at {cut} of {len(data)}"
        assert len(recording) < COUNT or cut == len(data) - 1024


def headers(path: Path) -> list[int]:
    with tarfile.open(path) as file:
        return [one.offset for one in file.getmembers()]


def test_a_byte_that_changes_in_a_header_costs_samples_and_gives_none_that_are_wrong(shard: Path) -> None:
    data = shard.read_bytes()
    rng = random.Random(0)
    places = headers(shard)
    lost = 0
    for _ in range(300):
        changed = bytearray(data)
        at = rng.choice(places) + rng.choice([rng.randrange(BLOCK), rng.randrange(100), rng.randrange(124, 157)])
        changed[at] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
        shard.write_bytes(changed)
        found = readable(shard)
        assert_only_ours(found)
        lost += len(found) < COUNT
    assert lost > 200  # or nothing was changed


def test_a_byte_that_changes_anywhere_changes_no_other_field(shard: Path) -> None:
    """What .npy members hold has no checksum: a change there is not noticed, and stays within its field."""
    data = shard.read_bytes()
    with tarfile.open(shard) as file:
        members = file.getmembers()
    rng = random.Random(1)
    unnoticed = 0
    for _ in range(400):
        one = rng.choice(members)
        at = one.offset_data + rng.randrange(one.size)
        changed = bytearray(data)
        changed[at] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
        shard.write_bytes(changed)
        key, _, field = one.name.partition(".")
        found = readable(shard)
        touched = found.pop(key, None)
        assert_only_ours(found)
        if touched is None:
            continue
        unnoticed += 1
        expected = sample(int(key[:9]))
        arrays = [name for name in ("image", "depth") if f"{name}.npy" != field]
        for name in arrays:
            assert_exact(touched[name], expected[name])
        if field != "json":
            for name in expected.keys() - {"image", "depth"}:
                assert_exact(touched[name], expected[name])
    assert unnoticed > 100


@pytest.mark.parametrize("gap", ["zeros", "noise"])
def test_a_hole_costs_what_lies_behind_it_and_gives_nothing_wrong(shard: Path, gap: str) -> None:
    """A disk that lost power may have blocks of zeros, or of older files."""
    data = shard.read_bytes()
    rng = random.Random(2)
    for start in range(0, len(data) - BLOCK, BLOCK):
        changed = bytearray(data)
        changed[start : start + 2 * BLOCK] = bytes(2 * BLOCK) if gap == "zeros" else rng.randbytes(2 * BLOCK)
        shard.write_bytes(changed[: len(data)])
        for key, found in readable(shard).items():
            assert found["btindex"] == int(key[:9])


def test_blocks_in_another_order_give_nothing_wrong(shard: Path) -> None:
    data = shard.read_bytes()
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    rng = random.Random(3)
    for _ in range(200):
        order = list(blocks)
        for _ in range(rng.choice([1, 3, 9])):
            i, j = rng.randrange(1, len(order)), rng.randrange(1, len(order))
            change = rng.randrange(3)
            if change == 0:
                order[i], order[j] = order[j], order[i]
            elif change == 1:
                order.insert(i, order[j])
            else:
                del order[i]
        shard.write_bytes(b"".join(order))
        readable(shard)


def test_a_shard_goes_on_behind_damage_of_one_sample(tmp_path: Path) -> None:
    broken = member("b.x.npy", b"no array") + member("b.json", b'{"n":1}')
    path = shard_of(tmp_path / "r", honest("a"), broken, honest("c"), member("d.json", b"{"), honest("e"))
    recording = Recording(path)
    assert recording.keys == ["a", "c", "d", "e"]
    assert (recording.skipped, len(recording.problems)) == (1, 1)
    assert "b.x.npy is no array" in recording.problems[0]
    with pytest.raises(RecordingError, match=r"made\.tar: d\.json is not the JSON of a sample"):
        recording[2]
    assert_sample(recording[3], HONEST)


def test_many_problems_are_told_in_few_words(tmp_path: Path) -> None:
    broken = [member(f"k{i}.x.npy", b"") + member(f"k{i}.json", b"{}") for i in range(500)]
    recording = Recording(shard_of(tmp_path / "r", *broken, honest("a")))
    assert (len(recording), recording.skipped) == (1, 500)
    assert len(recording.problems) <= 30


def test_a_sample_that_is_there_twice_in_a_shard_is_read_once(tmp_path: Path) -> None:
    second = member("a.x.npy", npy(np.ones(2))) + member("a.json", b"{}")
    recording = Recording(shard_of(tmp_path / "r", honest("a"), second, honest("b")))
    assert (recording.keys, recording.skipped) == (["a", "b"], 1)
    assert_sample(recording[0], HONEST)


def test_a_shard_among_others_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    record(tmp_path, [sample(number) for number in range(3)], shard_samples=1)
    (tmp_path / "samples-00-00001.tar").write_bytes(b"junk")
    recording = Recording(tmp_path)
    assert recording.keys == [key_of(0), key_of(2)]
    assert len(recording.problems) == 1
    assert "samples-00-00001.tar" in recording.problems[0]


# --- Files that change while they are open ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["half", 0])
def test_a_shard_that_shrinks_after_it_was_opened_is_a_recording_error(tmp_path: Path, size: Any) -> None:
    (path,) = record(tmp_path, [sample(number, 64) for number in range(4)])
    recording = Recording(path)
    os.truncate(path, path.stat().st_size // 2 if size == "half" else size)
    with pytest.raises(RecordingError, match="changed"):
        recording[3]
    if size == "half":
        assert_sample(recording[0], sample(0, 64))


def test_a_shard_that_is_removed_after_it_was_opened_is_an_error_of_ours_or_of_the_system(tmp_path: Path) -> None:
    (path,) = record(tmp_path, [sample(number) for number in range(2)])
    looked_at, unseen = Recording(path), Recording(path)
    assert_sample(looked_at[0], sample(0))
    path.unlink()
    assert_sample(looked_at[1], sample(1))  # it is open
    with pytest.raises(FileNotFoundError, match=path.name):
        unseen[0]


SHRINK = """
import os, sys
from blendtorch.errors import MissingFileError, RecordingError
from blendtorch.recording import Recording, RecordingWriter
recording = Recording(sys.argv[1])
view = recording[3]["image"]
os.truncate(sys.argv[1], 4096)
if sys.argv[2] == "view":
    print(view.sum())
try:
    print({name: float(value.sum()) for name, value in recording[3].items() if name in ("image", "depth")})
except RecordingError as error:
    print(error)
"""


def test_a_sample_of_a_shard_that_shrank_is_an_error_after_others_of_it_were_read(tmp_path: Path) -> None:
    """Reading memory that is mapped to nothing kills the process (SIGBUS); a look at the file's size comes before."""
    (path,) = record(tmp_path, [sample(number, 64) for number in range(4)])
    assert "changed" in run(SHRINK, path, "sample")


def test_a_view_of_a_shard_that_shrank_kills_its_process(tmp_path: Path) -> None:
    """Known, and the same with any memory-mapped file: copy arrays out before somebody truncates the file."""
    (path,) = record(tmp_path, [sample(number, 64) for number in range(4)])
    run(SHRINK, path, "view", returncode=-7)


def test_a_file_that_is_replaced_by_another_leaves_views_as_they_are(tmp_path: Path) -> None:
    (path,) = record(tmp_path, [sample(0)])
    recording = Recording(path)
    view = recording[0]["image"]
    other = path.with_name("other")
    other.write_bytes(bytes(10))
    other.replace(path)
    assert np.array_equal(view, sample(0)["image"])


def test_an_archive_in_the_middle_of_nowhere_is_none(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "text": b"x" * 5000, "zeros": bytes(5000), "gzip": b"\x1f\x8b" * 600}.items():
        path = tmp_path / f"{name}.tar"
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=f"{name}.tar .*Expected what btt.RecordingWriter"):
            Recording(path)


def test_a_tar_of_others_is_told(tmp_path: Path) -> None:
    import webdataset

    foreign = tmp_path / "foreign.tar"
    with webdataset.TarWriter(str(foreign)) as writer:
        writer.write({"__key__": "000", "image.npy": np.zeros(3), "json": {"a": 1}})
    plain = tmp_path / "plain.tar"
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(plain, "w", format=form) as file:
            about = tarfile.TarInfo("a.json" if form != tarfile.PAX_FORMAT else "ä" * 120)
            about.size = 2
            file.addfile(about, io.BytesIO(b"{}"))
        for path in (foreign, plain):
            with pytest.raises(RecordingError, match=r"does not begin as a recording.* Expected what .* has written"):
                Recording(path)


def test_going_on_keeps_what_lies_behind_an_empty_part(tmp_path: Path) -> None:
    """As a loss of power may leave it; the shard is left as it is, for whoever may save more of it."""
    (shard,) = record(tmp_path, [sample(number) for number in range(20)])
    content = bytearray(shard.read_bytes())
    middle = len(content) // 2 // 512 * 512
    content[middle : middle + 4096] = bytes(4096)
    shard.unlink()
    partial = shard.with_name(shard.name + ".partial")
    partial.write_bytes(content)
    with RecordingWriter(tmp_path, worker=1) as writer:
        writer.write(sample(100))
    assert partial.read_bytes() == content
    recording = Recording(tmp_path)
    assert recording.skipped >= 1
    assert "is empty, and more follows" in recording.problems[0] or "is no" in recording.problems[0]
    assert len(recording) > 5
