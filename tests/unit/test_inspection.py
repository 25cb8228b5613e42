"""`inspect`: a clean recording has no findings, and each planted fault is one."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from export_samples import CLASSES, METADATA, empty_sample, full_sample, write_recording
from export_samples import samples as six_samples

from blendtorch.btt.inspection import Inspection, inspect
from blendtorch.errors import ConfigError
from blendtorch.recording import Recording, RecordingSettings, RecordingWriter

Samples = list[dict[str, Any]]


def clean_samples() -> Samples:
    """Three episodes of two frames, so far apart that none looks like another one."""
    return [{**full_sample(8 * i), "btid": i % 2, "btindex": i // 2, "btseq": i} for i in range(6)]


def kinds(inspection: Inspection) -> set[str]:
    return {finding.kind for finding in inspection.findings}


def problems(inspection: Inspection) -> set[str]:
    return {finding.kind for finding in inspection.findings if finding.is_problem}


def text_of(inspection: Inspection, kind: str) -> str:
    (finding,) = [finding for finding in inspection.findings if finding.kind == kind]
    return finding.text


def test_a_clean_recording_has_no_findings(tmp_path: Path) -> None:
    recording = write_recording(tmp_path, clean_samples())
    inspection = inspect(recording, check=True)
    assert inspection.findings == []
    assert inspection.is_clean
    assert (inspection.samples, inspection.inspected, inspection.unreadable) == (6, 6, 0)
    assert (inspection.skipped, inspection.problems) == (0, [])
    assert (inspection.shards, inspection.nbytes_on_disk) == (1, sum(f.stat().st_size for f in tmp_path.glob("*.tar")))
    assert inspection.instances == {0: 3, 1: 3}
    assert (inspection.episodes.count, inspection.episodes.min, inspection.episodes.max) == (3, 2, 2)
    assert inspection.metadata["classes"] == METADATA["classes"]
    assert inspection.check.checked == 6
    assert inspection.check.wrong == 0
    assert [count.name for count in inspection.labels.classes.values()] == ["no class", "car", "post", "ball"]


def test_a_recording_tells_the_same_as_its_samples(tmp_path: Path) -> None:
    made = clean_samples()
    stored, listed = inspect(write_recording(tmp_path, made)), inspect(made, classes=CLASSES)
    assert {field.encoding for field in stored.fields.values()} == {"npy", "json"}
    assert {field.encoding for field in listed.fields.values()} == {None}
    one, other = stored.to_dict(), listed.to_dict()
    for field in one["fields"].values():
        field["encoding"] = None
    assert one["fields"] == other["fields"]
    assert one["labels"] == other["labels"]
    assert one["pictures"] == other["pictures"]


def test_pictures_are_measured() -> None:
    made = clean_samples()
    images = np.stack([sample["image"] for sample in made])
    pictures = inspect(made).pictures
    assert (pictures.field, pictures.pictures, pictures.distinct, pictures.blank) == ("image", 6, 6, 0)
    means = images.reshape(6, -1).mean(axis=1)
    np.testing.assert_allclose(
        (pictures.brightness.mean, pictures.brightness.std), (means.mean(), means.std()), rtol=1e-9
    )
    np.testing.assert_array_equal(pictures.brightness_counts, np.histogram(means, 64, (0, 256))[0])
    expected = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)]
    np.testing.assert_array_equal(pictures.value_counts, expected)
    image = inspect(made).fields["image"].range
    np.testing.assert_allclose((image.mean, image.std), (images.mean(), images.std()), rtol=1e-12)


def test_alpha_is_no_brightness() -> None:
    made = clean_samples()
    for sample in made:
        sample["image"] = np.dstack([sample["image"], np.full(sample["image"].shape[:2], 255, np.uint8)])
    pictures = inspect(made).pictures
    assert pictures.brightness == inspect(clean_samples()).pictures.brightness
    assert pictures.value_counts.shape == (4, 256)


def copy_a_picture(made: Samples) -> None:
    made[4]["image"] = made[1]["image"].copy()


def freeze(made: Samples) -> None:
    for sample in made:
        sample["image"] = made[0]["image"].copy()


def freeze_all_but_noise(made: Samples) -> None:
    for i, sample in enumerate(made):
        sample["image"] = made[0]["image"].copy()
        sample["image"][0, 0, 0] += i
        sample["labels"] = made[0]["labels"]


def blacken(made: Samples) -> None:
    made[2]["image"][:] = (0, 0, 7)


def empty(made: Samples) -> None:
    made[3] = {**empty_sample(3), "image": made[3]["image"], "btindex": 3}


def hide_all(made: Samples) -> None:
    instances = made[3]["labels"]["instances"]
    instances["pixels"][:] = 0
    instances["box"][:] = 0


def poison(made: Samples) -> None:
    made[5]["normals_camera"][3, 3, 0] = np.nan


def poison_a_label(made: Samples) -> None:
    made[5]["labels"]["instances"]["visible_fraction"][2] = np.nan


def overflow(made: Samples) -> None:
    made[5]["normals_camera"][3, 3, 0] = np.inf


def see_backwards(made: Samples) -> None:
    made[5]["depth"][3, 3] = -np.inf


def forget_classes(made: Samples) -> None:
    for sample in made:
        sample["semantic"] = np.zeros(sample["ids"].shape, np.uint32)


def see_nothing(made: Samples) -> None:
    for sample in made:
        sample["depth"] = np.full_like(sample["depth"], np.inf)


def change_dtype(made: Samples) -> None:
    made[1]["depth"] = made[1]["depth"].astype(np.float64)


def lose_a_column(made: Samples) -> None:
    del made[1]["labels"]["instances"]["pixels"]


def flatten_a_box(made: Samples) -> None:
    box = made[1]["labels"]["instances"]["box"]
    box[1, 2] = box[1, 0]


FAULTS: dict[Callable[[Samples], None], str] = {
    copy_a_picture: "duplicates",
    freeze: "frozen",
    freeze_all_but_noise: "frozen",
    blacken: "blank pictures",
    empty: "empty labels",
    hide_all: "empty labels",
    poison: "nan",
    poison_a_label: "nan",
    overflow: "inf",
    see_backwards: "inf",
    forget_classes: "constant",
    see_nothing: "constant",
    change_dtype: "dtypes",
    lose_a_column: "labels",
    flatten_a_box: "boxes",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found_and_no_other(fault: Callable[[Samples], None], tmp_path: Path) -> None:
    made = clean_samples()
    fault(made)
    inspection = inspect(write_recording(tmp_path, made))
    assert problems(inspection) == {FAULTS[fault]}
    assert not inspection.is_clean
    assert inspection.findings[0].kind == FAULTS[fault]  # the worst first


def test_copies_are_named_by_their_keys(tmp_path: Path) -> None:
    made = clean_samples()
    for i in (2, 4, 5):
        made[i]["image"] = made[1]["image"]
    names = [f"0000000{i}-0000" for i in range(6)]
    inspection = inspect(write_recording(tmp_path, made, names))
    assert inspection.pictures.duplicates == 3
    assert inspection.pictures.copies[0].count == 4
    assert inspection.pictures.copies[0].keys == [names[1], names[2], names[4], names[5]]
    assert f"{names[1]} = {names[2]} = {names[4]} = ... (4 in all)" in text_of(inspection, "duplicates")


def test_pictures_of_other_shape_or_dtype_are_no_copies() -> None:
    flat = np.arange(48, dtype=np.uint8)
    made = [{"image": flat.reshape(shape)} for shape in ((4, 4, 3), (2, 8, 3), (8, 2, 3), (3, 4, 4))]
    assert inspect(made).pictures.distinct == 4


def test_a_frozen_randomizer_is_shouted() -> None:
    made = clean_samples()
    freeze(made)
    assert "ALL 6 PICTURES (image) ARE THE SAME" in text_of(inspect(made), "frozen")


def test_pictures_that_look_alike_are_noted() -> None:
    made = clean_samples()
    made[4]["image"] = made[1]["image"].copy()
    made[4]["image"][40:44, 60:64] += 1
    inspection = inspect(made)
    assert (inspection.pictures.alike, inspection.pictures.distinct) == (1, 6)
    assert (kinds(inspection), inspection.is_clean) == ({"alike"}, True)


def test_blank_pictures_are_not_said_to_look_alike() -> None:
    pictures = inspect([{"image": np.full((20, 20, 3), value, np.uint8)} for value in (100, 101, 102)]).pictures
    assert (pictures.blank, pictures.distinct, pictures.alike) == (3, 3, 0)


def test_different_pictures_do_not_look_alike() -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 255, 640)[None, :, None]
    made = []
    for _ in range(50):
        image = np.broadcast_to(rng.uniform(0.3, 0.6, 3) * ramp, (480, 640, 3)).astype(np.uint8)
        y, x = rng.integers(0, 400), rng.integers(0, 560)
        image[y : y + 80, x : x + 80] = rng.integers(0, 256, 3)
        made.append({"image": image})
    assert inspect(made).pictures.alike <= 1


def test_flow_and_named_fields_may_have_nan() -> None:
    made = clean_samples()
    for sample in made:
        sample["flow_backward"] = np.full((4, 4, 2), np.nan, np.float32)
        sample["flow_backward"][1] = sample["btseq"]
        sample["depth"][0, 0] = np.nan
    assert problems(inspect(made)) == {"nan"}
    assert text_of(inspect(made), "nan").startswith("depth: <0.1 % of the numbers are NaN")
    assert inspect(made, allow_nan=["depth"]).findings == []


def test_velocities_may_be_unknown() -> None:
    made = clean_samples()
    made[0]["labels"]["instances"]["velocity_world"][:] = np.nan
    assert inspect(made).findings == []


def test_what_may_be_meant_is_a_note() -> None:
    made = clean_samples()
    for i, sample in enumerate(made):
        sample["mask"] = np.zeros((4, 4), bool)
        sample["lens"] = np.array([50.0, 50.0])
        sample["points"] = np.arange(2.0 + i)
        sample["map"] = np.arange(4.0)
        sample["btepoch"] = 2 * sample["btid"]
    del made[2]["depth"]
    inspection = inspect(made)
    assert inspection.is_clean
    notes = {(finding.kind, finding.text.split()[0]) for finding in inspection.findings}
    assert notes == {
        ("constant", "mask"), ("constant", "lens"), ("shapes", "points"), ("same", "map"), ("missing", "depth"),
        ("restarts", "instances"),
    }  # fmt: skip
    assert inspection.restarts == 2


def test_what_check_labels_says_is_counted() -> None:
    made = clean_samples()
    made[1]["labels"]["instances"]["box"][1] += 1
    made[3]["labels"]["instances"]["box"][1:3] += 1
    assert inspect(made).check is None
    inspection = inspect(made, check=True)
    assert (inspection.check.checked, inspection.check.wrong) == (6, 2)
    assert inspection.check.kinds["box"] == 2
    assert inspection.check.examples["box"].startswith("000000001: box: instance 5 (Car.A)")
    assert problems(inspection) == {"check"}


def test_six_odd_samples() -> None:
    """The samples of the exports' tests: an empty one, and one that lacks much."""
    inspection = inspect(six_samples(), check=True)
    assert problems(inspection) == {"empty labels", "blank pictures"}
    assert inspection.labels.empty_keys == ["000000004"]
    assert (inspection.labels.samples, inspection.labels.seen) == (6, 35)


