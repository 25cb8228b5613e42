"""Depth-camera noise: statistics against the papers' formulas, holes against brute force."""

import math
from typing import Any

import numpy as np
import pytest

from blendtorch.errors import ConfigError
from blendtorch.sensor import DepthCameraNoise
from blendtorch.sensor._depth_geometry import incidence_angles, projector_shadow, window_support

KINECT_K = np.array([[585.5, 0.0, 320.0], [0.0, 585.5, 240.0], [0.0, 0.0, 1.0]])
PLAIN: dict[str, Any] = {
    "min_m": 0.1,
    "max_m": 20.0,
    "axial": False,
    "lateral": False,
    "max_angle_deg": 90.0,
    "window": 1,
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def measure(depth: np.ndarray, seed: int = 0, normals: np.ndarray | None = None, **settings: Any) -> np.ndarray:
    return DepthCameraNoise(**settings)(depth, rng(seed), intrinsics=KINECT_K, normals_camera=normals)


def wall(z: float, shape: tuple[int, int] = (480, 640)) -> np.ndarray:
    return np.full(shape, z, np.float32)


def leaning_plane(angle_deg: float, shape: tuple[int, int] = (480, 640)) -> np.ndarray:
    """A plane at 2 m on the axis, its normal turned about the vertical: n . X = n_z 2 m."""
    x = (np.arange(shape[1]) + 0.5 - KINECT_K[0, 2]) / KINECT_K[0, 0]
    n_x, n_z = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    return np.broadcast_to((2.0 * n_z / (n_x * x + n_z)).astype(np.float32), shape).copy()


@pytest.mark.parametrize("z", [0.6, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("steps_per_px", [0, 8])
def test_axial_noise_is_that_of_nguyen(z: float, steps_per_px: int) -> None:
    """With quantization, too: it is a part of what they measured, not more."""
    middle = (slice(200, 280), slice(280, 360))  # seen head-on, where the term of the angle vanishes
    settings = {**PLAIN, "axial": True, "steps_per_px": steps_per_px}
    noise = np.stack([measure(wall(z), seed, **settings)[middle] - z for seed in range(6)])
    assert noise.std() == pytest.approx(0.0012 + 0.0019 * (z - 0.4) ** 2, rel=0.03)
    assert abs(noise.mean()) < 0.1 * noise.std()


@pytest.mark.parametrize("angle_deg", [40.0, 65.0, 80.0])
def test_axial_noise_grows_with_the_angle(angle_deg: float) -> None:
    theta = math.radians(angle_deg)
    normals = np.zeros((480, 640, 3), np.float32)
    normals[...] = (0.0, math.sin(theta), math.cos(theta))
    middle = (slice(236, 244), slice(270, 370))
    noise = np.stack(
        [measure(wall(1.0), s, normals, **{**PLAIN, "axial": True, "steps_per_px": 0})[middle] for s in range(9)]
    )
    expected = 0.0012 + 0.0019 * 0.6**2 + 0.0001 * (theta / (math.pi / 2 - theta)) ** 2
    assert noise.std() == pytest.approx(expected, rel=0.05)


def test_lateral_noise_is_that_of_nguyen() -> None:
    ramp = np.broadcast_to(np.arange(640, dtype=np.float32) * 1e-6 + 1.0, (480, 640)).copy()
    normals = np.zeros((480, 640, 3), np.float32)
    for angle_deg in (0.0, 60.0, 80.0):
        theta = math.radians(angle_deg)
        normals[...] = (0.0, math.sin(theta), math.cos(theta))
        moved = (measure(ramp, 0, normals, **{**PLAIN, "lateral": True, "steps_per_px": 0}) - ramp)[
            236:244, 150:490
        ] / 1e-6
        sigma = 0.8 + 0.035 * theta / (math.pi / 2 - theta)
        # Rounding to whole pixels adds 1/12 to the variance.
        assert moved.std() == pytest.approx(math.sqrt(sigma**2 + 1 / 12), rel=0.05)


def test_steps_of_depth_are_those_of_khoshelham() -> None:
    """2.85e-5 z^2 centimetres, and the depths 35130 / n centimetres of Barron and Malik."""
    depth = np.broadcast_to(np.linspace(0.5, 5.0, 640, dtype=np.float32), (480, 640)).copy()
    seen = np.unique(measure(depth, **PLAIN).astype(np.float64)) * 100
    n = 35130 / seen
    assert np.abs(n - np.rint(n)).max() < 1e-3
    steps = np.diff(np.unique(measure(np.linspace(3.9, 4.1, 1000, dtype=np.float32)[None], **PLAIN).astype(np.float64)))
    assert steps * 100 == pytest.approx(2.85e-5 * 400**2, rel=0.06)


def test_quantized_depth_is_right_in_the_mean() -> None:
    depth = np.linspace(2.0, 4.0, 4000, dtype=np.float32)[None]
    error = measure(depth, **PLAIN) - depth
    assert abs(error.mean()) < 1e-3
    assert np.abs(error).max() < 4.0**2 / (8 * 585.5 * 0.075) * 0.52


def test_other_cameras_have_steps_of_their_own() -> None:
    matrix = np.diag([300.0, 300.0, 1.0])
    seen = DepthCameraNoise(**PLAIN, baseline_m=-0.05, steps_per_px=4)(wall(3.0, (4, 4)), rng(), intrinsics=matrix)
    assert np.allclose(seen, 60.0 / round(60.0 / 3.0))


@pytest.mark.parametrize("invalid", [0.0, np.nan, np.inf])
def test_holes_are_marked(invalid: float) -> None:
    depth = wall(2.0, (20, 60))
    depth[:, :10], depth[:, 10:20], depth[:, 20:30], depth[:, 30:40] = np.inf, np.nan, 0.5, 4.5
    settings = {**PLAIN, "min_m": 0.8, "max_m": 4.0, "baseline_m": 0.0, "invalid": invalid}
    seen = measure(depth, **settings)
    assert seen.dtype == np.float32
    assert np.array_equal(seen[:, :40], np.full((20, 40), invalid, np.float32), equal_nan=True)
    assert np.all(seen[:, 40:] == 2.0)


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 60.0])
def test_angles_from_depth_are_those_of_the_plane(angle_deg: float) -> None:
    depth = leaning_plane(angle_deg)[:, 100:540]
    matrix = KINECT_K - [[0, 0, 100], [0, 0, 0], [0, 0, 0]]
    x = (np.arange(440) + 0.5 - matrix[0, 2]) / 585.5
    y = (np.arange(480) + 0.5 - matrix[1, 2])[:, None] / 585.5
    n = (math.sin(math.radians(angle_deg)), 0.0, math.cos(math.radians(angle_deg)))
    expected = np.arccos(np.abs(n[0] * x + n[2]) / np.sqrt(x**2 + y**2 + 1))
    assert np.degrees(np.abs(incidence_angles(depth, matrix, None) - expected)).max() < 1.0
    normals = np.broadcast_to(np.array([-n[0], 0.0, n[2]], np.float32), (480, 440, 3))  # Blender's axes, to the viewer
    assert np.abs(incidence_angles(depth, matrix, normals) - expected).max() < 1e-3


def test_normals_are_in_the_axes_of_blender() -> None:
    """A floor that rises away from the viewer, seen below the axis: its normal points up and back."""
    normals = np.zeros((480, 640, 3), np.float32)
    normals[...] = (0.0, math.cos(math.radians(20)), math.sin(math.radians(20)))
    below = math.degrees(math.atan((470.5 - 240.0) / 585.5))  # the ray goes down by this
    theta = np.degrees(incidence_angles(wall(1.0), KINECT_K, normals))[470, 319]
    assert theta == pytest.approx(90 - 20 - below, abs=0.1)


def test_grazing_surfaces_give_no_reading() -> None:
    settings = {**PLAIN, "max_angle_deg": 70.0, "steps_per_px": 0}
    normals = np.zeros((480, 640, 3), np.float32)
    for angle_deg, hole in [(60.0, False), (69.0, False), (71.0, True), (89.0, True)]:
        normals[...] = (0.0, math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg)))
        assert (measure(wall(1.0), normals=normals, **settings)[240, 320] == 0) == hole


