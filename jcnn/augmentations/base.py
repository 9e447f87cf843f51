"""What every augmentation is: a pure function of a key and a batch, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax import Array

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
        raise NotImplementedError


def augment(augmentations: Sequence[Augmentation], key: Array, x: Array) -> Array:
    """Apply augmentations in their order, each with a key of its own.

    >>> from jcnn.augmentations import Flip, Shift
    >>> augment([Shift(pixels=1), Flip()], jax.random.key(0), jax.numpy.ones((1, 4, 4, 1))).shape
    (1, 4, 4, 1)
    """
    for index, augmentation in enumerate(augmentations):
        x = augmentation.apply(jax.random.fold_in(key, index), x)
    return x
