"""What all exports share: splits, names of classes, missing libraries, targets, pictures, summaries."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from export_samples import CLASSES, METADATA, samples
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ConfigError, LabelError
from blendtorch.export import ExportSummary
from blendtorch.export.classes import class_name, class_names, exported_classes
from blendtorch.export.missing import need
from blendtorch.export.pictures import checked_image_format, image_file, image_of
from blendtorch.export.splits import checked_fractions, episode_of, split_of
from blendtorch.export.target import new_file, new_folder
from blendtorch.labels import check_labels
from blendtorch.recording import Recording, RecordingWriter


def test_the_samples_of_these_tests_have_right_labels() -> None:
    for sample in samples():
        assert check_labels(sample["labels"], ids=sample["ids"], depth=sample["depth"]) == []


# ---- splits


def test_splits_stay_as_they_are() -> None:
    """In every version: otherwise yesterday's training pictures are tomorrow's validation."""
    made = [split_of(f"{index:09d}-000000000") for index in range(25)]
    assert "".join(name[0] for name in made) == "vtttttvtttttvtttttvtttttt"
    assert split_of("left-camera") == "train"


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_an_episode_is_in_one_split(index: int, one: int, other: int) -> None:
    halves = {"a": 0.5, "b": 0.5}
    assert split_of(f"{index:09d}-{one:09d}", halves) == split_of(f"{index:09d}-{other:09d}", halves)


def test_shares_are_those_asked_for() -> None:
    fractions = {"train": 0.7, "val": 0.2, "test": 0.1}
    counts = Counter(split_of(f"{index:09d}-0000", fractions) for index in range(10_000))
    for name, fraction in fractions.items():
        assert counts[name] == pytest.approx(10_000 * fraction, abs=4 * np.sqrt(10_000 * fraction * (1 - fraction)))


def test_a_split_that_grows_keeps_what_it_had() -> None:
    keys = [f"{index:09d}-0000" for index in range(500)]
    few = {key for key in keys if split_of(key, {"train": 0.5, "val": 0.5}) == "train"}
    more = {key for key in keys if split_of(key, {"train": 0.6, "val": 0.4}) == "train"}
    assert few < more


def test_names_are_episodes_of_their_own() -> None:
    assert episode_of("000000007-000000002") == "000000007"
    for name in ("table", "table-2a", "left-camera", "000000007"):
        assert episode_of(name) == name


def test_no_key_falls_out_of_shares_that_sum_to_a_little_less() -> None:
    """The one of ten million keys that would, by 0.00000006."""
    assert split_of("005899949-0000", {"train": 1.0 - 1e-7, "val": 0.0}) == "train"


@pytest.mark.parametrize(
    ("fractions", "says"),
    [
        ({}, "expected shares such as"),
        ([("train", 1.0)], "expected shares such as"),
        ({"train": 0.9}, "which sum to 0.9"),
        ({"train": 0.9, "val": 0.2}, "which sum to 1.1"),
        ({"train": 1.5, "val": -0.5}, "from 0 to 1 for 'train'"),
        ({"train": float("nan"), "val": 1.0}, "from 0 to 1 for 'train'"),
        ({"train": True}, "from 0 to 1"),
        ({"../train": 1.0}, "expected names of letters"),
        ({"": 1.0}, "expected names of letters"),
        ({1: 1.0}, "expected names of letters"),
    ],
)
def test_other_shares_are_refused(fractions: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        checked_fractions(fractions)
    with pytest.raises(ConfigError, match=re.escape(says)):
        split_of("000000000-0000", fractions)


# ---- classes


def test_names_of_classes() -> None:
    assert class_names(METADATA) == CLASSES
    assert class_names({}) == {}
    assert list(class_names({"classes": {"10": "b", "9": "a"}})) == [9, 10]
    assert [class_name(one, CLASSES) for one in (0, 2, 7)] == ["object", "post", "class_7"]


@pytest.mark.parametrize("classes", [["car"], {"car": 1}, {"-1": "car"}, {"1": ""}, {"1": 5}, {str(2**32): "car"}])
def test_other_names_are_refused(classes: object) -> None:
    with pytest.raises(ConfigError, match="metadata: expected"):
        class_names({"classes": classes})


def test_which_classes_are_exported() -> None:
    assert exported_classes([0, 7, 1], CLASSES) == {**CLASSES, 7: "class_7"}
    assert exported_classes([0, 7], {}, "keep") == {0: "object", 7: "class_7"}
    assert exported_classes([0], {}) == {0: "object"}
    assert exported_classes([0], {}, "skip") == {}
    assert exported_classes([0], CLASSES) == CLASSES
    assert exported_classes([], {0: "floor", 1: "car"}) == {0: "floor", 1: "car"}
    assert exported_classes([], {1: "car", 4: "car"}) == {1: "car", 4: "car_4"}
    with pytest.raises(ConfigError, match="without_class: expected one of auto, skip, keep"):
        exported_classes([], {}, "drop")  # type: ignore[arg-type]


# ---- missing libraries


def test_a_missing_library_is_named_with_the_command() -> None:
    with pytest.raises(
        ConfigError, match=re.escape('no no_such_library, which this needs: pip install "blendtorch[view]"')
    ):
        need("no_such_library.part", extra="view")
    assert need("json.decoder", extra="export").JSONDecodeError is not None


def test_what_an_installed_library_lacks_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match="broken_library is installed and lacks not_there_at_all: pip install not_there"
    ):
        need("broken_library", extra="export")


def test_the_package_needs_none_of_the_libraries_of_formats() -> None:
    script = """
