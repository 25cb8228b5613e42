"""Occlusion and warping by flow, against pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blendtorch.errors import ConfigError
from blendtorch.labels import DepthTolerance, occlusion, warp

SHAPE = (4, 5)
EXACT = DepthTolerance(0.0, 0.0)
FLOW = arrays.arrays(
    np.float32, (*SHAPE, 2), elements=st.sampled_from([0, 0.25, -0.5, 1, -1.25, 2, -4, 7, np.nan, np.inf])
)
IDS = arrays.arrays(np.uint32, SHAPE, elements=st.sampled_from([0, 1, 2, 2**32 - 1]))
DEPTH = arrays.arrays(np.float32, SHAPE, elements=st.sampled_from([1, 2, 3, np.inf]))


def around(x: float, y: float) -> list[tuple[int, int]]:
    rows = [max(int(np.floor(y - 0.5)), 0), min(int(np.ceil(y - 0.5)), SHAPE[0] - 1)]
    columns = [max(int(np.floor(x - 0.5)), 0), min(int(np.ceil(x - 0.5)), SHAPE[1] - 1)]
    return [(row, column) for row in rows for column in columns]


@given(FLOW, DEPTH, IDS, DEPTH, IDS)
def test_occlusion_is_that_of_each_pixel(
    flow: np.ndarray, depth_there: np.ndarray, ids: np.ndarray, target_depth: np.ndarray, target_ids: np.ndarray
) -> None:
    found = occlusion(flow, depth_there, ids, target_depth, target_ids, EXACT)
    assert (found.dtype, found.shape) == (np.bool_, SHAPE)
    for row, column in np.ndindex(SHAPE):
        x, y = flow[row, column] + (column + 0.5, row + 0.5)
        seen = False
        if ids[row, column] and 0 <= x < SHAPE[1] and 0 <= y < SHAPE[0]:
            same = [target_depth[place] for place in around(x, y) if target_ids[place] == ids[row, column]]
            seen = bool(same) and max(same) >= depth_there[row, column]
        assert found[row, column] == (not seen)


def still(value: float = 5.0) -> tuple:
    depth = np.full(SHAPE, value, np.float32)
    return np.zeros((*SHAPE, 2), np.float32), depth, np.ones(SHAPE, np.uint32), depth, np.ones(SHAPE, np.uint32)


def test_a_still_picture_hides_nothing() -> None:
    assert not occlusion(*still()).any()


def test_the_tolerance_is_a_share_and_a_length() -> None:
    flow, depth, ids, target_depth, target_ids = still()
    assert not occlusion(flow, depth + 0.02, ids, target_depth, target_ids).any()
    assert occlusion(flow, depth + 0.04, ids, target_depth, target_ids).all()


@pytest.mark.parametrize("depth_there", [np.nan, 0.0, -5.0])
def test_what_is_behind_the_other_camera_is_not_seen_there(depth_there: float) -> None:
    flow, depth, ids, target_depth, target_ids = still()
    assert occlusion(flow, np.full_like(depth, depth_there), ids, target_depth, target_ids).all()


def test_a_square_that_moves_uncovers_and_hides() -> None:
    # An id 2 of two columns in front of an id 1, two columns to the right in the other image.
    ids, target_ids = np.ones(SHAPE, np.uint32), np.ones(SHAPE, np.uint32)
    ids[:, 0:2], target_ids[:, 2:4] = 2, 2
    depth, target_depth = (
        np.where(ids == 2, 3, 5).astype(np.float32),
        np.where(target_ids == 2, 3, 5).astype(np.float32),
    )
    flow = np.zeros((*SHAPE, 2), np.float32)
    flow[ids == 2] = 2, 0
    for noise in (0, 1e-3, -1e-3):  # of a flow that was computed in float32
        found = occlusion(flow + np.float32(noise), depth, ids, target_depth, target_ids)
        assert found.tolist() == [[False, False, True, True, False]] * 4


def test_half_a_pixel_from_what_hides_it_a_surface_is_seen() -> None:
    flow, depth, ids, target_depth, target_ids = still()
    target_ids[:, 3:] = 2
    assert (
        occlusion(flow + np.array((0.5, 0)), depth, ids, target_depth, target_ids).tolist()
        == [[False] * 3 + [True] * 2] * 4
    )


@settings(deadline=None)
@given(FLOW, st.sampled_from([np.uint8, np.float32, np.float64]), st.sampled_from([(), (1,), (3,)]))
def test_warping_is_bilinear(flow: np.ndarray, dtype: type, channels: tuple) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, *channels)).astype(dtype)
    warped, valid = warp(image, flow)
    assert (warped.dtype, warped.shape, valid.dtype) == (image.dtype, image.shape, np.bool_)
    for row, column in np.ndindex(SHAPE):
        x, y = flow[row, column] + (column + 0.5, row + 0.5)
        assert valid[row, column] == (0 <= x < SHAPE[1] and 0 <= y < SHAPE[0])
        expected = np.zeros(channels)
        if valid[row, column]:
            right, lower = (x - 0.5) % 1, (y - 0.5) % 1
            weights = (1 - lower) * (1 - right), (1 - lower) * right, lower * (1 - right), lower * right
            expected = sum(w * image[place].astype(float) for w, place in zip(weights, around(x, y), strict=True))
        expected = np.rint(expected) if dtype == np.uint8 else expected
        np.testing.assert_allclose(warped[row, column], expected, atol=1e-4)


def test_a_linear_picture_stays_linear() -> None:
    y, x = np.mgrid[:40, :50] + 0.5
    flow = np.stack([0.03 * x - 0.7, 0.02 * x + 0.01 * y], axis=-1).astype(np.float32)
    warped, valid = warp((3 * x - 2 * y).astype(np.float32), flow)
    inner = valid & (x + flow[..., 0] > 0.5) & (x + flow[..., 0] < 49.5) & (y + flow[..., 1] < 39.5)
    expected = 3 * (x + flow[..., 0]) - 2 * (y + flow[..., 1])
    assert inner.mean() > 0.9
    np.testing.assert_allclose(warped[inner], expected[inner], atol=1e-3)


def test_infinity_does_not_spread_to_where_it_has_no_weight() -> None:
    depth = np.array([[1, np.inf, np.inf, 4]], np.float32)
    assert warp(depth, np.zeros((1, 4, 2), np.float32))[0].tolist() == depth.tolist()
    half = np.full((1, 4, 2), (0.5, 0), np.float32)
    assert warp(depth, half)[0].tolist() == [[np.inf, np.inf, np.inf, 0]]  # x = 4 is out of the image


@pytest.mark.parametrize(
    ("image", "flow", "message"),
    [
        (np.zeros((2, 2), np.uint32), np.zeros((2, 2, 2), np.float32), "uint32"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 2, 2), np.float32), r"\(2, 2\) .* got \(2, 3\)"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.float32), r"\(2, 2, 3\)"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.int64), "int64"),
    ],
)
def test_what_cannot_be_warped_is_refused(image: np.ndarray, flow: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        warp(image, flow)


@pytest.mark.parametrize("which", range(1, 5))
def test_images_of_one_shape_go_together(which: int) -> None:
    arguments = list(still())
    arguments[which] = arguments[which][:2]
    with pytest.raises(ConfigError, match=r"\(4, 5\).* got .*\(2, 5\)"):
        occlusion(*arguments)
