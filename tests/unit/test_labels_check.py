"""The checker: right labels pass, and each way of being wrong is found and named."""

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_spheres import ORTHOGRAPHIC, PERSPECTIVE, SHAPE, sample

from blendtorch.errors import ConfigError, LabelError
from blendtorch.labels import (
    DepthTolerance,
    LabelChecker,
    Tolerances,
    check_labels,
    instance_labels,
    keypoint_visibility,
)
from blendtorch.labels.camera import project
from blendtorch.labels.schema import CAMERA, INSTANCES, KEYPOINTS


def with_keypoints(made: dict) -> dict:
    """Add the centres and the ends of the axes of all instances, and a point behind the camera."""
    labels, instances = made["labels"], made["labels"]["instances"]
    ends = np.array([[0, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1.0]])
    xyz = (instances["world_from_object"] @ ends.T).transpose(0, 2, 1)[..., :3].reshape(-1, 3)
    xyz = np.concatenate([xyz, np.linalg.inv(labels["camera"]["camera_from_world"])[None, :3, 2] * 20])
    xy, depth_m = project(xyz, labels["camera"])
    own = [instancer == "" for instancer in instances["instancer"]]  # an instance has no name of its own
    owners = [*np.repeat(np.where(own, instances["id"], 0), 3), 0]
    names = [name if is_own else "" for name, is_own in zip(instances["object"], own, strict=True)]
    labels["keypoints"] = {
        "name": [f"point {row}" for row in range(len(xyz))],
        "object": [*(name for name in instances["object"] for _ in range(3)), "nothing"],
        "owner": [*(name for name in names for _ in range(3)), ""],
        "xyz_world": xyz,
        "xy": xy,
        "depth_m": depth_m,
        "visibility": keypoint_visibility(xy, depth_m, made["depth"], ids=made["ids"], owner_ids=owners),
    }
    return made


RIGHT = with_keypoints(sample())
VISIBLE = int(np.argmax(RIGHT["labels"]["instances"]["pixels"]))  # a row of the instances
SEEN = int(np.argmax(RIGHT["labels"]["keypoints"]["visibility"]))  # a row of the keypoints
BOX = RIGHT["labels"]["instances"]["box"][VISIBLE]
NAME = f"instance {RIGHT['labels']['instances']['id'][VISIBLE]} (Ball.{VISIBLE:03}"


def check(made: dict, **options: Any) -> list[str]:
    return check_labels(made["labels"], ids=made["ids"], depth=made["depth"], **options)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clip_from_camera", [PERSPECTIVE, ORTHOGRAPHIC], ids=["perspective", "orthographic"])
def test_right_labels_pass(clip_from_camera: np.ndarray, seed: int) -> None:
    made = with_keypoints(sample(8, clip_from_camera, seed))
    assert check(made) == []
    assert check_labels(made["labels"]) == []
    assert check_labels(made["labels"], depth=made["depth"]) == []
    assert {0, 2} <= set(made["labels"]["keypoints"]["visibility"])


def test_the_known_scene_has_all_that_matters() -> None:
    instances = RIGHT["labels"]["instances"]
    assert (instances["truncation"] > 0.1).any()
    assert ((instances["visible_fraction"] > 0) & (instances["visible_fraction"] < 0.9)).any()
    assert (np.linalg.det(instances["world_from_object"]) < 0).any()


@pytest.mark.parametrize("name", [name for name, column in INSTANCES.items() if not column.required])
def test_optional_columns_may_be_absent(name: str) -> None:
    made = copy.deepcopy(RIGHT)
    del made["labels"]["instances"][name]
    assert check(made) == []


def test_all_optional_columns_may_be_absent() -> None:
    made = copy.deepcopy(RIGHT)
    del made["labels"]["keypoints"]
    made["labels"]["instances"] = {n: v for n, v in made["labels"]["instances"].items() if INSTANCES[n].required}
    assert check(made) == []


def test_a_scene_without_instances_is_right() -> None:
    empty = {"camera": RIGHT["labels"]["camera"], "instances": {n: c.empty() for n, c in INSTANCES.items()}}
    empty["keypoints"] = {n: c.empty() for n, c in KEYPOINTS.items()}
    assert check_labels(empty, ids=np.zeros(SHAPE, np.uint32), depth=np.full(SHAPE, np.inf, np.float32)) == []


def test_a_sheared_object_is_right() -> None:
    made = sample(3)
    instances, camera = made["labels"]["instances"], made["labels"]["camera"]
    sheared = instances["world_from_object"].copy()
    sheared[:, :3, 0] += 0.4 * sheared[:, :3, 1]
    ids = np.zeros(SHAPE, np.uint32)
    rows = instance_labels(ids, instances["id"], ["x"] * 3, [""] * 3, [0, 0, 0], sheared, instances["bounds"], camera)
    assert check_labels({"camera": camera, "instances": rows}, ids=ids) == []


