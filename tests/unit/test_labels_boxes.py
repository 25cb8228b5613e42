"""Boxes from images of ids, against one mask at a time; corners of 3D boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blendtorch.errors import ConfigError
from blendtorch.labels import box_corners, boxes_from_ids

LARGEST = 2**32 - 1
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)
FEW = st.sampled_from([0, 1, 2, 5, 70_000, LARGEST - 1, LARGEST])


def brute_force(ids: np.ndarray, wanted: list[int]) -> tuple[np.ndarray, np.ndarray]:
    boxes, pixels = np.zeros((len(wanted), 4), np.float32), np.zeros(len(wanted), np.int64)
    for row, instance_id in enumerate(wanted):
        y, x = np.nonzero(ids == instance_id)
        pixels[row] = len(x)
        if len(x):
            boxes[row] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return boxes, pixels


@given(
    arrays.arrays(np.uint32, SHAPES, elements=FEW),
    st.lists(FEW, unique=True),
)
def test_boxes_are_those_of_one_mask_at_a_time(ids: np.ndarray, wanted: list[int]) -> None:
    boxes, pixels = boxes_from_ids(ids, wanted)
    expected_boxes, expected_pixels = brute_force(ids, wanted)
    assert (boxes.dtype, pixels.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(boxes, expected_boxes)
    np.testing.assert_array_equal(pixels, expected_pixels)


@given(arrays.arrays(np.int64, SHAPES, elements=st.integers(-3, 3)), st.lists(st.integers(0, 3), unique=True))
def test_signed_images_are_read_alike(ids: np.ndarray, wanted: list[int]) -> None:
    np.testing.assert_array_equal(boxes_from_ids(ids, wanted)[0], brute_force(ids, wanted)[0])


@given(
    arrays.arrays(np.uint32, SHAPES, elements=st.sampled_from([0, 1, 2, 3, LARGEST])),
    st.lists(st.integers(0, 5), unique=True),
)
def test_small_wanted_ids_are_found_among_any(ids: np.ndarray, wanted: list[int]) -> None:
    np.testing.assert_array_equal(boxes_from_ids(ids, wanted)[1], brute_force(ids, wanted)[1])


def test_one_pixel_has_a_box_of_one_pixel() -> None:
    ids = np.zeros((4, 5), np.uint32)
    ids[2, 3] = LARGEST
    boxes, pixels = boxes_from_ids(ids, [LARGEST])
    assert boxes.tolist() == [[3, 2, 4, 3]]
    assert pixels.tolist() == [1]


@pytest.mark.parametrize("offset", [0, 2**31])
def test_more_ids_than_16_bits_count(offset: int) -> None:
    ids = np.arange(1, 70_001, dtype=np.uint32).reshape(200, 350)
    wanted = np.random.default_rng(0).permutation(ids.ravel())
    boxes, pixels = boxes_from_ids(ids + np.uint32(offset), wanted + np.uint32(offset))
    row, column = np.divmod(wanted.astype(np.int64) - 1, 350)
    np.testing.assert_array_equal(boxes, np.stack([column, row, column + 1, row + 1], axis=1))
    assert (pixels == 1).all()


def test_a_flipped_view_is_as_good_as_a_copy() -> None:
    ids = np.arange(12, dtype=np.uint32).reshape(3, 4)[::-1, ::-1]
    assert boxes_from_ids(ids, [11])[0].tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("ids", "wanted", "message"),
    [
        (np.zeros((2, 2, 3), np.uint32), [1], r"\(2, 2, 3\)"),
        (np.zeros((2, 2), np.float32), [1], "float32"),
        (np.zeros((0, 2), np.uint32), [1], r"\(0, 2\)"),
        (np.zeros((2, 2), np.uint32), [1, 1], "id 1 is there 2 times"),
        (np.zeros((2, 2), np.uint32), [-1], "got -1"),
        (np.zeros((2, 2), np.uint32), [2**32], "got 4294967296"),
        (np.zeros((2, 2), np.uint32), [0.5], "float64"),
        (np.zeros((2, 2), np.uint32), [[1]], r"\(1, 1\)"),
    ],
)
def test_what_is_no_image_of_ids_is_refused(ids: np.ndarray, wanted: list, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        boxes_from_ids(ids, wanted)


def test_corners_are_in_the_order_of_bound_box() -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = 10, 20, 30
    corners = box_corners(matrix[None], [[[0, 0, 0], [1, 2, 3]]])[0] - (10, 20, 30)
    order = ["000", "001", "011", "010", "100", "101", "111", "110"]
    assert ["".join(str(int(v > 0)) for v in corner) for corner in corners] == order
    assert corners.max(axis=0).tolist() == [1, 2, 3]


def test_corners_are_transformed_by_the_whole_matrix() -> None:
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(5, 4, 4))
    matrices[:, 3] = 0, 0, 0, 1
    bounds = np.sort(rng.normal(size=(5, 2, 3)), axis=1)
    corners = box_corners(matrices, bounds)
    assert corners.shape == (5, 8, 3)
    for row in range(5):
        high_low_high = [bounds[row, 1, 0], bounds[row, 0, 1], bounds[row, 1, 2], 1]
        np.testing.assert_allclose(corners[row, 5], (matrices[row] @ high_low_high)[:3])


def test_no_boxes_have_no_corners() -> None:
    assert box_corners([], []).shape == (0, 8, 3)


def test_bounds_go_with_matrices() -> None:
    with pytest.raises(ConfigError, match=r"bounds: expected shape \(2, 2, 3\), got \(1, 2, 3\)"):
        box_corners(np.zeros((2, 4, 4)), np.zeros((1, 2, 3)))