def test_the_floor_under_a_level_camera_is_not_grazing() -> None:
    """Its normal is at a right angle to the optical axis, but not to the rays that see it."""
    normals = np.zeros((480, 640, 3), np.float32)
    normals[..., 1] = 1.0
    depth = (585.5 * 0.4 / (np.arange(480, dtype=np.float32) + 0.5 - 240.0))[:, None] * np.ones((1, 640), np.float32)
    depth[:240] = np.inf
    theta = np.degrees(incidence_angles(depth, KINECT_K, normals))
    assert theta[470, 320] == pytest.approx(90 - math.degrees(math.atan(230.5 / 585.5)), abs=0.01)
    assert np.abs(theta - np.degrees(incidence_angles(depth, KINECT_K, None)))[260:479].max() < 1.5


@pytest.mark.parametrize("baseline_m", [0.075, -0.075])
def test_the_shadow_of_a_board_is_as_wide_as_the_disparities_differ(baseline_m: float) -> None:
    depth = wall(3.0, (20, 640))
    depth[:, 300:400] = 1.0
    hole = measure(depth, **PLAIN, baseline_m=baseline_m) == 0
    width = round(585.5 * 0.075 * (1 / 1.0 - 1 / 3.0))
    expected = np.zeros_like(hole)
    if baseline_m > 0:
        expected[:, 300 - width : 300] = True
    else:
        expected[:, 400 : 400 + width] = True
    assert np.abs(hole ^ expected).sum(axis=1).max() <= 2