def change(section: str, column: str, row: int, value: Any) -> Callable[[dict], None]:
    """Set a row of a column to a value, or to what a function makes of the one there."""

    def apply(made: dict) -> None:
        array = made["labels"][section][column]
        array[row] = value(array[row]) if callable(value) else value

    return apply


def instance(column: str, value: Any) -> Callable[[dict], None]:
    return change("instances", column, VISIBLE, value)


def keypoint(column: str, value: Any) -> Callable[[dict], None]:
    return change("keypoints", column, SEEN, value)


def image(name: str, of_instance: bool, value: Any) -> Callable[[dict], None]:
    """Set one pixel of an image, one that shows the instance or one of the background."""

    def apply(made: dict) -> None:
        wanted = RIGHT["labels"]["instances"]["id"][VISIBLE] if of_instance else 0
        row, column = np.argwhere(made["ids"] == wanted)[0]
        made[name][row, column] = value

    return apply


def turned(matrix: np.ndarray) -> np.ndarray:
    """The same place, another orientation."""
    c, s = np.cos(0.3), np.sin(0.3)
    return matrix @ np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


NAN = np.nan
WRONG: dict[str, tuple[Callable[[dict], None], str, str]] = {
    # what: (the change, the kind that must be among the reasons, what the reason must say)
    "box one pixel off": (instance("box", lambda b: b + np.float32([0, 0, 1, 0])), "box", NAME),
    "box of nothing": (instance("box", 0), "box", NAME),
    "pixels": (instance("pixels", lambda n: n + 1), "pixels", NAME),
    "negative pixels": (instance("pixels", -1), "pixels", "-1"),
    "an id that is not listed": (image("ids", True, 4_000_000_000), "ids", "id 4000000000 has 1 pixels"),
    "an id twice": (change("instances", "id", 1, 7), "id", "id 7 has 2 rows"),
    "an id of 0": (change("instances", "id", 0, 0), "id", "row 0"),
    "ids out of order": (change("instances", "id", 0, 1000), "id", "ordered"),
    "amodal box too small": (
        instance("box_amodal", BOX + np.float32([1.5, 0, 0, 0])),
        "box_amodal",
        "within box_amodal",
    ),
    "amodal box too large": (instance("box_amodal", lambda b: b + np.float32([0, 0, 0, 50])), "box_amodal", "3D box"),
    "visible fraction above 1": (instance("visible_fraction", 1.1), "visible_fraction", "1.1"),
    "visible fraction of 0": (instance("visible_fraction", 0), "visible_fraction", NAME),
    "visible fraction far too small": (instance("visible_fraction", 0.01), "visible_fraction", "silhouette"),
    "negative truncation": (instance("truncation", -0.1), "truncation", NAME),
    "truncated and seen": (instance("truncation", 0.9), "truncation", "together"),
    "id without depth": (image("depth", True, np.inf), "depth", "1 pixels have an id and no finite depth"),
    "depth without id": (image("depth", False, 5.0), "depth", "1 pixels have id 0 and a finite depth"),
    "depth 0": (image("depth", True, 0.0), "depth", "depth 0"),
    "depth NaN": (image("depth", False, NAN), "depth", "depth nan"),
    "depth before the object": (image("depth", True, 0.5), "depth", NAME),
    "depth behind the object": (image("depth", True, 500.0), "depth", NAME),
    "bounds swapped": (instance("bounds", lambda b: b[::-1].copy()), "bounds", NAME),
    "bounds moved": (instance("bounds", lambda b: b + np.float32(0.1)), "box3d_world", NAME),
    "box in the world": (instance("box3d_world", lambda c: c + 0.01), "box3d_world", NAME),
    "box in the camera": (instance("box3d_camera", lambda c: c[::-1].copy()), "box3d_camera", NAME),
    "box in Blender's axes": (instance("box3d_camera", lambda c: c * (1, -1, -1)), "box3d_camera", NAME),
    "box in the image": (instance("box3d_pixel", lambda c: c + 0.6), "box3d_pixel", NAME),
    "box in the image, upside down": (
        instance("box3d_pixel", lambda c: [0, SHAPE[0]] + c * [1, -1]),
        "box3d_pixel",
        NAME,
    ),
    "a corner without a picture": (instance("box3d_pixel", NAN), "box3d_pixel", NAME),
    "pose turned": (instance("pose", turned), "pose", NAME),
    "pose moved": (instance("pose", lambda p: p + 0.2 * np.eye(4, k=3)), "pose", NAME),
    "pose with scale": (instance("pose", lambda p: p * [[1.1, 1, 1, 1]]), "pose", "a rotation"),
    "pose mirrored": (instance("pose", lambda p: p * [[-1, 1, 1, 1]]), "pose", "a rotation"),
    "pose without last row": (instance("pose", lambda p: p * [[1], [1], [1], [0]]), "pose", "a rotation"),
    "scale": (instance("scale", lambda s: s * 1.2), "pose", NAME),
    "object elsewhere": (instance("world_from_object", turned), "box3d_world", NAME),
    "infinite velocity": (instance("velocity_world", np.inf), "velocity_world", "or NaN"),
    "NaN in a pose": (instance("pose", NAN), "pose", "finite"),
    "NaN in a box": (instance("box", NAN), "box", "finite"),
    "keypoint moved": (keypoint("xy", lambda p: p + 0.6), "xy", f"keypoint point {SEEN}"),
    "keypoint NaN": (keypoint("xy", NAN), "xy", f"keypoint point {SEEN}"),
    "keypoint behind, with a picture": (change("keypoints", "xy", -1, 5.0), "xy", "nothing"),
    "keypoint's depth": (keypoint("depth_m", lambda z: z * 1.1), "depth_m", f"keypoint point {SEEN}"),
    "keypoint elsewhere": (keypoint("xyz_world", lambda p: p + 0.3), "xy", f"keypoint point {SEEN}"),
    "hidden that is seen": (keypoint("visibility", 1), "visibility", "expected 2"),
    "seen in another's body": (keypoint("owner", ""), "visibility", "expected 1"),
    "visibility 3": (keypoint("visibility", 3), "visibility", "is 3"),
    "seen behind the camera": (change("keypoints", "visibility", -1, 2), "visibility", "nothing"),
    "camera not rigid": (change("camera", "camera_from_world", 0, lambda r: 2 * r), "camera", "not rigid"),
    "camera in other axes": (change("camera", "camera_from_world_opencv", 1, lambda r: -r), "camera", "opencv"),
    "intrinsics of OpenCV": (change("camera", "intrinsics", 0, lambda r: r - [0, 0, 0.5]), "camera", "intrinsics"),
    "camera NaN": (change("camera", "clip_from_camera", 0, NAN), "schema", "clip_from_camera"),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_contradiction_is_found_and_named(what: str) -> None:
    apply, kind, says = WRONG[what]
    made = copy.deepcopy(RIGHT)
    apply(made)
    found = check(made)
    assert any(reason.startswith(f"{kind}: ") and says in reason for reason in found), found
    assert check(RIGHT) == []


def test_a_mask_that_is_another_objects_is_found_without_a_table_of_boxes() -> None:
    made = copy.deepcopy(RIGHT)
    instances = made["labels"]["instances"]
    a, b = np.argsort(instances["pixels"])[-2:]
    for name in ("world_from_object", "box3d_world", "box3d_camera", "box3d_pixel", "pose", "scale"):
        instances[name][[a, b]] = instances[name][[b, a]]
    kinds = {reason.split(":")[0] for reason in check(made)}
    assert {"box", "box_amodal"} & kinds


SECTIONS = [("camera", CAMERA), ("instances", INSTANCES), ("keypoints", KEYPOINTS)]
COLUMNS = [(section, name) for section, schema in SECTIONS for name in schema]


@pytest.mark.parametrize(("section", "name"), COLUMNS)
def test_a_column_of_another_type_or_shape_is_named(section: str, name: str) -> None:
    right = RIGHT["labels"][section][name]
    wrong: list[Any] = [None, 5, "text", [1, 2]] if name != "intrinsics" else [5, "text"]
    if isinstance(right, np.ndarray):
        wrong += [right[:-1], right[..., None], right.astype(np.complex64), right.tolist()]
    else:
        wrong += [right[:-1], [*right[:-1], 5]]
    for value in wrong:
        made = copy.deepcopy(RIGHT)
        made["labels"][section][name] = value
        found = check(made)
        named = name in (next(iter(schema)) for _, schema in SECTIONS)  # too short, it makes all others too long
        assert any(reason.startswith("schema: ") and (named or name in reason) for reason in found), (value, found)


@pytest.mark.parametrize(("section", "name"), [(s, n) for s, c in SECTIONS for n in c if c[n].required])
def test_a_missing_column_is_named(section: str, name: str) -> None:
    made = copy.deepcopy(RIGHT)
    del made["labels"][section][name]
    assert any(reason.startswith("schema: ") and name in reason for reason in check(made))


@pytest.mark.parametrize(
    ("ids", "depth", "says"),
    [
        (RIGHT["ids"][:-1], None, r"ids: expected uint32 of shape (96, 128), got uint32 of shape (95, 128)"),
        (RIGHT["ids"].astype(np.int64), None, "got int64"),
        (RIGHT["ids"].tolist(), None, "got list"),
        (None, RIGHT["depth"].astype(np.float64), "depth: expected float32"),
        (None, RIGHT["depth"][..., None], "(96, 128, 1)"),
    ],
)
def test_images_of_another_type_or_shape_are_named(ids: Any, depth: Any, says: str) -> None:
    found = check_labels(RIGHT["labels"], ids=ids, depth=depth)
    assert any(reason.startswith("schema: ") and says in reason for reason in found), found


@pytest.mark.parametrize("labels", [None, [], {}, {"camera": None, "instances": None}, {"camera": {}, "instances": {}}])
def test_what_are_no_labels_is_told(labels: Any) -> None:
    assert check_labels(labels, ids=RIGHT["ids"], depth=RIGHT["depth"])


ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=3),
    st.builds(np.full, st.sampled_from([(8, 3), (8,), (8, 4, 4), (4, 4), (0,), (8, 8, 2)]), st.floats()),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_labels_of_any_kind_give_reasons_and_no_other_error(data: st.DataObject) -> None:
    made = copy.deepcopy(RIGHT)
    for section, name in data.draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4)):
        column = made["labels"][section].get(name)
        if isinstance(column, np.ndarray) and column.size and data.draw(st.booleans()):
            column.ravel()[data.draw(st.integers(0, column.size - 1))] = data.draw(
                st.sampled_from([0, 1, 2, 255]) if column.dtype.kind in "iu" else st.floats(width=32)
            )
        else:
            made["labels"][section][name] = data.draw(ANYTHING)
    assert isinstance(check(made), list)


