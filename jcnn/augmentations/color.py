"""Change brightness, contrast and colours of images."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Fraction, NonNegativeReal, Shape


class Color(Augmentation):
    """``color``: what light and cameras do, each drawn evenly and anew for every image.

    Attributes:
        brightness: at most so much is added to all values, or taken from them; in units of the
            normalised image.
        contrast: differences from the image's mean are multiplied by 1 ± this.
        saturation: differences of the channels from their mean in each pixel are multiplied by
            1 ± this; nothing happens to gray images.
    """

    name: Literal["color"] = "color"
    brightness: NonNegativeReal = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`."""
        return jax.random.uniform(key, (3, shape[0], 1, 1, 1), dtype, -1.0, 1.0).swapaxes(0, 1)

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        draws = draws.swapaxes(0, 1)
        bright, contrast, saturation = (
            draw * jnp.asarray(most, x.dtype)
            for draw, most in zip(
                draws, (self.brightness, self.contrast, self.saturation), strict=True
            )
        )
        gray = x.mean(axis=-1, keepdims=True)
        x = gray + (x - gray) * (1 + saturation)
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        return mean + (x - mean) * (1 + contrast) + bright
