"""Labels drawn on a picture."""

from typing import Any

import numpy as np
import pytest
import torch
from export_samples import CLASSES, SHAPE, empty_sample, full_sample

from blendtorch.btt import montage
from blendtorch.errors import ConfigError
from blendtorch.export.annotate import annotate
from blendtorch.labels import ids_to_rgb

GREY = 90
YELLOW = (255, 220, 0)


def scene(height: int = 240, width: int = 320, box: tuple[float, ...] = (100, 80, 180, 160), **columns: Any) -> dict:
    """One instance, of id 7, whose pixels fill its box."""
    ids = np.zeros((height, width), np.uint32)
    left, top, right, bottom = (round(value) for value in box)
    ids[top:bottom, left:right] = 7
    table = {
        "id": np.array([7], np.uint32),
        "object": ["Cube"],
        "instancer": [""],
        "class_id": np.array([2], np.uint32),
        "pixels": np.array([(ids > 0).sum()]),
        "box": np.array([box], np.float32),
        **columns,
    }
    return {"image": np.full((height, width, 3), GREY, np.uint8), "ids": ids, "labels": {"instances": table}}


COLOR = ids_to_rgb([7])[0]


def changed(sample: dict, **options: Any) -> np.ndarray:
    """Which pixels are drawn on."""
    picture = annotate(sample, **options)
    assert (picture.dtype, picture.shape) == (np.uint8, (*sample["image"].shape[:2], 3))
    return (picture != sample["image"][..., :3]).any(axis=2)


def test_masks_are_translucent_and_have_a_rim() -> None:
    sample = scene()
    picture = annotate(sample, boxes=False)
    inside, whole = np.zeros(shape_of(sample), bool), sample["ids"] > 0
    inside[81:159, 101:179] = True
    np.testing.assert_array_equal(picture[~whole], GREY)
    np.testing.assert_array_equal(picture[whole & ~inside], np.broadcast_to(COLOR, ((whole & ~inside).sum(), 3)))
    np.testing.assert_allclose(picture[inside], np.broadcast_to(0.6 * GREY + 0.4 * COLOR, (inside.sum(), 3)), atol=0.51)


def shape_of(sample: dict) -> tuple[int, int]:
    return sample["image"].shape[:2]


def test_neighbours_each_have_their_rim() -> None:
    sample = {"image": np.full((6, 9, 3), GREY, np.uint8), "ids": np.repeat([[1] * 3 + [2] * 3 + [0] * 3], 6, axis=0)}
    picture = annotate(sample)
    one, two = ids_to_rgb([1, 2])
    for column, color in ((2, one), (3, two), (5, two)):
        np.testing.assert_array_equal(picture[3, column], color)
    assert (picture[3, 1] != one).any()
    np.testing.assert_array_equal(picture[:, 6:], GREY)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((100, 80, 180, 160), (80, 159), (100, 179)),
        ((99.6, 80.4, 180.4, 159.6), (80, 159), (100, 179)),
        ((-20, -30, 400, 300), (0, 239), (0, 319)),  # as far as the picture goes
    ],
)
def test_a_box_surrounds_its_pixels(box: tuple, rows: tuple, columns: tuple) -> None:
    drawn = changed(scene(box=box), masks=False, names="none")
    y, x = np.nonzero(drawn)
    assert ((y.min(), y.max()), (x.min(), x.max())) == (rows, columns)
    inner = drawn[rows[0] + 1 : rows[1], columns[0] + 1 : columns[1]]
    assert not inner.any()
    assert drawn.sum() == 2 * (rows[1] - rows[0]) + 2 * (columns[1] - columns[0])


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (50, 50, 40, 60), (400, 10, 500, 60), (np.nan, 0, 9, 9)])
def test_what_has_no_box_is_not_drawn(box: tuple) -> None:
    sample = scene()
    sample["labels"]["instances"]["box"] = np.array([box], np.float32)
    assert not changed(sample, masks=False).any()


def test_a_name_stands_above_its_box_or_where_there_is_room() -> None:
    for box, above in (((100, 80, 180, 160), True), ((100, 0, 180, 60), False), ((250, 80, 320, 160), True)):
        sample = scene(box=box)
        text = changed(sample, masks=False) & ~changed(sample, masks=False, names="none")
        y, x = np.nonzero(text)
        assert len(y) > 100
        assert (y.max() < box[1]) if above else (y.min() >= box[3])
        assert box[0] <= x.min() + 1
        # The plate is of the box's colour, and the letters on it are not.
        colors = annotate(sample, masks=False)[text]
        share = (colors == COLOR).all(axis=1).mean()
        assert 0.4 < share < 0.95


@pytest.mark.parametrize("shape", [(64, 64), (48, 200)])
def test_small_pictures_have_no_room_for_names_until_they_are_enlarged(shape: tuple[int, int]) -> None:
    sample = scene(*shape, box=(10, 16, 40, 40))
    np.testing.assert_array_equal(annotate(sample), annotate(sample, names="none"))
    larger = annotate(sample, scale=4)
    assert larger.shape == (shape[0] * 4, shape[1] * 4, 3)
    assert (larger != annotate(sample, names="none", scale=4)).any()


def test_names_do_not_lie_on_each_other() -> None:
    one = scene()
    table = one["labels"]["instances"]
    count = 12
    for name, column in table.items():
        table[name] = np.repeat(column, count, axis=0) if isinstance(column, np.ndarray) else column * count
    table["id"] = np.arange(1, count + 1, dtype=np.uint32)
    table["box"] = table["box"] + np.arange(count, dtype=np.float32)[:, None]
    plates = changed(one, masks=False) & ~changed(one, masks=False, names="none")
    alone = scene()
    plate = changed(alone, masks=False) & ~changed(alone, masks=False, names="none")
    # Above, below and within: there are not more places where the first ones leave room.
    assert plate.sum() < plates.sum() < 4.5 * plate.sum()