def test_tolerances_allow_more() -> None:
    made = copy.deepcopy(RIGHT)
    instance("box3d_pixel", lambda c: c + 0.6)(made)
    assert check(made)
    assert check(made, tolerances=Tolerances(projection_px=0.7)) == []
    made = copy.deepcopy(RIGHT)
    image("depth", True, 0.5)(made)
    assert check(made, tolerances=Tolerances(depth=DepthTolerance(0.0, 100.0))) == []


def test_a_thousand_wrong_instances_are_told_briefly() -> None:
    ids = np.arange(1, 1001, dtype=np.uint32).reshape(20, 50)
    labels = {"camera": RIGHT["labels"]["camera"], "instances": {n: c.empty() for n, c in INSTANCES.items()}}
    labels["camera"] = {**labels["camera"], "shape": ids.shape}
    found = [reason for reason in check_labels(labels, ids=ids) if reason.startswith("ids: ")]
    assert len(found) == 21
    assert found[-1] == "ids: 980 more like this"


def wrong_sample() -> dict:
    made = copy.deepcopy(RIGHT)
    instance("pixels", lambda n: n + 1)(made)
    return made


def test_reporting_logs_each_kind_once_and_accepts_all(caplog: pytest.LogCaptureFixture) -> None:
    checker = LabelChecker()
    with caplog.at_level(logging.WARNING, logger="blendtorch.labels"):
        assert all(checker.accepts(made) for made in (RIGHT, wrong_sample(), wrong_sample()))
    assert (checker.checked, checker.rejected, dict(checker.reasons)) == (3, 2, {"pixels": 2})
    assert len(caplog.records) == 1
    assert NAME in caplog.text
    first, second = checker.report().splitlines()
    assert first == "3 samples checked, 2 with contradictory labels (reported)"
    assert second.startswith(f"  pixels: 2 samples, the first: {NAME}")


def test_dropping_says_no_to_wrong_samples_alone(caplog: pytest.LogCaptureFixture) -> None:
    checker = LabelChecker("drop")
    assert [checker.accepts(made) for made in (RIGHT, wrong_sample(), wrong_sample())] == [True, False, False]
    assert len(caplog.records) == 1  # whoever waits for samples must find out why there are none
    assert "the sample is dropped" in caplog.text


def test_raising_names_the_reasons_and_counts() -> None:
    checker = LabelChecker("raise")
    assert checker.accepts(RIGHT)
    with pytest.raises(LabelError, match=r"pixels: instance") as caught:
        checker.accepts(wrong_sample())
    assert checker.rejected == 1
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_images_are_optional_for_a_checker() -> None:
    assert LabelChecker("raise").accepts({"labels": RIGHT["labels"]})


def test_a_checker_travels_to_a_worker() -> None:
    assert pickle.loads(pickle.dumps(LabelChecker("drop"))).action == "drop"


def test_a_sample_without_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="'labels', got one with 'image'"):
        LabelChecker().accepts({"image": 1})


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ConfigError, match="report, drop, raise"):
        LabelChecker("ignore")  # type: ignore[arg-type]