@pytest.mark.parametrize("made", [[], [{}], [{"x": 1}], [{"labels": None}]])
def test_recordings_with_next_to_nothing(made: Samples) -> None:
    inspection = inspect(made, check=True)
    assert (inspection.labels, inspection.pictures) == (None, None)
    assert inspection.is_clean == bool(made)
    json.dumps(inspection.to_dict(), allow_nan=False)


def test_part_of_a_recording() -> None:
    made = [{"x": i} for i in range(100)]
    assert inspect(made, every=7).fields["x"].range.count == 15
    assert inspect(made, every=7).fields["x"].range.max == 98
    drawn = inspect(made, samples=20)
    assert (drawn.samples, drawn.inspected) == (100, 20)
    assert drawn.to_dict() == inspect(made, samples=20).to_dict()
    assert inspect(made, samples=500).inspected == 100
    assert inspect([], samples=5).inspected == 0
    # Of instances that take turns all are looked at.
    assert len(inspect([{"btid": i % 4} for i in range(400)], samples=100).instances) == 4


def test_each_sample_is_read_once() -> None:
    class Counting(list[Any]):
        read: ClassVar[list[int]] = []

        def __getitem__(self, index: Any) -> Any:
            self.read.append(index)
            return super().__getitem__(index)

    counting = Counting(clean_samples())
    told: list[tuple[int, int]] = []
    inspect(counting, check=True, progress=lambda done, total: told.append((done, total)))
    assert counting.read == list(range(6))
    assert told == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("options", [{"every": 0}, {"samples": 0}, {"every": 2, "samples": 3}])
