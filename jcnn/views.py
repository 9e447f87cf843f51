"""The views of an image whose outputs' mean is what a network predicts of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jcnn import ops


class View(NamedTuple):
    """How an image is looked at.

    Attributes:
        shift: Pixels that it is moved by, down and to the right; zeros enter.
        mirrored: Whether it is mirrored then, left to right.
    """

    shift: int = 0
    mirrored: bool = False

    def of(self, x: Array, space: str | None = None) -> Array:
        """Return images (N, H, W, C) seen so.

        Args:
            x: The images.
            space: The mesh axis that their height is split over, inside ``jax.shard_map``.

        >>> image = jnp.arange(4.0).reshape(1, 2, 2, 1)
        >>> View(shift=1).of(image)[0, :, :, 0].tolist()
        [[0.0, 0.0], [0.0, 0.0]]
        >>> View(shift=-1, mirrored=True).of(image)[0, :, :, 0].tolist()
        [[0.0, 3.0], [0.0, 0.0]]
        """
        for axis in (1, 2) if self.shift else ():
            x = _moved(x, axis, self.shift, space if axis == 1 else None)
        return x[:, :, ::-1] if self.mirrored else x


def _moved(x: Array, axis: int, shift: int, space: str | None) -> Array:
    size, many = x.shape[axis], abs(shift)
    if space is None:
        pads = [(many, many) if at == axis else (0, 0) for at in range(x.ndim)]
        x = jnp.pad(x, pads)
    else:
        x = ops.halo_exchange(x, axis, space, many, many)
    return lax.slice_in_dim(x, many - shift, many - shift + size, axis=axis)


def views(mirrored: bool, pixels: int) -> tuple[View, ...]:
    """Return the views of an evaluation: the image, moved both ways along its diagonal, mirrored.

    >>> len(views(True, 1)), views(False, 0)
    (6, (View(shift=0, mirrored=False),))
    """
    shifts = (0, -pixels, pixels) if pixels else (0,)
    return tuple(View(s, m) for m in ((False, True) if mirrored else (False,)) for s in shifts)


def over_views(
    apply: Callable[[Array], Array], views: tuple[View, ...], space: str | None = None
) -> Callable[[Array], Array]:
    """Return ``x -> mean of apply over the views of x``; one program serves all views."""
    if len(views) == 1:
        return apply
    return lambda x: lax.map(apply, jnp.stack([view.of(x, space) for view in views])).mean(axis=0)
