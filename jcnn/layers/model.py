"""A model: a sequence of layers, and pure functions of its parameters."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator
from types import ModuleType

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jcnn.axes import boolean, known
from jcnn.errors import UserError, unknown
from jcnn.fields import Shape
from jcnn.layers.base import WHOLE, Context, Layer, Params, Shards, State
from jcnn.layers.sequence import Sequence
from jcnn.ops.arguments import floating, naming, random_key


class Model(Sequence):
    """Layers in their order; parameters and state are plain dicts, given and returned.

    >>> import jax
    >>> from jcnn.layers import Conv, Dense, Flatten, ReluMaxPool
    >>> convolutional = (Conv(features=4, window=3), ReluMaxPool(window=2))
    >>> model = Model((*convolutional, Flatten(), Dense(features=10)))
    >>> model.names
    ('conv_1', 'relu_max_pool_1', 'flatten_1', 'dense_1')
    >>> model.shapes((8, 8, 1))
    [(6, 6, 4), (3, 3, 4), (36,), (10,)]
    >>> params, state = model.init(jax.random.key(0), (8, 8, 1))
    >>> jax.tree.map(lambda a: a.shape, params)["conv_1"]
    {'b': (4,), 'w': (3, 3, 1, 4)}
    >>> y, state = model.apply(params, state, jax.numpy.zeros((2, 8, 8, 1)))
    >>> y.shape
    (2, 10)
    """

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """Draw the float32 parameters and the initial state.

        Args:
            key: A JAX random key; each layer's own comes from it and from its position.
            input_shape: Shape of one example, channels last, without the batch axis.

        Returns:
            Parameters, ``{"conv_1": {"w": …, "b": …}, …}``, and state, keyed likewise; layers that
            have none are absent.

        Raises:
            TypeError: ``key`` is no random key.
            UserError: ``input_shape`` is no shape, or a layer does not fit its input.
        """
        return super().init(random_key("Model.init", key), input_shape)

    def walk(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """See :meth:`Sequence.walk`."""
        return super().walk(_lengths(input_shape))

    def apply(
        self,
        params: Params,
        state: State,
        x: ArrayLike,
        *,
        training: bool = False,
        key: Array | None = None,
        ops: ModuleType | None = None,
        frozen: Collection[str] = frozenset(),
        shards: Shards = WHOLE,
    ) -> tuple[Array, State]:
        """Compute the output for a batch.

        Args:
            params: Parameters from :meth:`init` or from training; cast to the dtype of ``x``.
            state: State that belongs to them.
            x: Batch of shape ``(N, *input_shape)``, floating point; its dtype is that of the
                computation.
            training: Whether dropout and batch statistics are in force.
            key: A JAX random key, for dropout in training.
            ops: :mod:`jcnn.ops` where not given, or :mod:`jcnn.reference`: the same model through
                autodiff.
            frozen: Names of layers that are applied as in evaluation, in training too.
            shards: Inside ``jax.shard_map``, how the batch, of which ``x`` is a part, is split:
                batch statistics and dropout are then those of the whole batch.

        Returns:
            Output of shape ``(N, *output_shape)``, and the next state.

        Raises:
            TypeError: ``x`` is not floating point, ``key`` is no random key, or ``training`` is
                traced.
            UserError: Parameters, state or ``x`` are not of this model, or it has no layer of a
                name in ``frozen``.
        """
        if ops is None:
            import jcnn.ops as ops
        where = "Model.apply"
        (x,) = floating(where, x=x)
        with naming(where):
            training = boolean("training", training)
        key = None if key is None else random_key(where, key)
        context = Context(ops, training, key, self._known_names(frozen), shards)
        try:
            return super().apply(params, state, x, context)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            wrong = self._misfit(params, state, x) if shards is WHOLE else None
            if wrong is None:
                raise
            raise UserError(wrong) from error

    def _known_names(self, frozen: Collection[str]) -> frozenset[str]:
        """Refuse a name that no layer has."""
        names = frozenset((frozen,) if isinstance(frozen, str) else frozen)
        for name in names.difference(self.names):
            raise UserError(f"frozen: {unknown(name, self.names)}")
        return names

    def _misfit(self, params: Params, state: State, x: Array) -> str | None:
        """Say what is not of this model, which a layer alone can't know; only asked on failure."""
        try:
            expected = jax.eval_shape(lambda: self.init(jax.random.key(0), jnp.shape(x)[1:]))
        except UserError as error:
            return f"x of shape {jnp.shape(x)} does not fit, (N, *input_shape) is expected: {error}"
        for what, own, given in zip(("params", "state"), expected, (params, state), strict=True):
            shapes = _shapes(given)
            for name, shape in _shapes(own).items():
                if shapes.get(name) != shape:
                    return (
                        f"the {what} are not this model's: for x of shape {jnp.shape(x)}, "
                        f"(N, *input_shape), expected {name} of shape {shape}, "
                        f"found {shapes.get(name, 'none of this name')}"
                    )
        return None


def _lengths(input_shape: Shape) -> Shape:
    """Return the lengths of one example's axes as Python's integers."""
    try:
        shape = tuple(operator.index(n) if known(n) else n for n in input_shape)
    except TypeError:
        shape = None
    if shape is None or any(known(n) and n < 1 for n in shape):
        raise UserError(
            "input_shape must be the lengths of one example's axes, channels last, without that "
            f"of the batch, integers of at least 1; found {input_shape!r}"
        )
    return shape


def _shapes(tree: object) -> dict[str, Shape]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): jnp.shape(leaf)
        for path, leaf in leaves
    }
