"""Labels as pictures to look at."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blendtorch import btt
from blendtorch.errors import ConfigError
from blendtorch.labels import depth_to_rgb, ids_to_rgb, normals_to_rgb, panels

LARGEST = 2**32 - 1


@given(arrays.arrays(np.uint32, arrays.array_shapes(max_dims=3, max_side=6)))
def test_an_id_has_one_colour_whatever_is_beside_it(ids: np.ndarray) -> None:
    rgb = ids_to_rgb(ids)
    assert (rgb.dtype, rgb.shape) == (np.uint8, (*ids.shape, 3))
    for at in np.ndindex(ids.shape):
        np.testing.assert_array_equal(rgb[at], ids_to_rgb(ids[at]))
    assert (rgb.any(axis=-1) == (ids != 0)).all()  # black is the background alone


@pytest.mark.parametrize(("count", "least"), [(8, 50), (20, 50), (100, 10)])
def test_colours_of_the_first_ids_are_far_apart(count: int, least: float) -> None:
    rgb = ids_to_rgb(np.arange(count)).astype(float)
    distance = np.linalg.norm(rgb[:, None] - rgb, axis=-1)
    assert distance[~np.eye(count, dtype=bool)].min() >= least


def test_ids_of_any_integers_and_of_tensors() -> None:
    expected = ids_to_rgb(np.array([[0, 1], [2, 3]], np.uint32))
    for ids in ([[0, 1], [2, 3]], np.array([[0, 1], [2, 3]], np.int8), torch.tensor([[0, 1], [2, 3]])):
        np.testing.assert_array_equal(ids_to_rgb(ids), expected)
    assert ids_to_rgb(np.array([LARGEST], np.uint32)).any()
    with pytest.raises(ConfigError, match="ids is float64, expected integers"):
        ids_to_rgb(np.zeros((2, 2)))


def brightness(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(float) @ (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


def test_depth_is_brighter_the_nearer() -> None:
    depth = np.geomspace(0.5, 50, 200).astype(np.float32)
    rgb = depth_to_rgb(depth)
    assert (rgb.dtype, rgb.shape) == (np.uint8, (200, 3))
    assert (np.diff(brightness(rgb)) <= 0).all()
    assert rgb[0].tolist() == [255, 245, 190]
    assert rgb[-1].tolist() == [40, 20, 90]


@pytest.mark.parametrize("nothing", [np.inf, -np.inf, np.nan, 0.0, -1.0])
def test_no_depth_is_black_and_does_not_count_for_the_range(nothing: float) -> None:
    rgb = depth_to_rgb(np.array([[1.0, nothing, 2.0]], np.float32))
    np.testing.assert_array_equal(rgb[0, 1], 0)
    np.testing.assert_array_equal(rgb[0, [0, 2]], depth_to_rgb([1.0, 2.0]))
    assert not depth_to_rgb(np.full((2, 2), nothing)).any()


def test_depth_is_even_in_one_over_depth() -> None:
    """The middle of the colours is where 1 / depth is half-way."""
    near, middle, far = depth_to_rgb([1.0, 2 / (1 + 1 / 9), 9.0])
    assert middle.tolist() == [205, 65, 95]
    np.testing.assert_array_equal(depth_to_rgb([0.1, 1.0, 2 / (1 + 1 / 9), 9.0, 99.0], 1, 9)[1:4], [near, middle, far])


def test_depth_beyond_the_range_has_the_colour_of_its_end() -> None:
    near, _, far = depth_to_rgb([1.0, 5.0, 9.0])
    np.testing.assert_array_equal(depth_to_rgb([0.1, 99.0], near_m=1, far_m=9), [near, far])
    np.testing.assert_array_equal(depth_to_rgb([3.0, 3.0]), [near, near])  # all at one depth


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_ranges_that_are_none(near: float, far: float) -> None:
    if 0 < near <= far:
        depth_to_rgb([1.0], near, far)
    else:
        with pytest.raises(ConfigError, match="expected 0 < near_m <= far_m"):
            depth_to_rgb([1.0], near, far)


def test_depth_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="depth_m is bool, expected real numbers"):
        depth_to_rgb(np.ones((2, 2), bool))


def test_normals() -> None:
    normals = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0], [0, 0, 0], [0.6, 0.8, 0]], np.float32)
    rgb = normals_to_rgb(normals)
    assert rgb.dtype == np.uint8
    assert rgb.tolist() == [[128, 128, 255], [255, 128, 128], [128, 0, 128], [0, 0, 0], [204, 230, 128]]
    np.testing.assert_array_equal(normals_to_rgb(normals * np.float32(1 + 1e-6)), rgb)  # no overflow by rounding


@pytest.mark.parametrize("normals", [np.zeros((2, 2), np.float32), np.zeros((2, 3), int), np.float32(1)])
def test_normals_of_another_kind(normals: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"expected \(..., 3\) floats"):
        normals_to_rgb(normals)


@pytest.fixture
def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "image": rng.integers(0, 256, (4, 5, 4), dtype=np.uint8),
        "ids": rng.integers(0, 3, (4, 5), dtype=np.uint32),
        "semantic": rng.integers(0, 3, (4, 5), dtype=np.uint32),
        "depth": rng.uniform(1, 2, (4, 5)).astype(np.float32),
        "normals_camera": rng.normal(size=(4, 5, 3)).astype(np.float32),
        "normals_world": rng.normal(size=(4, 5, 3)).astype(np.float32),
    }


def test_panels_are_the_pictures_in_order(sample: dict[str, np.ndarray]) -> None:
    expected = [
        sample["image"][..., :3],
        ids_to_rgb(sample["ids"]),
        depth_to_rgb(sample["depth"]),
        normals_to_rgb(sample["normals_camera"]),
    ]
    np.testing.assert_array_equal(panels(sample), expected)
    tensors = {name: torch.from_numpy(field) for name, field in sample.items()}
    np.testing.assert_array_equal(panels(tensors), expected)
    others = panels(sample, ["normals_world", "semantic"])
    np.testing.assert_array_equal(others, [normals_to_rgb(sample["normals_world"]), ids_to_rgb(sample["semantic"])])
    assert btt.montage(panels(sample), columns=4, gap=1).size == (4 * 5 + 3, 4)


def test_panels_of_what_is_not_there(sample: dict[str, np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="the sample lacks depth, normals_camera; it has image, ids"):
        panels({name: sample[name] for name in ("image", "ids")})
    with pytest.raises(ConfigError, match=r"image is float64 of shape \(4, 5, 4\), expected H x W x 3 or 4 of uint8"):
        panels({**sample, "image": sample["image"] / 255})
