"""Motion blur: times of the sub-frames, and means in linear light."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.btt import linear_to_srgb, srgb_to_linear
from blendtorch.errors import ConfigError
from blendtorch.sensor import MotionBlur, average_subframes, subframe_times


def test_times_by_hand() -> None:
    assert subframe_times(4, 1.0, position="start") == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert subframe_times(4, 1.0) == pytest.approx([-0.375, -0.125, 0.125, 0.375])
    assert subframe_times(2, 0.5, position="end") == pytest.approx([-0.375, -0.125])
    assert subframe_times(1, 0.5) == pytest.approx([0.0])


@given(st.integers(1, 50), st.floats(0, 4), st.sampled_from(["start", "center", "end"]), st.integers(0, 2**32))
def test_each_stratum_has_one_time(num: int, shutter: float, position: str, seed: int) -> None:
    times = subframe_times(num, shutter, np.random.default_rng(seed), position)
    opens = {"start": 0.0, "center": -shutter / 2, "end": -shutter}[position]
    edges = opens + shutter * np.arange(num + 1) / num
    assert np.all(times >= edges[:-1] - 1e-12)
    assert np.all(times <= edges[1:] + 1e-12)
    assert np.array_equal(times, subframe_times(num, shutter, np.random.default_rng(seed), position))


def test_jittered_times_are_uniform_over_the_shutter() -> None:
    rng = np.random.default_rng(0)
    times = np.concatenate([subframe_times(4, 2.0, rng) for _ in range(5000)])
    counts, _ = np.histogram(times, bins=20, range=(-1, 1))
    assert counts.sum() == len(times)
    assert np.abs(counts - 1000).max() < 150


@pytest.mark.parametrize("bad", [{"num": 0}, {"shutter": -1.0}, {"shutter": np.nan}, {"position": "middle"}])
def test_times_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        subframe_times(**{"num": 4, "shutter": 0.5, **bad})


def test_black_and_white_give_half_the_light() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert np.all(average_subframes([black, white]) == 188)  # sRGB of 0.5, not 128


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_bytes_are_averaged_in_linear_light(num: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (num, 3, 4, 3), dtype=np.uint8)
    exact = 255 * linear_to_srgb(srgb_to_linear(images).astype(np.float64).mean(axis=0))
    assert np.abs(average_subframes(images) - exact).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4)])
def test_one_picture_comes_back(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
    assert np.array_equal(average_subframes([image, image, image]), image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_pictures_are_averaged_as_they_are(dtype: type) -> None:
    images = np.random.default_rng(0).random((5, 4, 6, 4)).astype(dtype)
    blurred = average_subframes(iter(images))
    assert blurred.dtype == dtype
    np.testing.assert_allclose(blurred, images.mean(axis=0), rtol=1e-6)


def test_colours_count_by_how_much_they_cover() -> None:
    red, nothing = np.array([[[255, 0, 0, 255]]], np.uint8), np.array([[[0, 0, 0, 0]]], np.uint8)
    assert average_subframes([red, nothing, nothing, red]).tolist() == [[[255, 0, 0, 128]]]
    assert average_subframes([nothing, nothing]).tolist() == [[[0, 0, 0, 0]]]


def test_more_can_be_added_and_arguments_can_be_used_again() -> None:
    blur = MotionBlur()
    image = np.zeros((2, 2), np.float32)
    blur.add(image)
    image[:] = 1.0
    assert np.all(blur.result() == 0.0)
    blur.add(image)
    assert np.all(blur.result() == 0.5)
    blur.result()[:] = 7.0
    assert np.all(blur.result() == 0.5)
    assert blur.count == 2


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(ConfigError, match="no sub-frame"):
        MotionBlur().result()
    with pytest.raises(ConfigError, match="no sub-frame"):
        average_subframes([])
    blur = MotionBlur()
    blur.add(np.zeros((2, 2, 3), np.uint8))
    for other in (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 2, 3), np.float32)):
        with pytest.raises(ConfigError, match="like the first"):
            blur.add(other)
    with pytest.raises(ConfigError, match="expected a picture"):
        MotionBlur().add(np.zeros((2, 2), np.uint32))  # ids
    assert blur.count == 1
