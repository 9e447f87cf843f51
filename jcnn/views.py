"""The views of an image whose outputs' mean is what a network predicts of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class View(NamedTuple):
    """How an image is looked at.

    Attributes:
        down: Pixels that it is moved down by; its mirror image enters at the border.
        right: Pixels that it is moved to the right by.
        mirrored: Whether it is mirrored then, left to right.
    """

    down: int = 0
    right: int = 0
    mirrored: bool = False

    def of(self, x: Array, space: str | None = None) -> Array:
        """Return images (N, H, W, C) seen so.

        Args:
            x: The images, of more pixels along each axis than they are moved by.
            space: The mesh axis that their height is split over, inside ``jax.shard_map``.

        >>> image = jnp.arange(6.0).reshape(1, 2, 3, 1)
        >>> View(down=1).of(image)[0, :, :, 0].tolist()
        [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
        >>> View(right=-1, mirrored=True).of(image)[0, :, :, 0].tolist()
        [[1.0, 2.0, 1.0], [4.0, 5.0, 4.0]]
        """
        if self.down:
            whole = x if space is None else lax.all_gather(x, space, axis=1, tiled=True)
            moved = _moved(whole, 1, self.down)
            first = 0 if space is None else lax.axis_index(space) * x.shape[1]
            x = lax.dynamic_slice_in_dim(moved, first, x.shape[1], axis=1)
        if self.right:
            x = _moved(x, 2, self.right)
        return x[:, :, ::-1] if self.mirrored else x


def _moved(x: Array, axis: int, pixels: int) -> Array:
    many, size = abs(pixels), x.shape[axis]
    pads = [(many, many) if at == axis else (0, 0) for at in range(x.ndim)]
    around = jnp.pad(x, pads, mode="reflect")
    return lax.slice_in_dim(around, many - pixels, many - pixels + size, axis=axis)


def views(mirrored: bool, pixels: int) -> tuple[View, ...]:
    """Return the views of an evaluation: the image, moved to its eight neighbours, mirrored.

    >>> len(views(True, 1)), views(False, 0)
    (18, (View(down=0, right=0, mirrored=False),))
    """
    along = (0, -pixels, pixels) if pixels else (0,)
    sides = (False, True) if mirrored else (False,)
    return tuple(View(*moved, side) for side in sides for moved in product(along, along))


def over_views(
    apply: Callable[[Array], Array], views: tuple[View, ...], space: str | None = None
) -> Callable[[Array], Array]:
    """Return ``x -> mean of apply over the views of x``; one program serves all views."""
    if len(views) == 1:
        return apply
    return lambda x: lax.map(apply, jnp.stack([view.of(x, space) for view in views])).mean(axis=0)
