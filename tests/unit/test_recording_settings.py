"""Settings of a recording: what is out of range, when the disk is waited for, when a shard ends, whose folder it is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_samples import assert_sample, key_of, record, sample

from blendtorch.errors import ConfigError, RecordingError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter

BAD: dict[str, Any] = {
    "folder": ["", None, 3, b"x", []],
    "encode": [
        {"image": "gif"},
        {"image": "PNG"},
        {"image": ""},
        {"image": None},
        {"image": []},
        "png",
        ["image"],
        None,
        1,
    ],
    "quality": [0, 101, -1, "95", None, 95.5, float("nan")],
    "shard_samples": [0, -1, "5", None, 1.5, float("nan"), float("inf")],
    "shard_bytes": [0, -1, "5", None, 1.5, float("nan"), float("inf")],
    "fsync": ["", "always", None, True, 0, "Never", []],
    "metadata": [
        {"x": {1, 2}},
        {"x": np.zeros(2)},
        {"x": np.float32(1)},
        {"x": b"x"},
        {"x": Path()},
        None,
        1,
        "x",
        [("a", 1)],
        {"x": 10**5000},
    ],
}
CASES = [(name, value) for name, values in BAD.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{n} {i}" for n in BAD for i in range(len(BAD[n]))])
def test_what_is_out_of_range_is_told(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        RecordingSettings(**{"folder": tmp_path / "new", name: value})
    assert not (tmp_path / "new").exists()


def test_metadata_in_itself_is_told() -> None:
    circle: dict[str, Any] = {}
    circle["x"] = circle
    with pytest.raises(ConfigError, match="metadata"):
        RecordingSettings("x", metadata=circle)


@pytest.mark.parametrize("record", [None, 3, b"x", {"folder": "x"}])
def test_a_writer_takes_a_path_or_settings(record: Any) -> None:
    with pytest.raises(ConfigError, match="folder"):
        RecordingWriter(record)


def test_settings_are_as_they_were_given(tmp_path: Path) -> None:
    settings = RecordingSettings(tmp_path / "a" / "b", {"x": "png"}, 1, 1, 1, "never", {"a": [1, {"b": None}]})
    with RecordingWriter(settings) as writer:
        assert writer.settings is settings
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(AttributeError):
        settings.quality = 5  # type: ignore[misc]


def test_metadata_changed_later_does_not_change_the_settings(tmp_path: Path) -> None:
    given: dict[str, Any] = {"seed": 1}
    writer = RecordingWriter(RecordingSettings(tmp_path, metadata=given))
    given["seed"] = {1, 2}
    writer.write({"x": 1})
    writer.close()
    assert Recording(tmp_path).metadata["seed"] == 1


# --- Shards ----------------------------------------------------------------------------------------------------------


def lengths(folder: Path) -> list[int]:
    return [len(Recording(shard)) for shard in sorted(folder.glob("*.tar"))]


def test_a_shard_ends_with_its_number_of_samples(tmp_path: Path) -> None:
    with RecordingWriter(RecordingSettings(tmp_path, shard_samples=3)) as writer:
        for number in range(7):
            writer.write(sample(number))
            assert len(list(tmp_path.glob("*.partial"))) == (number % 3 != 2)
    assert lengths(tmp_path) == [3, 3, 1]
    record(tmp_path, [sample(number) for number in range(7, 9)], shard_samples=3)
    assert lengths(tmp_path) == [3, 3, 1, 2]


def test_a_shard_ends_with_its_number_of_bytes(tmp_path: Path) -> None:
    (probe,) = record(tmp_path / "probe", [sample(0)])
    one = len(probe.read_bytes())
    record(tmp_path / "small", [sample(number) for number in range(4)], shard_bytes=1)
    assert lengths(tmp_path / "small") == [1, 1, 1, 1]
    record(tmp_path / "two", [sample(number) for number in range(5)], shard_bytes=one + 100)
    assert lengths(tmp_path / "two") == [2, 2, 1]


def test_an_empty_recording_leaves_an_empty_folder(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_within_leaves_what_was_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with RecordingWriter(tmp_path) as writer:
            writer.write(sample(0))
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["samples-00-00000.tar"]
    assert_sample(Recording(tmp_path)[0], sample(0))


# --- The disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fsync", "waits"), [("never", 0), ("shard", 2), ("sample", 5)])
def test_when_the_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any, waits: int) -> None:
    """Of files; with names of shards it is the folder that is waited for."""
    files: list[str] = []
    folders: list[str] = []
    fsync_of = os.fsync

    def counted(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        (folders if os.path.isdir(path) else files).append(path)
        fsync_of(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    record(tmp_path, [sample(number) for number in range(3)], shard_samples=2, fsync=fsync)
    assert len(files) == waits
    assert len(folders) >= (0 if fsync == "never" else 2)
    assert not folders or fsync != "never"
    assert all(path == str(tmp_path) for path in folders)


def test_with_each_sample_the_name_of_its_file_is_waited_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fsync of a file says nothing of its name in the folder (fsync(2)): after a loss of power it may not be there."""
    waited: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: waited.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    writer = RecordingWriter(RecordingSettings(tmp_path, fsync="sample"))
    writer.write(sample(0))
    assert str(tmp_path) in waited
    writer.close()


