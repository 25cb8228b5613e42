"""Lens distortion of points and pictures: OpenCV's values, inverses, fold-over, brute force."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.errors import ConfigError
from blendtorch.sensor import BrownConrady

K = np.array([[500.0, 0.0, 320.0], [0.0, 510.0, 245.0], [0.0, 0.0, 1.0]])
FIVE = {"k1": -0.2, "k2": 0.05, "p1": 0.001, "p2": -0.002, "k3": 0.003}
EIGHT = {**FIVE, "k4": 0.1, "k5": -0.02, "k6": 0.004}
SHAPE = (60, 80)
SMALL_K = np.array([[70.0, 0.0, 41.0], [0.0, 68.0, 29.0], [0.0, 0.0, 1.0]])
SMALL = {"barrel": {"k1": -0.2, "k2": 0.04}, "pincushion": {"k1": 0.15, "p1": 0.004, "p2": -0.006}, "rational": EIGHT}

# cv2.projectPoints of OpenCV 5.0.0 for points at depth 1, with cx - 0.5 and cy - 0.5; here 0.5 is added again.
NORMALIZED = np.array([[0.1, 0.2], [-0.5, 0.3], [0.6, -0.4], [0.0, 0.0]])
OPENCV = {
    "five": (
        FIVE,
        [[368.95626875, 345.51828825], [84.035522, 388.56958054], [591.0025472, 59.7898679], [319.5, 244.5]],
    ),
    "eight": (
        EIGHT,
        [[368.71239526, 345.02078633], [91.27196627, 384.14087664], [578.7098647, 68.148892], [319.5, 244.5]],
    ),
}


@pytest.mark.parametrize("name", OPENCV)
def test_points_are_where_opencv_puts_them(name: str) -> None:
    coefficients, expected = OPENCV[name]
    xy = NORMALIZED * (500.0, 510.0) + (320.0, 245.0)
    np.testing.assert_allclose(BrownConrady(K, **coefficients).distort_points(xy), np.array(expected) + 0.5, atol=1e-7)


def test_coefficients_are_in_the_order_of_opencv() -> None:
    assert BrownConrady(K, **FIVE).coefficients.tolist() == [-0.2, 0.05, 0.001, -0.002, 0.003]
    assert BrownConrady(K, **EIGHT).coefficients.tolist() == [-0.2, 0.05, 0.001, -0.002, 0.003, 0.1, -0.02, 0.004]


@given(
    st.floats(-0.25, 0.3), st.floats(0.0, 0.1), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01), st.floats(-0.02, 0.02)
)
def test_undistortion_is_the_inverse(k1: float, k2: float, p1: float, p2: float, k3: float) -> None:
    lens = BrownConrady(K, k1=k1, k2=k2, p1=p1, p2=p2, k3=k3)
    xy = np.random.default_rng(0).uniform((0, 0), (640, 480), (100, 2))
    distorted = lens.distort_points(xy)
    back = lens.undistort_points(distorted)
    assert not np.isnan(distorted).any()
    assert np.abs(lens.distort_points(back) - distorted).max() < 1e-5
    # Near the fold a small error of the distorted point is a large one of the undistorted.
    assert np.abs(back - xy).max() < 1e-2


@pytest.mark.parametrize("name", SMALL)
def test_undistortion_is_the_inverse_to_the_last_digits(name: str) -> None:
    lens = BrownConrady(SMALL_K, **SMALL[name])
    xy = np.random.default_rng(0).uniform((0, 0), (80, 60), (5, 7, 2))
    np.testing.assert_allclose(lens.undistort_points(lens.distort_points(xy)), xy, atol=1e-5)
    np.testing.assert_allclose(lens.distort_points(lens.undistort_points(xy)), xy, atol=1e-5)


def test_the_jacobian_is_the_derivative() -> None:
    """It decides what is folded and how fast the inverse is found; the inverse is right without it, too."""
    lens = BrownConrady(K, **{**EIGHT, "p1": 0.03, "p2": -0.02})
    x = np.random.default_rng(0).uniform(-0.8, 0.8, (2, 50))
    _, (a, b, d), _ = lens._distort(x)
    h = 1e-6
    for axis, expected in enumerate([(a, b), (b, d)]):
        step = np.zeros((2, 1))
        step[axis] = h
        slope = (lens._distort(x + step)[0] - lens._distort(x - step)[0]) / (2 * h)
        np.testing.assert_allclose(slope, expected, atol=1e-8)


def test_skewed_intrinsics_too() -> None:
    skewed = K + np.array([[0, 12.0, 0], [0, 0, 0], [0, 0, 0]])
    xy = NORMALIZED @ skewed[:2, :2].T + skewed[:2, 2]
    distorted = (BrownConrady(K, **FIVE).distort_points(NORMALIZED * (500, 510) + K[:2, 2]) - K[:2, 2]) / (500, 510)
    expected = distorted @ skewed[:2, :2].T + skewed[:2, 2]
    lens = BrownConrady(skewed, **FIVE)
    np.testing.assert_allclose(lens.distort_points(xy), expected, atol=1e-9)
    np.testing.assert_allclose(lens.undistort_points(expected), xy, atol=1e-5)


def test_points_of_all_shapes() -> None:
    lens = BrownConrady(K, **FIVE)
    for shape in [(2,), (0, 2), (3, 2), (0, 8, 2), (2, 8, 2)]:
        xy = np.full(shape, 100.0)
        assert lens.distort_points(xy).shape == shape
        assert lens.undistort_points(xy).shape == shape
    nan = lens.undistort_points([[np.nan, 1.0], [100.0, 100.0]])
    assert np.isnan(nan).tolist() == [[True, True], [False, False]]
    for call in (lens.distort_points, lens.undistort_points):
        with pytest.raises(ConfigError, match=r"\(\.\.\., 2\)"):
            call(np.zeros((4, 3)))


def test_the_fold_is_where_the_radius_no_longer_grows() -> None:
    assert BrownConrady(K).fold_radius == np.inf
    assert BrownConrady(K, k1=0.3).fold_radius == np.inf
    assert BrownConrady(K, k1=-0.3).fold_radius == pytest.approx(np.sqrt(1 / 0.9))  # 1 - 3 * 0.3 r^2 = 0
    assert BrownConrady(K, k1=-0.3, k2=0.2).fold_radius == np.inf
    assert BrownConrady(K, k4=-0.25).fold_radius == pytest.approx(2.0)  # a pole
    assert not np.isnan(BrownConrady(K, k4=-3.0).undistort_points([0.0, 0.0])).any()  # reached before its pole
    for coefficients in ({"k1": -0.3}, {"k1": 0.2, "k2": -0.3}, {"k1": 0.1, "k4": 0.5, "k5": 0.2}, EIGHT):
        lens = BrownConrady(K, **coefficients)
        radius = np.linspace(0.0, min(lens.fold_radius, 10.0), 10_000)
        s = radius**2
        k = {f"k{i}": coefficients.get(f"k{i}", 0.0) for i in range(1, 7)}
        bent = radius * (1 + k["k1"] * s + k["k2"] * s**2 + k["k3"] * s**3)
        bent /= 1 + k["k4"] * s + k["k5"] * s**2 + k["k6"] * s**3
        assert np.all(np.diff(bent) > 0)


def test_points_beyond_the_fold_are_nan() -> None:
    lens = BrownConrady(K, k1=-0.3)  # folds at 1.054, and reaches 0.703
    assert not np.isnan(lens.distort_points([320 + 500 * 1.05, 245])).any()
    assert np.isnan(lens.distort_points([320 + 500 * 1.06, 245])).all()
    assert np.isnan(lens.distort_points([320 + 500 * 30.0, 245])).all()
    assert not np.isnan(lens.undistort_points([320 + 500 * 0.70, 245])).any()
    assert np.isnan(lens.undistort_points([320 + 500 * 0.71, 245])).all()


@pytest.mark.parametrize("coefficients", [{"k1": -0.5}, {"k1": 0.9, "k2": -3.0}, {"k4": 3.0, "k5": 1.0}, {"p1": 0.6}])
def test_pictures_that_fold_over_are_refused(coefficients: dict) -> None:
    lens = BrownConrady(K, **coefficients)
    with pytest.raises(ConfigError, match="monotonic"):
        lens.distort_image(np.zeros((480, 640, 3), np.uint8))


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_no_distortion_changes_nothing(interpolation: str, dtype: type) -> None:
    image = (np.random.default_rng(0).random((*SHAPE, 3)) * 255).astype(dtype)
    assert np.array_equal(BrownConrady(SMALL_K).distort_image(image, interpolation), image)


@pytest.mark.parametrize("name", SMALL)
def test_nearest_takes_the_pixel_of_the_undistorted_position(name: str) -> None:
    lens = BrownConrady(SMALL_K, **SMALL[name])
    ids = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint32).reshape(SHAPE) + 2**31
    distorted = lens.distort_image(ids, "nearest", 7)
    assert distorted.dtype == np.uint32
    for row, column in np.random.default_rng(0).integers((0, 0), SHAPE, (300, 2)):
        x, y = lens.undistort_points([column + 0.5, row + 0.5])
        inside = 0 <= x <= SHAPE[1] and 0 <= y <= SHAPE[0]
        expected = ids[min(int(y), SHAPE[0] - 1), min(int(x), SHAPE[1] - 1)] if inside else 7
        assert distorted[row, column] == expected


@pytest.mark.parametrize("name", SMALL)
def test_linear_reproduces_what_is_linear(name: str) -> None:
    lens = BrownConrady(SMALL_K, **SMALL[name])
    x, y = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
    image = np.stack([2 * x - y, x * y, np.ones(SHAPE)], axis=-1)
    distorted = lens.distort_image(image, "linear", -1.0)
    u, v = np.moveaxis(lens.undistort_points(np.stack([x, y], axis=-1)), -1, 0)
    inner = (u >= 0.5) & (u <= SHAPE[1] - 0.5) & (v >= 0.5) & (v <= SHAPE[0] - 0.5)
    assert inner.mean() > 0.5
    np.testing.assert_allclose(distorted[inner], np.stack([2 * u - v, u * v, np.ones(SHAPE)], -1)[inner], atol=1e-3)
    outside = (u < 0) | (u > SHAPE[1]) | (v < 0) | (v > SHAPE[0])
    assert outside.any() == (name == "barrel" or name == "rational")
    assert np.all(distorted[outside] == -1.0)


@pytest.mark.parametrize("name", SMALL)
def test_a_dot_lands_where_its_point_does(name: str) -> None:
    lens = BrownConrady(SMALL_K, **SMALL[name])
    for center in ([20.0, 15.0], [60.0, 20.0], [45.0, 48.0]):
        x, y = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
        dot = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * 2.0**2))
        distorted = lens.distort_image(dot)
        seen = np.array([(distorted * x).sum(), (distorted * y).sum()]) / distorted.sum()
        assert np.abs(seen - lens.distort_points(center)).max() < 0.2


def test_ids_are_never_blended() -> None:
    for dtype in (np.uint32, np.int64, bool):
        with pytest.raises(ConfigError, match="blend"):
            BrownConrady(SMALL_K, **FIVE).distort_image(np.zeros(SHAPE, dtype), "linear")
    with pytest.raises(ConfigError, match="cubic"):
        BrownConrady(SMALL_K).distort_image(np.zeros(SHAPE, np.uint8), "cubic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="shape"):
        BrownConrady(SMALL_K).distort_image(np.zeros(5, np.uint8))


def test_the_map_is_kept_for_each_shape_but_not_pickled() -> None:
    lens = BrownConrady(SMALL_K, **SMALL["barrel"])
    assert lens.sampling_map(SHAPE) is lens.sampling_map(SHAPE)
    for width in range(70, 80):
        lens.sampling_map((60, width))
    assert len(lens._maps) == 4
    packed = pickle.dumps(lens)
    assert len(packed) < 2000
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    assert np.array_equal(pickle.loads(packed).distort_image(image), lens.distort_image(image))


@pytest.mark.parametrize(
    "bad",
    [np.eye(4), np.diag([-1.0, 1.0, 1.0]), np.full((3, 3), np.nan), np.array([[1, 0, 0], [0, 1, 0], [0, 0.5, 1.0]])],
)
def test_matrices_that_are_no_intrinsics_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="intrinsics"):
        BrownConrady(bad)


def test_coefficients_must_be_finite() -> None:
    with pytest.raises(ConfigError, match="finite"):
        BrownConrady(K, k1=np.nan)
