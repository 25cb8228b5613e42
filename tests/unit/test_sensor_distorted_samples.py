"""Samples distorted with their labels: what the labels say must be what the distorted pictures show."""

from typing import Any

import numpy as np
import pytest

from blendtorch.errors import ConfigError
from blendtorch.sensor import BrownConrady

SHAPE = (120, 160)
K = np.array([[130.0, 0.0, 82.0], [0.0, 130.0, 58.0], [0.0, 0.0, 1.0]])
LENSES = {
    "barrel": BrownConrady(K, k1=-0.2, k2=0.04, p1=0.002),
    "pincushion": BrownConrady(K, k1=0.2, p2=-0.004),
}
DISCS = {3: (50.0, 40.0, 20.0), 8: (120.0, 80.0, 25.0), 5: (152.0, 6.0, 12.0)}  # x, y, radius; 5 is cut off at a corner


def grid() -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)


def boxes_of(ids: np.ndarray, wanted: list[int]) -> np.ndarray:
    boxes = np.zeros((len(wanted), 4), np.float32)
    for box, number in zip(boxes, wanted, strict=True):
        rows, columns = np.nonzero(ids == number)
        if rows.size:
            box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return boxes


def make_sample() -> dict[str, Any]:
    x, y = grid()
    ids = np.zeros(SHAPE, np.uint32)
    for number, (cx, cy, radius) in DISCS.items():
        ids[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = number
    wanted = [8, 3, 5, 77]
    corners = np.array([[cx + a * r, cy + b * r] for cx, cy, r in DISCS.values() for a in (-1, 1) for b in (-1, 1)] * 2)
    amodal = [[cx - r, cy - r, cx + r, cy + r] for cx, cy, r in (DISCS[8], DISCS[3], DISCS[5])] + [[90, 90, 95, 99]]
    normals = np.zeros((*SHAPE, 3), np.float32)
    normals[ids > 0] = (0, 0, 1)
    return {
        "image": np.stack([ids * 30, 255 - ids * 20, x], axis=-1).astype(np.uint8),
        "ids": ids,
        "semantic": (ids % 3).astype(np.int64),
        "depth": np.where(ids > 0, 1.0 + ids, np.inf).astype(np.float32),
        "normals_camera": normals,
        "occluded_forward": ids == 3,
        "frameid": 12,
        "pose": np.eye(4),
        "labels": {
            "camera": {"shape": np.array(SHAPE), "intrinsics": K, "camera_from_world": np.eye(4)},
            "instances": {
                "id": np.array(wanted, np.uint32),
                "box": boxes_of(ids, wanted),
                "pixels": np.array([(ids == number).sum() for number in wanted]),
                "box_amodal": np.array(amodal, np.float32),
                "visible_fraction": np.ones(4, np.float32),
                "truncation": np.zeros(4, np.float32),
                "box3d_pixel": corners.reshape(-1, 8, 2)[[0, 1, 2, 0]].astype(np.float32),
                "pose": np.tile(np.eye(4), (4, 1, 1)),
            },
            "keypoints": {
                "name": ["a", "b", "c", "d"],
                "xy": np.array([[50, 40], [120, 80], [2, 2], [-3, 60]], np.float32),
                "depth_m": np.ones(4),
                "visibility": np.array([2, 1, 2, 0], np.uint8),
            },
        },
    }


@pytest.mark.parametrize("name", LENSES)
def test_pictures_agree_with_each_other(name: str) -> None:
    sample = make_sample()
    new = LENSES[name].distort_sample(sample)
    ids = new["ids"]
    shows = ids > 0
    assert set(np.unique(ids)) <= {0, *DISCS}
    assert (ids != sample["ids"]).mean() > 0.01
    assert np.array_equal(new["semantic"], ids % 3)
    assert np.array_equal(new["depth"], np.where(shows, 1.0 + ids, np.inf).astype(np.float32))
    assert np.array_equal(new["normals_camera"][..., 2], shows.astype(np.float32))
    inside = LENSES[name].sampling_map(SHAPE).inside
    assert inside.all() == (name == "pincushion")
    assert np.array_equal(new["occluded_forward"], (ids == 3) | ~inside)
    assert np.all(new["image"][~inside] == 0)
    # Within a disc, away from its edge, the picture has the colour of its id.
    inner = shows & (np.roll(ids, (2, 2), (0, 1)) == ids) & (np.roll(ids, (-2, -2), (0, 1)) == ids)
    inner &= (np.roll(ids, (2, -2), (0, 1)) == ids) & (np.roll(ids, (-2, 2), (0, 1)) == ids)
    assert inner.sum() > 500
    assert np.array_equal(new["image"][inner][:, 0], (ids[inner] * 30).astype(np.uint8))
    for key, value in new.items():
        if isinstance(value, np.ndarray):
            assert (value.shape, value.dtype) == (sample[key].shape, sample[key].dtype), key
    assert new["frameid"] == 12
    assert new["pose"] is sample["pose"]


@pytest.mark.parametrize("name", LENSES)
def test_boxes_are_those_of_the_distorted_ids(name: str) -> None:
    new = LENSES[name].distort_sample(make_sample())
    instances = new["labels"]["instances"]
    assert np.array_equal(instances["box"], boxes_of(new["ids"], [8, 3, 5, 77]))
    assert instances["pixels"].tolist() == [(new["ids"] == number).sum() for number in (8, 3, 5, 77)]
    assert instances["pixels"][0] > 0
    assert "visible_fraction" not in instances
    assert "truncation" not in instances


@pytest.mark.parametrize("name", LENSES)
def test_outlines_hold_what_they_held(name: str) -> None:
    """Amodal boxes, and boxes without ids, are found from their edges alone: against all the points within."""
    lens = LENSES[name]
    sample = make_sample()
    for number, box in enumerate(sample["labels"]["instances"]["box_amodal"]):
        points = np.random.default_rng(0).uniform(box[:2], box[2:], (5000, 2))
        points = lens.distort_points(np.concatenate([points, [box[:2], box[2:], box[[0, 3]], box[[2, 1]]]]))
        new = lens.distort_sample(sample)["labels"]["instances"]["box_amodal"][number]
        assert np.all(points >= new[:2] - 0.01)
        assert np.all(points <= new[2:] + 0.01)
        assert np.abs(np.concatenate([points.min(0), points.max(0)]) - new).max() < 0.5


@pytest.mark.parametrize("name", LENSES)
def test_without_ids_boxes_are_conservative(name: str) -> None:
    lens = LENSES[name]
    tight = lens.distort_sample(make_sample())["labels"]["instances"]["box"]
    sample = make_sample()
    del sample["ids"]
    instances = lens.distort_sample(sample)["labels"]["instances"]
    assert "pixels" not in instances
    for box, inner in zip(instances["box"][:3], tight[:3], strict=True):
        assert np.all(box[:2] <= inner[:2] + 0.51)  # a pixel belongs to the id at its centre
        assert np.all(box[2:] >= inner[2:] - 0.51)
        assert box.min() >= 0
        assert np.all(box <= (160, 120, 160, 120))
    assert instances["box"][3].tolist() == [0, 0, 0, 0]


def test_boxes_beyond_the_fold_are_nan_and_those_across_end_before_it() -> None:
    lens = BrownConrady(K, k1=-0.2)  # folds at radius 1.29, 168 pixels from the principal point
    sample = {"labels": {"camera": {"shape": SHAPE}, "instances": {"id": np.array([1, 2, 3, 4])}}}
    sample["labels"]["instances"]["box_amodal"] = np.array(
        [[500.0, 40, 600, 60], [100, 50, 400, 66], [-900, -900, 900, 900], [0, 0, 0, 0]], np.float32
    )
    beyond, across, around, none = lens.distort_sample(sample)["labels"]["instances"]["box_amodal"]
    assert np.isnan(beyond).all()
    assert none.tolist() == [0, 0, 0, 0]  # an instance without a silhouette
    reach = 130 * 1.29 * 2 / 3
    assert across[2] == pytest.approx(82 + reach, abs=1.0)
    assert across[0] == pytest.approx(lens.distort_points([100.0, 58.0])[0], abs=0.1)
    assert around == pytest.approx([82 - reach, 58 - reach, 82 + reach, 58 + reach], abs=2.0)


@pytest.mark.parametrize("name", LENSES)
def test_points_and_camera(name: str) -> None:
    lens, sample = LENSES[name], make_sample()
    labels = lens.distort_sample(sample)["labels"]
    old = sample["labels"]
    xy = lens.distort_points(old["keypoints"]["xy"])
    np.testing.assert_allclose(labels["keypoints"]["xy"], xy, rtol=1e-6)
    corners = lens.distort_points(old["instances"]["box3d_pixel"])
    np.testing.assert_allclose(labels["instances"]["box3d_pixel"], corners, rtol=1e-5)
    # The pincushion moves the third out of the picture; the barrel moves the fourth into it, where nothing was rendered.
    assert labels["keypoints"]["visibility"].tolist() == ([2, 1, 2, 0] if name == "barrel" else [2, 1, 0, 0])
    assert (xy[3, 0] > 0) == (name == "barrel")
    assert labels["keypoints"]["visibility"].dtype == np.uint8
    assert labels["camera"]["distortion"].tolist() == lens.coefficients.tolist()
    assert labels["camera"]["intrinsics"] is K
    assert labels["instances"]["pose"] is old["instances"]["pose"]


def test_the_argument_is_left_as_it_is() -> None:
    sample, untouched = make_sample(), make_sample()
    LENSES["barrel"].distort_sample(sample)
    assert sample.keys() == untouched.keys()
    for key in ("image", "ids", "depth"):
        assert np.array_equal(sample[key], untouched[key])
    for part in ("camera", "instances", "keypoints"):
        assert sample["labels"][part].keys() == untouched["labels"][part].keys()
    assert np.array_equal(sample["labels"]["instances"]["box"], untouched["labels"]["instances"]["box"])


@pytest.mark.parametrize("name", LENSES)
def test_flow_joins_the_distorted_places_of_one_point(name: str) -> None:
    lens = LENSES[name]
    x, y = grid()
    # An affine motion of the undistorted picture: flow is a smooth function that is known between pixels, too.
    motion = np.array([[0.02, -0.05], [0.04, 0.03]])
    flow = (np.stack([x, y], -1) - (80, 60)) @ motion.T + (3.0, -2.0)
    flow[:20] = np.nan
    new = lens.distort_sample({"flow_forward": flow.astype(np.float32)})["flow_forward"]
    start = np.stack([x, y], -1)
    u = lens.undistort_points(start)
    expected = lens.distort_points(u + (u - (80, 60)) @ motion.T + (3.0, -2.0)) - start
    known = ~np.isnan(new).any(-1)
    assert known.mean() > 0.7
    assert np.abs(new - expected)[known].max() < 0.05  # the flow of the nearest pixel, up to 0.7 pixels away
    outside = ~lens.sampling_map(SHAPE).inside
    assert np.isnan(new[outside | (u[..., 1] < 20)]).all()
    assert new.dtype == np.float32


def test_no_flow_stays_no_flow() -> None:
    new = LENSES["pincushion"].distort_sample({"flow_backward": np.zeros((*SHAPE, 2), np.float32)})["flow_backward"]
    assert np.abs(new).max() < 1e-5


def test_pictures_of_other_names_need_a_rule() -> None:
    sample = {"ids": np.zeros(SHAPE, np.uint32), "albedo": np.full((*SHAPE, 3), 0.5, np.float32)}
    with pytest.raises(ConfigError, match="albedo"):
        LENSES["barrel"].distort_sample(sample)
    new = LENSES["barrel"].distort_sample(sample, {"albedo": ("linear", -1.0)})
    assert set(np.unique(new["albedo"])) == {-1.0, 0.5}


def test_samples_that_do_not_fit_are_refused() -> None:
    lens = LENSES["barrel"]
    with pytest.raises(ConfigError, match="already"):
        lens.distort_sample(lens.distort_sample(make_sample()))
    other = make_sample()
    other["labels"]["camera"]["intrinsics"] = K * [[2], [2], [1]]
    with pytest.raises(ConfigError, match="intrinsics"):
        lens.distort_sample(other)
    with pytest.raises(ConfigError, match="depth"):
        lens.distort_sample({**make_sample(), "depth": np.zeros((60, 80), np.float32)})
    with pytest.raises(ConfigError, match="flow"):
        lens.distort_sample({"flow_forward": np.zeros((*SHAPE, 3), np.float32)})
    with pytest.raises(ConfigError, match="size"):
        lens.distort_sample({"labels": {"camera": {}}})


def test_no_instances_and_no_labels() -> None:
    empty = {
        "id": np.zeros(0, np.uint32),
        "box": np.zeros((0, 4), np.float32),
        "box_amodal": np.zeros((0, 4), np.float32),
    }
    empty |= {"box3d_pixel": np.zeros((0, 8, 2), np.float32), "pixels": np.zeros(0, np.int64)}
    sample = {"ids": np.zeros(SHAPE, np.uint32), "labels": {"camera": {"shape": SHAPE}, "instances": empty}}
    for value in LENSES["barrel"].distort_sample(sample)["labels"]["instances"].values():
        assert len(value) == 0
    assert LENSES["barrel"].distort_sample({"frameid": 3}) == {"frameid": 3}


def test_a_batch_is_refused() -> None:
    batch = {"image": np.zeros((2, *SHAPE, 3), np.uint8), "labels": [{}, {}]}
    with pytest.raises(ConfigError, match="labels are a list, expected the dict of one sample"):
        LENSES["barrel"].distort_sample(batch)


def test_flow_that_the_lens_leads_out_of_the_picture_is_occluded() -> None:
    lens = LENSES["pincushion"]
    flow = np.zeros((*SHAPE, 2), np.float32)
    flow[..., 0] = 3.0
    sample = {"flow_forward": flow, "occluded_forward": np.zeros(SHAPE, bool)}
    sample["occluded_forward"][:, -3:] = True  # in the picture before the lens, these alone lead out of it
    distorted = lens.distort_sample(sample)
    x, y = grid()
    end = np.stack([x, y], axis=-1) + distorted["flow_forward"]
    inside = ((end >= 0) & (end < SHAPE[::-1])).all(axis=-1)
    assert (distorted["occluded_forward"] | inside).all()
    assert not distorted["occluded_forward"][SHAPE[0] // 2, SHAPE[1] // 2]