def test_arguments_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"every|samples"):
        inspect(clean_samples(), **options)


def test_samples_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    with RecordingWriter(RecordingSettings(tmp_path, encode={"image": "png"})) as writer:
        for sample in clean_samples():
            writer.write(sample)
    (shard,) = tmp_path.glob("*.tar")
    content = bytearray(shard.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[second + 4 : second + 40] = bytes(36)
    shard.write_bytes(content)
    inspection = inspect(Recording(tmp_path))
    assert (inspection.samples, inspection.inspected, inspection.unreadable) == (6, 5, 1)
    assert problems(inspection) == {"unreadable"}
    assert "000000000-s000000001" in text_of(inspection, "unreadable")


def test_what_the_recording_passed_over_is_told(tmp_path: Path) -> None:
    made = clean_samples()
    for name, some in (("a", made[:4]), ("b", made[2:])):
        with RecordingWriter(
            RecordingSettings(tmp_path / name, metadata={"seed": 1, "scene": None, "script": None})
        ) as writer:
            for sample in some:
                writer.write(sample)
    merged = inspect(Recording([tmp_path / "a", tmp_path / "b"]))
    assert (merged.samples, merged.shards, merged.skipped) == (6, 2, 2)
    assert problems(merged) == {"skipped"}
    assert "2 sample(s) have the key of one before" in text_of(merged, "skipped")


def test_memory_does_not_grow_with_the_recording() -> None:
    class Made:
        def __init__(self, count: int) -> None:
            self.count = count

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {
                "image": np.full((200, 200, 3), index, np.uint8),
                "x": np.random.default_rng(index).normal(size=10_000),
            }

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            inspect(Made(count))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(60) < peak(6) + 100_000  # a sample has 200,000 bytes


def test_all_of_it_is_json() -> None:
    made = clean_samples()
    made[0]["normals_camera"][:] = np.float32(3e38)  # the spread of which overflows nothing
    made[1]["huge"] = np.array([1e308, -1e308])  # but that of these does
    text = json.dumps(inspect(made, check=True).to_dict(), allow_nan=False)
    told = json.loads(text)
    assert told["fields"]["huge"]["range"] == {"count": 2, "min": -1e308, "max": 1e308, "mean": 0.0, "std": None}
    assert told["labels"]["classes"]["1"]["seen"] > 0
    assert np.sum(told["labels"]["size_counts"]) == told["labels"]["seen"]
    assert [len(channel) for channel in told["pictures"]["value_counts"]] == [256] * 3
