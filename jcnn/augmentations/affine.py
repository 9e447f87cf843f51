"""Turn, move and scale images."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Fraction, NonNegativeReal, Real, Shape


class Affine(Augmentation):
    """``affine``: turn by up to ± ``degrees``, move by ± ``pixels``, scale by 1 ± ``scale``.

    The image is resampled bilinearly about its centre; outside it stands ``fill``.
    """

    name: Literal["affine"] = "affine"
    degrees: NonNegativeReal = 0.0
    pixels: NonNegativeReal = 0.0
    scale: Fraction = 0.0
    fill: Real = 0.0

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`."""
        return jax.random.uniform(key, (4, shape[0]), jnp.float32, -1.0, 1.0).T

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        draws = draws.T.astype(wide)
        angle, factor = draws[0] * jnp.deg2rad(self.degrees), 1 + draws[1] * self.scale
        rows, columns = (jnp.arange(n, dtype=wide) - (n - 1) / 2 for n in x.shape[1:3])
        cosine, sine = (f(angle)[:, None, None] / factor[:, None, None] for f in (jnp.cos, jnp.sin))
        down = rows[None, :, None] + self.pixels * draws[2][:, None, None]
        right = columns[None, None, :] + self.pixels * draws[3][:, None, None]
        source_rows = cosine * down - sine * right + (x.shape[1] - 1) / 2
        source_columns = sine * down + cosine * right + (x.shape[2] - 1) / 2
        return jax.vmap(partial(resampled, fill=self.fill))(x, source_rows, source_columns)


def resampled(image: Array, rows: Array, columns: Array, *, fill: float) -> Array:
    """Read one image at fractional places, bilinearly."""
    top, left = jnp.floor(rows), jnp.floor(columns)
    result = jnp.zeros((*rows.shape, image.shape[-1]), image.dtype)
    for below in (0, 1):
        for beside in (0, 1):
            row, column = top + below, left + beside
            weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
            value = image.at[row.astype(jnp.int32), column.astype(jnp.int32)].get(
                mode="fill", fill_value=fill, wrap_negative_indices=False
            )
            result = result + value * weight[..., None].astype(image.dtype)
    return result
