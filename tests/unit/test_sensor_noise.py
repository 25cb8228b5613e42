"""Shot and read noise: its statistics against the model, and what it must leave alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendtorch.btt import linear_to_srgb, srgb_to_linear
from blendtorch.errors import ConfigError
from blendtorch.sensor import ShotReadNoise
from blendtorch.sensor._srgb import decode, encode


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("light", [0.0, 0.01, 0.2, 0.6])
@pytest.mark.parametrize(
    ("full_well_e", "read_noise_e", "bits", "gain"),
    [(1000.0, 0.0, None, 1.0), (1000.0, 20.0, None, 1.0), (500.0, 5.0, 12, 2.0), (20000.0, 3.0, 6, 1.0)],
)
def test_mean_and_variance_are_those_of_the_model(
    light: float, full_well_e: float, read_noise_e: float, bits: int | None, gain: float
) -> None:
    image = np.full((500, 400), light, np.float64)
    noisy = ShotReadNoise(full_well_e, read_noise_e, bits, gain)(image, rng())
    white_e = full_well_e / gain
    step = 0.0 if bits is None else 1.0 / (2**bits - 1)
    variance = light / white_e + (read_noise_e / white_e) ** 2
    # Rounding adds step^2 / 12 where the noise spreads over several steps, and may hide the noise where it does not.
    if step**2 <= 4 * variance:
        assert noisy.var() == pytest.approx(variance + step**2 / 12, rel=0.02)
    assert noisy.mean() == pytest.approx(
        light, abs=5 * np.sqrt(variance / image.size) + step / 2 * (step**2 > 4 * variance)
    )


def test_few_electrons_are_poissonian() -> None:
    counts = ShotReadNoise(10.0, 0.0, bits=None)(np.full((400, 500), 0.2), rng()) * 10.0
    seen = np.bincount(np.rint(counts).astype(int).ravel(), minlength=6)[:6] / counts.size
    assert seen == pytest.approx([np.exp(-2.0) * 2.0**k / [1, 1, 2, 6, 24, 120][k] for k in range(6)], abs=0.005)


def test_values_are_those_of_the_converter() -> None:
    noisy = ShotReadNoise(5000.0, 30.0, bits=4)(rng().random((50, 60, 3)), rng())
    assert np.allclose(noisy * 15, np.rint(noisy * 15))
    assert noisy.max() <= 1.0


def test_white_saturates_and_black_keeps_its_mean() -> None:
    effect = ShotReadNoise(1000.0, 10.0)
    assert np.all(effect(np.full((20, 20), 50.0), rng()) == 1.0)
    assert np.all(effect(np.full((20, 20), np.inf), rng()) == 1.0)
    black = effect(np.zeros((300, 300)), rng())
    assert black.min() < 0 < black.max()
    assert abs(black.mean()) < 2e-4


def test_bytes_have_the_noise_in_linear_light() -> None:
    image = np.full((300, 300, 3), 128, np.uint8)
    noisy = ShotReadNoise(2000.0, 5.0)(image, rng())
    assert noisy.dtype == np.uint8
    light = float(srgb_to_linear(image[0, 0, 0:1])[0])
    spread = srgb_to_linear(noisy).astype(np.float64)
    assert spread.mean() == pytest.approx(light, abs=2e-4)
    assert spread.std() == pytest.approx(np.sqrt(light / 2000 + (5 / 2000) ** 2), rel=0.02)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_shape_dtype_alpha_and_argument_are_kept(shape: tuple[int, ...], dtype: type) -> None:
    image = (rng().random(shape) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    before = image.copy()
    noisy = ShotReadNoise(200.0, 5.0)(image, rng())
    assert (noisy.shape, noisy.dtype) == (shape, dtype)
    assert np.array_equal(image, before)
    colors = 3 if shape[-1] in (3, 4) else 1
    if len(shape) == 3:
        assert np.array_equal(noisy[..., colors:], image[..., colors:])
        noisy, image = noisy[..., :colors], image[..., :colors]
    assert (noisy != image).mean() > 0.5


def test_the_same_seed_gives_the_same_picture() -> None:
    image = rng().integers(0, 256, (30, 40, 3), dtype=np.uint8)
    effect = ShotReadNoise(1000.0, 3.0)
    assert np.array_equal(effect(image, rng(5)), effect(image, rng(5)))
    assert not np.array_equal(effect(image, rng(5)), effect(image, rng(6)))


@pytest.mark.parametrize(
    "bad",
    [
        {"full_well_e": 0.0},
        {"full_well_e": np.inf},
        {"read_noise_e": -1.0},
        {"read_noise_e": np.nan},
        {"bits": 0},
        {"bits": 25},
        {"gain": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ShotReadNoise(**{"full_well_e": 1000.0, "read_noise_e": 1.0, **bad})


@pytest.mark.parametrize("image", [np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), np.int32), np.zeros(4, np.uint8)])
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="expected a picture"):
        ShotReadNoise(1000.0, 1.0)(image, rng())


def test_codes_decode_as_in_btt_and_come_back() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(decode(codes), srgb_to_linear(codes), rtol=1e-5)
    assert np.array_equal(encode(decode(codes)), codes)


@given(st.floats(-0.5, 1.5))
def test_encoding_rounds_the_curve(light: float) -> None:
    # The table must give what the formula gives, but for ties within float32's resolution.
    exact = 255 * float(linear_to_srgb(np.array([np.clip(light, 0, 1)]))[0])
    assert abs(float(encode(np.array([light]))[0]) - exact) <= 0.5 + 1e-3


def test_what_is_no_generator_or_no_array_is_refused() -> None:
    noise = ShotReadNoise(1000, 2)
    with pytest.raises(ConfigError, match=r"rng is 0, expected a numpy\.random\.Generator"):
        noise(np.zeros((4, 4), np.uint8), 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a picture as a numpy array, got list"):
        noise([[0]], np.random.default_rng(0))  # type: ignore[arg-type]