def test_a_thin_pole_has_its_shadow_beside_it_and_light_between() -> None:
    depth = wall(4.0, (5, 200))
    depth[:, 100:104] = 1.0
    lit = ~projector_shadow(40.0 / depth, to_the_right=True)
    # Disparities 40 and 10: the pole is moved by 30 pixels more than the wall.
    assert np.array_equal(np.nonzero(~lit[2])[0], [70, 71, 72, 73])


def test_shadows_are_those_of_rays() -> None:
    """Against all pairs of pixels of a row: is there another, nearer one within half a pixel of the projector's ray?"""
    x = np.arange(160) + 0.5
    for seed in range(20):
        disparity = np.full(160, 5.0, np.float32)
        for center, half, d in rng(seed).uniform((10, 4, 6), (150, 20, 19), (4, 3)):
            disparity[np.abs(x - center) < half] = d
        ray = x - disparity
        blocks = (np.abs(ray[None] - ray[:, None]) <= 0.5) & (disparity[None] > disparity[:, None] + 1)
        expected = np.pad(blocks.any(axis=1), 1)
        found = projector_shadow(disparity[None], to_the_right=True)[0]
        # Columns of whole pixels move the ends of a shadow by up to one pixel.
        assert np.all(~found | expected[1:-1] | expected[:-2] | expected[2:])
        assert np.all(found | ~(expected[1:-1] & expected[:-2] & expected[2:]))
        assert expected.any()


def test_smooth_surfaces_cast_no_shadow() -> None:
    for angle_deg in (-60.0, -20.0, 20.0, 60.0):
        disparity = (585.5 * 0.075 / leaning_plane(angle_deg, (3, 640))).astype(np.float32)
        assert not projector_shadow(disparity, True).any()
        assert not projector_shadow(disparity, False).any()


def test_window_support_by_brute_force() -> None:
    disparity = rng().choice([1.0, 1.8, 3.0, 9.0], (14, 17)).astype(np.float32)
    for window in (1, 3, 5):
        half = window // 2
        padded = np.pad(disparity, half, mode="edge")
        found = window_support(disparity, window)
        for row in range(14):
            for column in range(17):
                around = padded[row : row + window, column : column + window]
                assert found[row, column] == pytest.approx((np.abs(around - disparity[row, column]) <= 1).mean())


def test_corners_and_thin_things_drop_out() -> None:
    depth = wall(3.0, (100, 200))
    depth[20:60, 20:70] = 1.0  # a board
    depth[10:90, 120:123] = 1.0  # a pole
    seen = measure(depth, **{**PLAIN, "window": 9, "baseline_m": -0.075})
    assert np.all(seen[20:60, 45] > 0)
    assert np.all(seen[40, 20:70] > 0)
    assert seen[20, 20] == 0
    assert np.all(seen[10:90, 120:123] == 0)


def test_the_same_seed_gives_the_same_picture_and_the_argument_stays() -> None:
    depth = wall(2.0)
    depth[100:200, 100:300] = 1.2
    before = depth.copy()
    assert np.array_equal(measure(depth, 4), measure(depth, 4))
    assert not np.array_equal(measure(depth, 4), measure(depth, 5))
    assert np.array_equal(depth, before)
    assert measure(depth.astype(np.float64)).dtype == np.float32


def test_a_typical_scene_has_some_holes_but_not_many() -> None:
    depth = wall(2.5)
    depth[100:300, 200:400] = 1.2
    seen = measure(depth)
    assert 0.01 < (seen == 0).mean() < 0.1
    good = seen > 0
    assert np.median(np.abs(seen - depth)[good]) < 0.01


@pytest.mark.parametrize(
    "bad",
    [
        {"min_m": 0.0},
        {"min_m": 5.0},
        {"baseline_m": np.nan},
        {"steps_per_px": -1},
        {"max_angle_deg": 91.0},
        {"window": 4},
        {"min_support": 1.5},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        DepthCameraNoise(**bad)


def test_arguments_that_do_not_fit_are_refused() -> None:
    effect = DepthCameraNoise()
    with pytest.raises(ConfigError, match="depth"):
        effect(np.zeros((4, 4, 1), np.float32), rng(), intrinsics=KINECT_K)
    with pytest.raises(ConfigError, match="depth"):
        effect(np.zeros((4, 4), np.uint16), rng(), intrinsics=KINECT_K)
    with pytest.raises(ConfigError, match="intrinsics"):
        effect(wall(1.0), rng(), intrinsics=np.eye(4))
    with pytest.raises(ConfigError, match="normals"):
        effect(wall(1.0), rng(), intrinsics=KINECT_K, normals_camera=np.zeros((4, 4, 3)))