def test_what_stands_there() -> None:
    plain, named = scene(), scene(object=["Box"])
    same = [("class", True), ("object", False), ("auto", False)]
    for names, equal in same:
        assert np.array_equal(annotate(plain, names=names), annotate(named, names=names)) is equal
    for names, equal in [("class", True), ("object", False), ("auto", True)]:
        one, other = (annotate(sample, names=names, classes={2: "car"}) for sample in (plain, named))
        assert np.array_equal(one, other) is equal
    shown = annotate(plain, names="none")
    assert not np.array_equal(shown, annotate(plain))


def test_the_share_that_is_seen_is_told_where_something_is_hidden() -> None:
    whole = annotate(scene(visible_fraction=np.array([1.0], np.float32)))
    np.testing.assert_array_equal(whole, annotate(scene()))
    part, less = (annotate(scene(visible_fraction=np.array([share], np.float32))) for share in (0.43, 0.42))
    assert (part != whole).any()
    assert (part != less).any()


def keypoints(xy: list[tuple[float, float]], visibility: list[int]) -> dict[str, Any]:
    count = len(xy)
    return {
        "name": [f"k{i}" for i in range(count)],
        "object": ["Cube"] * count,
        "xyz_world": np.zeros((count, 3)),
        "xy": np.array(xy, np.float64),
        "depth_m": np.ones(count),
        "visibility": np.array(visibility, np.uint8),
    }


def test_keypoints_are_discs_and_hidden_ones_rings() -> None:
    sample = scene()
    sample["labels"]["keypoints"] = keypoints([(50.5, 50.5), (60.5, 200.5), (250.5, 50.5), (np.nan, 3)], [2, 1, 0, 2])
    picture, drawn = annotate(sample, boxes=False, masks=False), changed(sample, boxes=False, masks=False)
    np.testing.assert_array_equal(picture[50, 50], COLOR)
    assert not drawn[200, 60]
    ring = np.nonzero(drawn[190:211, 50:71])
    np.testing.assert_allclose(np.mean(ring, axis=1), 10)  # around its place
    assert (picture[190:211, 50:71].reshape(-1, 3) == COLOR).all(axis=1).any()
    assert not drawn[40:60, 240:260].any()
    assert drawn.sum() < 120
    assert not changed(sample, boxes=False, masks=False, keypoints=False).any()


def test_boxes_of_a_sample_without_labels_are_drawn_as_in_a_montage() -> None:
    boxes = np.array([[10, 20, 60, 70], [5.4, 5.6, 9.5, 30], [0, 0, 0, 0]], np.float32)
    sample = {"image": np.full((100, 120, 3), GREY, np.uint8), "boxes": boxes}
    np.testing.assert_array_equal(annotate(sample), np.array(montage([sample["image"]], [boxes])))
    assert annotate(sample)[20, 10].tolist() == list(YELLOW)
    assert not changed(sample, boxes=False).any()
    assert not changed({**sample, "boxes": np.zeros((0, 4))}).any()


def test_known_scenes_as_arrays_and_tensors_and_nothing() -> None:
    sample = full_sample()
    for value in (sample["image"], sample["ids"]):
        value.flags.writeable = False
    drawn = annotate(sample, classes=CLASSES)
    tensors = {"image": torch.tensor(sample["image"]), "ids": torch.tensor(sample["ids"].astype(np.int64))}
    np.testing.assert_array_equal(annotate({**sample, **tensors}, classes=CLASSES), drawn)
    with_alpha = np.concatenate([sample["image"], np.zeros((*SHAPE, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(annotate({**sample, "image": with_alpha}, classes=CLASSES), drawn)
    assert not changed(empty_sample()).any()
    assert not changed({"image": sample["image"]}).any()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"image": None}, {}, "image is object"),
        ({"image": np.zeros((4, 4, 3))}, {}, "image is float64 of shape"),
        (
            {"ids": np.zeros((4, 4), np.uint32)},
            {},
            "ids is uint32 of shape .4, 4., expected integers of the image's shape",
        ),
        ({"labels": {}, "boxes": np.ones((2, 5))}, {}, "boxes is of shape .2, 5."),
        ({}, {"names": "title"}, "names is 'title', expected one of auto, class"),
        ({}, {"scale": 0}, "scale is 0"),
    ],
)
def test_wrong_fields_are_told(change: dict, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        annotate({**scene(), **change}, **options)


def test_a_sample_without_a_picture() -> None:
    with pytest.raises(ConfigError, match="has no image; it has depth"):
        annotate({"depth": np.zeros((2, 2), np.float32)})


def test_columns_of_a_montage_have_titles() -> None:
    images = np.full((4, 50, 60, 3), GREY, np.uint8)
    plain, titled = (np.array(montage(images, columns=2, titles=titles)) for titles in (None, ["image", "ids"]))
    assert titled.shape[1] == plain.shape[1]
    head = titled[: len(titled) - len(plain)]
    np.testing.assert_array_equal(titled[len(head) :], plain)
    for part in (head[:, :60], head[:, 62:]):
        assert (part > 200).any()
    with pytest.raises(ConfigError, match="there are 1 titles, expected one for each of 2 columns"):
        montage(images, columns=2, titles=["image"])
