"""Cut a part out of images, and bring it to the images' own size."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from jcnn.augmentations.affine import resampled
from jcnn.augmentations.base import Augmentation
from jcnn.fields import Real, Shape


class Crop(Augmentation):
    """``crop``: a part of each image, at any place, of ``smallest`` to 1 of its sides.

    It is made as large as the image was, bilinearly.
    """

    name: Literal["crop"] = "crop"
    smallest: Annotated[Real, Field(gt=0, le=1)] = 0.6

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`."""
        return jax.random.uniform(key, (3, shape[0]), jnp.float32).T

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        draws = draws.T
        side = self.smallest + (1 - self.smallest) * draws[0]
        places = []
        for draw, length in zip(draws[1:], x.shape[1:3], strict=True):
            first = draw * (1 - side) * (length - 1)
            steps = jnp.arange(length, dtype=jnp.float32)
            places.append(first[:, None] + side[:, None] * steps)
        rows, columns = places[0][:, :, None], places[1][:, None, :]
        shape = (len(x), *x.shape[1:3])
        rows, columns = jnp.broadcast_to(rows, shape), jnp.broadcast_to(columns, shape)
        return jax.vmap(partial(resampled, fill=0.0))(x, rows, columns)
