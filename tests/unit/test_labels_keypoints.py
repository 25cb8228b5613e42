"""Visibility of keypoints: what hides them and what does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blendtorch.errors import ConfigError
from blendtorch.labels import DepthTolerance, coco_keypoints, keypoint_visibility

EXACT = DepthTolerance(0.0, 0.0)


def see(x: float, y: float, depth_m: float, depth: np.ndarray, **options: object) -> int:
    if "owner_id" in options:
        options["owner_ids"] = [options.pop("owner_id")]
    found = keypoint_visibility([(x, y)], [depth_m], depth, **options)  # type: ignore[arg-type]
    assert (found.dtype, found.shape) == (np.uint8, (1,))
    return int(found[0])


WALL = np.full((4, 6), 5.0, np.float32)


@pytest.mark.parametrize(
    ("x", "y"), [(-0.01, 1), (6, 1), (1, -0.01), (1, 4), (np.nan, 1), (1, np.nan), (np.inf, 1), (1e300, 1)]
)
def test_out_of_the_image_is_0(x: float, y: float) -> None:
    assert see(x, y, 1.0, WALL) == 0


@pytest.mark.parametrize(("x", "y"), [(0, 0), (5.999, 3.999), (0.2, 3.9), (3, 2)])
@pytest.mark.parametrize(("depth_m", "expected"), [(4.9, 2), (5.0, 2), (5.1, 1), (-5.0, 0), (0.0, 0), (np.nan, 0)])
def test_a_wall_hides_what_is_behind_it(x: float, y: float, depth_m: float, expected: int) -> None:
    assert see(x, y, depth_m, WALL) == expected


def test_the_tolerance_is_a_share_and_a_length() -> None:
    assert see(3, 2, 5.02, WALL) == 2
    assert see(3, 2, 5.04, WALL) == 1
    assert see(3, 2, 5.04, WALL, tolerance=DepthTolerance(0.0, 0.05)) == 2
    assert see(3, 2, 5.04, WALL, tolerance=DepthTolerance(0.01, 0.0)) == 2
    assert see(3, 2, 5.0001, WALL, tolerance=EXACT) == 1


def test_the_background_hides_nothing() -> None:
    assert see(3, 2, 1e6, np.full((4, 6), np.inf, np.float32)) == 2


def test_a_steep_surface_does_not_hide_its_own_points() -> None:
    # A plane whose depth changes by a quarter from pixel to pixel; points on it between the centres.
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :30] + 0.5
    depth = (3 + 0.75 * x + 0.5 * y).astype(np.float32)
    points = rng.uniform((1, 1), (29, 19), (200, 2))
    on_it = 3 + points @ (0.75, 0.5)
    assert (keypoint_visibility(points, on_it, depth) == 2).all()
    assert (keypoint_visibility(points, on_it + 3.0, depth) == 1).all()


def test_a_vertex_on_a_silhouette_is_seen_whichever_side_the_pixels_took() -> None:
    depth = np.full((4, 6), np.inf, np.float32)
    depth[:, :3] = 5.0
    for x in (2.9, 3.0, 3.1):
        assert see(x, 2, 5.0, depth) == 2
    assert see(2.4, 2, 6.0, depth) == 1  # behind, a pixel within the silhouette


@given(
    arrays.arrays(np.float32, (4, 5), elements=st.sampled_from([1, 2, 3, np.inf])),
    arrays.arrays(np.uint32, (4, 5), elements=st.integers(0, 2)),
    st.lists(st.tuples(st.floats(-1, 6), st.floats(-1, 5), st.sampled_from([0.5, 1, 2, 3, 4]), st.integers(0, 2))),
)
def test_all_points_at_once_are_as_one_by_one(depth: np.ndarray, ids: np.ndarray, points: list) -> None:
    xy, depth_m, owners = [p[:2] for p in points], [p[2] for p in points], [p[3] for p in points]
    found = keypoint_visibility(xy, depth_m, depth, ids=ids, owner_ids=owners, tolerance=EXACT)
    for (x, y, z, owner), v in zip(points, found, strict=True):
        if not (0 <= x < 5 and 0 <= y < 4):
            assert v == 0
            continue
        rows = {max(int(np.floor(y - 0.49)), 0), min(int(np.ceil(y - 0.51)), 3)}
        columns = {max(int(np.floor(x - 0.49)), 0), min(int(np.ceil(x - 0.51)), 4)}
        around = [np.inf if owner and ids[r, c] == owner else depth[r, c] for r in rows for c in columns]
        assert v == (1 if max(around) < z else 2)


def test_an_owner_does_not_hide_its_own_bones() -> None:
    ids = np.full((4, 6), 7, np.uint32)
    assert see(3, 2, 6.0, WALL) == 1
    assert see(3, 2, 6.0, WALL, ids=ids, owner_id=7) == 2
    assert see(3, 2, 6.0, WALL, ids=ids, owner_id=8) == 1
    assert see(3, 2, 6.0, WALL, ids=ids, owner_id=0) == 1


def test_an_owner_of_0_is_not_the_background() -> None:
    assert see(3, 2, 6.0, WALL, ids=np.zeros((4, 6), np.uint32), owner_id=0) == 1


def test_no_keypoints() -> None:
    assert keypoint_visibility([], [], WALL).shape == (0,)
    assert coco_keypoints([], []).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([(1, 2, 3)], [1.0], WALL), {}, r"xy: expected shape \(J, 2\), got \(1, 3\)"),
        (([(1, 2)], [1.0, 2.0], WALL), {}, r"depth_m: expected shape \(1,\), got \(2,\)"),
        (([(1, 2)], [1.0], WALL[0]), {}, r"depth: .* got float32 of shape \(6,\)"),
        (([(1, 2)], [1.0], WALL), {"owner_ids": [1]}, "go together"),
        (([(1, 2)], [1.0], WALL), {"ids": np.zeros((1, 1), np.uint32), "owner_ids": [1]}, r"\(4, 6\), got \(1, 1\)"),
        (([(1, 2)], [1.0], WALL), {"ids": WALL, "owner_ids": [1]}, "image of ids"),
    ],
)
def test_other_shapes_are_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        keypoint_visibility(*arguments, **options)


def test_coco_rows() -> None:
    rows = coco_keypoints([(np.nan, np.nan), (-5, 2), (1.5, 2.5), (3, 4)], [0, 0, 1, 2])
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0, 0], [0, 0, 0], [1.5, 2.5, 1], [3, 4, 2]]


def test_coco_has_no_other_visibility() -> None:
    with pytest.raises(ConfigError, match="got 3"):
        coco_keypoints([(1, 2)], [3])
