"""What every augmentation is: a pure function of a key and a batch, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jcnn.fields import Shape, Table, check_images


class Augmentation(Table):
    """The base of every augmentation; its fields are the keys of one entry of ``augment``.

    ``fill`` is what moves in from outside or covers: the background of the normalised images.
    """

    name: str

    def check_input(self, input_shape: Shape) -> None:
        """Refuse examples that it cannot change.

        Raises:
            UserError: They are not images.
        """
        check_images(f"training.augment: '{self.name}'", input_shape)

    def apply(self, key: Array, x: Array) -> Array:
        """Change each example by itself.

        Args:
            key: A JAX random key.
            x: Examples of shape ``(N, height, width, channels)``.
        """
        return self.change(x, self.draw(key, x.shape, x.dtype))

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Any:
        """Draw what is random for a batch: a tree of arrays whose first axis is the examples'."""
        raise NotImplementedError

    def settle(self, draws: Any, marks: Array, epoch: int | Array) -> Any:
        """Return the draws as they hold in an epoch, for examples known by their :func:`marks`."""
        return draws

    def change(self, x: Array, draws: Any) -> Array:
        """Change each example as its draws say."""
        raise NotImplementedError


def augment(
    augmentations: Sequence[Augmentation],
    key: Array,
    x: Array,
    axis_name: str | tuple[str, ...] = (),
    epoch: int | Array = 0,
) -> Array:
    """Apply augmentations in their order, each with a key of its own.

    Args:
        augmentations: Which.
        key: A JAX random key.
        x: Examples of shape ``(N, *input_shape)``.
        axis_name: Axes of ``jax.shard_map`` that the batch is split over, ``x`` being a part of it:
            each example is changed as it would be in the whole batch.
        epoch: How many times all examples have been seen.

    >>> from jcnn.augmentations import Flip, Shift
    >>> augment([Shift(pixels=1), Flip()], jax.random.key(0), jax.numpy.ones((1, 4, 4, 1))).shape
    (1, 4, 4, 1)
    """
    known_by = marks(x)  # as they are read: what changes them first is not to change this
    for index, augmentation in enumerate(augmentations):
        count = len(x) * (lax.axis_size(axis_name) if axis_name else 1)
        whole = (count, *x.shape[1:])
        draws = augmentation.draw(jax.random.fold_in(key, index), whole, x.dtype)
        if axis_name:
            draws = jax.tree.map(partial(own_part, count=len(x), axis_name=axis_name), draws)
        x = augmentation.change(x, augmentation.settle(draws, known_by, epoch))
    return x


def marks(x: Array) -> Array:
    """Return a number, uint32, that stands for each example: of its values, in whatever batch."""
    words = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32).reshape(len(x), -1)
    odd = 2 * jnp.arange(words.shape[1], dtype=jnp.uint32) + 1
    mixed = (words * odd).sum(1, dtype=jnp.uint32)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x9E3779B1)
    return mixed ^ (mixed >> 16)


def own_part(a: Array, *, count: int, axis_name: str | tuple[str, ...]) -> Array:
    """Return the ``count`` examples of a whole batch that are this device's."""
    return lax.dynamic_slice_in_dim(a, lax.axis_index(axis_name) * count, count)