# --- Whose folder ----------------------------------------------------------------------------------------------------

IDENTITY: dict[str, Any] = {
    "seed": 3,
    "scene": {"name": "a.blend", "sha256": "00"},
    "script": {"name": "a.py", "sha256": "11"},
    "instance_args": [["--x", "1"], ["--x", "2"]],
}


def begin(folder: Path, metadata: Mapping[str, Any]) -> RecordingWriter:
    return RecordingWriter(RecordingSettings(folder, metadata=metadata))


@pytest.mark.parametrize("name", IDENTITY)
@pytest.mark.parametrize("ended", [True, False])
def test_a_recording_of_something_else_is_not_gone_on_with(tmp_path: Path, name: str, ended: bool) -> None:
    writer = begin(tmp_path, IDENTITY)
    writer.write(sample(0))
    if ended:
        writer.close()
    other = {"seed": 4, "scene": {"name": "a.blend", "sha256": "01"}, "script": {}, "instance_args": []}[name]
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.glob("samples*"))
    with pytest.raises(
        ConfigError, match=rf"(its {name} is .*, this one's is|a.blend was changed since).*Choose another folder"
    ):
        begin(tmp_path, {**IDENTITY, name: other})
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.glob("samples*")) == before
    writer.close()


def test_the_same_recording_is_gone_on_with(tmp_path: Path) -> None:
    for number in range(3):
        with begin(tmp_path, {**IDENTITY, "note": number}) as writer:
            assert [writer.write(sample(i)) for i in range(number + 1)] == [False] * number + [True]
    assert Recording(tmp_path).keys == [key_of(number) for number in range(3)]


@pytest.mark.parametrize(
    "metadata",
    [{"seed": (1, 2)}, {"instance_args": (("--x",), ())}, {"scene": {1: "a"}}, {"seed": float("nan")}, {"seed": 2**80}],
    ids=str,
)
def test_what_json_changes_is_the_same_all_the_same(tmp_path: Path, metadata: dict[str, Any]) -> None:
    for number in range(2):
        with begin(tmp_path, metadata) as writer:
            assert writer.write(sample(number))


@pytest.mark.parametrize("name", IDENTITY)
def test_what_is_not_known_of_one_of_them_is_no_difference(tmp_path: Path, name: str) -> None:
    without = {key: value for key, value in IDENTITY.items() if key != name}
    for number, metadata in enumerate((IDENTITY, without, IDENTITY, {})):
        with begin(tmp_path, metadata) as writer:
            assert writer.write(sample(number))
    with pytest.raises(ConfigError, match=f"its {name} is"):
        begin(tmp_path, {name: "other"})


def test_each_of_several_recordings_in_a_folder_is_compared(tmp_path: Path) -> None:
    """Two writers at the same time may have begun without seeing each other."""
    writers = [begin(tmp_path, {"seed": seed}) for seed in (1, 2)]
    for writer in writers:
        writer.write(sample(writers.index(writer)))
        writer.close()
    with pytest.raises(ConfigError, match="its seed is"):
        begin(tmp_path, {"seed": 2})


def test_a_folder_of_other_files_is_recorded_into(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    record(tmp_path, [sample(0)])
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(Recording(tmp_path)) == 1


def test_a_folder_with_a_tar_of_others_is_recorded_into_or_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_bytes(b"mine" * 1000)
    try:
        record(tmp_path, [sample(0)])
    except (ConfigError, RecordingError) as error:
        told = str(error)
    else:
        told = "backup.tar; recorded"
        assert len(Recording(tmp_path)) == 1
    assert "backup.tar" in told
    assert (tmp_path / "backup.tar").read_bytes() == b"mine" * 1000


def test_encodings_may_change_when_a_recording_is_gone_on_with(tmp_path: Path) -> None:
    record(tmp_path, [sample(0)])
    record(tmp_path, [sample(1)], encode={"image": "png"})
    recording = Recording(tmp_path)
    for number in range(2):
        assert_sample(recording[number], sample(number))
    assert recording.schema["image"].encoding == ""
