"""Colour curves: the values of IEC 61966-2-1, for numpy and torch alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blendtorch.btt import linear_to_srgb, srgb_to_linear

# sRGB, linear: by the standard's formula, as literals so that the code does not judge itself.
KNOWN = [
    (0.0, 0.0),
    (0.04045, 0.0031308049535603713),
    (0.02, 0.0015479876160990712),
    (0.2, 0.033104766570885055),
    (0.5, 0.21404114048223255),
    (0.735356983052449, 0.5),
    (1.0, 1.0),
]
KINDS: dict[str, Callable[..., Any]] = {"numpy": np.asarray, "torch": torch.tensor}
FLOATS = {"numpy": (np.float16, np.float32, np.float64), "torch": (torch.float16, torch.float32, torch.float64)}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("srgb", "linear"), KNOWN)
def test_known_values(srgb: float, linear: float, make: Callable) -> None:
    # The two pieces of the standard's curve do not meet exactly: 1e-7 apart.
    assert float(srgb_to_linear(make([srgb], dtype=make([0.0]).dtype))[0]) == pytest.approx(linear, abs=1e-6)
    assert float(linear_to_srgb(make([linear]))[0]) == pytest.approx(srgb, abs=2e-6)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_bytes_come_back(make: Callable) -> None:
    image = make(np.arange(256, dtype=np.uint8).reshape(8, 32))
    linear = srgb_to_linear(image)
    back = linear_to_srgb(linear)
    assert type(back) is type(image)
    assert str(linear.dtype).endswith("float32")
    assert back.shape == image.shape
    assert np.array_equal(np.rint(np.asarray(back) * 255).astype(np.uint8), np.asarray(image))


@pytest.mark.parametrize("convert", [srgb_to_linear, linear_to_srgb])
def test_numpy_and_torch_agree(convert: Callable) -> None:
    image = np.random.default_rng(0).random((5, 7, 3))
    np.testing.assert_allclose(convert(image), convert(torch.from_numpy(image)).numpy(), rtol=1e-12)


@pytest.mark.parametrize("convert", [srgb_to_linear, linear_to_srgb])
def test_the_curve_rises_without_a_step(convert: Callable) -> None:
    steps = np.diff(convert(np.linspace(0, 1, 100_001)))
    assert steps.min() > 0
    assert steps.max() < 2e-4


@pytest.mark.parametrize("convert", [srgb_to_linear, linear_to_srgb])
@pytest.mark.parametrize("kind", KINDS)
def test_floating_point_types_are_kept(kind: str, convert: Callable) -> None:
    for dtype in FLOATS[kind]:
        assert convert(KINDS[kind]([0.0, 0.5, 1.0], dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("convert", [srgb_to_linear, linear_to_srgb])
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_out_of_range_gives_no_nan_and_the_input_is_left_alone(make: Callable, convert: Callable) -> None:
    image = make([-0.5, 2.0])
    assert not np.isnan(np.asarray(convert(image))).any()
    assert np.asarray(image).tolist() == [-0.5, 2.0]


@pytest.mark.parametrize("convert", [srgb_to_linear, linear_to_srgb])
@pytest.mark.parametrize(
    "image", [np.zeros(2, np.int32), np.zeros(2, bool), np.zeros(2, np.uint16), torch.zeros(2, dtype=torch.int64)]
)
def test_other_dtypes_are_refused_by_name(image: Any, convert: Callable) -> None:
    with pytest.raises(TypeError, match=f"image is {image.dtype}, expected uint8"):
        convert(image)
