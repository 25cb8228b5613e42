"""Shot and read noise of an image sensor, in linear light."""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from ._rng import check_rng
from ._srgb import decode, encode, num_colors


@dataclass(frozen=True)
class ShotReadNoise:
    """Adds the noise of a sensor that counts photo-electrons: Poissonian shot noise and Gaussian read noise.

    For a pixel of linear value y (1 is white), with N = full_well_e / gain electrons at white,

        electrons ~ Poisson(N y) + Normal(0, read_noise_e^2)
        value = min(round(electrons / N * (2^bits - 1)) / (2^bits - 1), 1)

    so that below saturation the mean is y and the variance a y + b + q with a = 1 / N, b = (read_noise_e / N)^2 and
    q = 1 / (12 (2^bits - 1)^2). This is the Poissonian-Gaussian model of Foi, Trimeche, Katkovnik and Egiazarian,
    "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE TIP 17(10), 2008 (section
    II: variance a y + b, clipped). The units are those of EMVA standard 1288, the linear camera model (variance
    K^2 sigma_d^2 + sigma_q^2 + K mu, with K = (2^bits - 1) / N digital numbers per electron), so that `full_well_e` and
    `read_noise_e` can be taken from a camera's data sheet (saturation capacity; temporal dark noise).

    Not modelled: dark current, fixed patterns, the colour filter and its interpolation, crosstalk. Each channel has
    noise of its own.

    Attributes:
        full_well_e: Electrons of a white pixel at gain 1, > 0 (saturation capacity).
        read_noise_e: Standard deviation of the read noise, electrons, >= 0 (temporal dark noise).
        bits: Of the analogue to digital conversion, which is linear: 1 to 24. None does not quantize.
        gain: Amplification before the conversion, > 0; 2 is one stop more ISO: white at half the electrons.
    """

    full_well_e: float
    read_noise_e: float
    bits: int | None = 12
    gain: float = 1.0

    def __post_init__(self) -> None:
        for name in ("full_well_e", "gain"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(f"{name} must be finite and greater than 0, got {getattr(self, name)}")
        if not (self.read_noise_e >= 0 and math.isfinite(self.read_noise_e)):
            raise ConfigError(f"read_noise_e must be finite and at least 0, got {self.read_noise_e}")
        if self.bits is not None and not 1 <= self.bits <= 24:
            raise ConfigError(f"bits must be 1 to 24, or None for no quantization, got {self.bits}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Makes the picture that the sensor would have taken; `image` is left as it is.

        Labels do not change.

        Args:
            image: (H, W) or (H, W, 1 .. 4). uint8 is sRGB, display-referred: it is decoded, and encoded again. This
                takes the picture for what the sensor saw, which fits Blender's view transform "Standard"; with "AgX"
                or "Filmic" pass the linear picture instead. Floating point is linear light, 1 at white. The second of
                two and the fourth of four channels is alpha, and stays as it is.
            rng: Where the randomness comes from; the same state gives the same picture.

        Returns:
            Same shape and dtype. Floating point is not cut off at 0 (the mean of black stays 0, as it does in raw
            pictures with a black level), but at 1, where the sensor saturates.

        Raises:
            ConfigError: Another shape or dtype, or `rng` is no generator.
            ValueError: NaN among floating-point values.
        """
        check_rng(rng)
        colors = num_colors(image)
        seen = image[..., :colors] if image.ndim == 3 else image
        noisy = self._expose(decode(seen) if image.dtype == np.uint8 else seen, rng)
        result = image.copy()
        result[..., : colors if image.ndim == 3 else None] = encode(noisy) if image.dtype == np.uint8 else noisy
        return result

    def _expose(self, linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(...) linear light to (...) linear light, float32 or float64."""
        white_e = self.full_well_e / self.gain
        # The upper bound is far above saturation, and keeps infinite light within what Poisson can count.
        electrons = rng.poisson(np.clip(linear, 0.0, 1e4) * white_e).astype(np.result_type(linear, np.float32))
        electrons += self.read_noise_e * rng.standard_normal(linear.shape, dtype=np.float32)
        value = electrons / white_e
        if self.bits is not None:
            top = 2**self.bits - 1
            value = np.rint(value * top) / top
        return np.minimum(value, 1.0)