import sys
import blendtorch.export
heavy = {"pycocotools", "contourpy", "h5py", "rerun", "av", "imageio", "torch", "cv2"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# ---- targets


def test_a_folder_is_there_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "set.v2"
    with new_folder(target) as partial:
        (partial / "a").write_text("1")
        assert not target.exists()
        assert partial == tmp_path / "new" / "set.v2.partial"
    assert (target / "a").read_text() == "1"
    assert os.listdir(tmp_path / "new") == ["set.v2"]


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    with new_folder(tmp_path / "set") as partial:
        (tmp_path / "set").mkdir()
        (partial / "a").write_text("1")
    assert os.listdir(tmp_path / "set") == ["a"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("1")
    (tmp_path / "file").write_text("1")
    with pytest.raises(ConfigError, match="set is not empty; nothing is overwritten"), new_folder(tmp_path / "set"):
        pass
    with pytest.raises(ConfigError, match="file is a file"), new_folder(tmp_path / "file"):
        pass
    with pytest.raises(ConfigError, match="file exists; nothing is overwritten"), new_file(tmp_path / "file"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file", "set"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "set") as partial:
        (partial / "a").write_text("1")
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "film.mp4") as path:
        path.write_text("1")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_an_interrupted_export_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    script = f"""
import os
from blendtorch.export.target import new_folder
with new_folder({str(tmp_path / "set")!r}) as partial:
    (partial / "a").write_text("1")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 9
    assert os.listdir(tmp_path) == ["set.partial"]
    with pytest.raises(ConfigError, match="was interrupted"), new_folder(tmp_path / "set"):
        pass
    assert os.listdir(tmp_path / "set.partial") == ["a"]


def test_a_file_keeps_its_suffix_meanwhile(tmp_path: Path) -> None:
    with new_file(tmp_path / "new" / "film.mp4") as path:
        assert path == tmp_path / "new" / "film.partial.mp4"
        path.write_text("1")
    assert os.listdir(tmp_path / "new") == ["film.mp4"]


# ---- pictures and summaries


def test_pictures() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    assert image_of({"image": rgba}).shape == (5, 7, 4)
    assert image_of({"image": rgba[..., 0]}).shape == (5, 7, 3)
    assert image_of({"image": rgba[..., :1]}).shape == (5, 7, 3)
    assert image_file(rgba, "png", 95)[:4] == b"\x89PNG"
    assert image_file(rgba, "jpg", 95)[:2] == b"\xff\xd8"
    for wrong in (rgba.astype(np.float32), rgba[0, 0], rgba[:0], rgba[..., :2], [1, 2]):
        with pytest.raises(LabelError, match="image: expected a picture, H x W x 3 or 4 uint8, got"):
            image_of({"image": wrong})
    for options in (("bmp", 95), ("jpg", 0), ("jpg", 101)):
        with pytest.raises(ConfigError, match="expected"):
            checked_image_format(*options)


def test_a_summary_says_what_was_written_and_what_was_not() -> None:
    summary = ExportSummary("COCO", Path("set"))
    summary.count("images", 1200)
    summary.count("images")
    summary.count("masks", 0)
    summary.leave_out("samples without labels", 3)
    summary.leave_out("never", 0)
    summary.problem("one")
    summary.problem("one")
    assert str(summary).splitlines() == [
        "COCO in set",
        "  1,201 images",
        "  0 masks",
        "  left out: 3 samples without labels",
        "  note: one",
    ]
    for number in range(100):
        summary.problem(str(number))
    assert len(summary.problems) == summary.MAX_PROBLEMS


def test_samples_that_a_writer_names_stay_together_by_episode(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path) as writer:
        for number in range(200):
            writer.write({"btindex": number // 10, "btseq": number})
    merged = Recording(tmp_path)
    splits: dict[int, set[str]] = {}
    for key, sample in zip(merged.keys, merged, strict=True):
        splits.setdefault(sample["btindex"], set()).add(split_of(key, {"train": 0.5, "val": 0.5}))
    assert all(len(found) == 1 for found in splits.values())
    assert {next(iter(found)) for found in splits.values()} == {"train", "val"}
    assert episode_of("r1-000000007-0002") == episode_of("r1-000000007-s000000009") == "r1-000000007"
