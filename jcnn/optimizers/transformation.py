"""Any optimizer, schedule and transformation of Optax, by name and arguments.

Optax's own signatures say what may be given, so all of its optimizers are available::

    [optimizer]
    name = "adamw"
    learning_rate = {schedule = "cosine_decay_schedule", init_value = 0.1, decay_steps = "9 epochs"}
    weight_decay = 1e-4
    mask = "kernels"
    before = [{name = "clip_by_global_norm", max_norm = 1.0}]

What the arguments may be: see :mod:`jcnn.optimizers.arguments`. What stands ``before`` the
optimizer may name the parameters that it is for, so that some learn faster than others::

    before = [{name = "scale", step_size = 64.0, only = ["offset"]}]

One optimizer is jcnn's own: see :mod:`jcnn.optimizers.diagonal_levenberg_marquardt`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
from pydantic import ConfigDict, Field, model_validator

from jcnn.fields import Table
from jcnn.optimizers.arguments import ArgumentError, check_call, find, named, resolve
from jcnn.optimizers.catalogue import full_name, optimizers, transformations


class Transformation(Table):
    """A gradient transformation of Optax: its name, and its arguments as further keys."""

    model_config = ConfigDict(extra="allow")

    name: str

    def _known(self) -> Mapping[str, Callable[..., Any]]:
        return transformations()

    @property
    def arguments(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _check(self) -> Transformation:
        check_call(find(("name",), self.name, self._known()), self.arguments, ())
        try:  # without computing, so that what Optax refuses is refused when the file is read
            built = self.build(steps_per_epoch=1000)
            params = {"layer": {"w": jax.ShapeDtypeStruct((2, 2), jnp.float32)}}
            jax.eval_shape(lambda p: built.update(p, built.init(p), p, curvature=lambda: p), params)
        except Exception as error:
            reason = str(error).split("\n")[0].rstrip(".")
            name = full_name(self._known()[self.name])
            raise ArgumentError((), f"{name} refuses its arguments: {reason}") from None
        return self

    def build(self, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
        """Make Optax's transformation.

        Args:
            steps_per_epoch: What an epoch stands for in ``"N epochs"``.
        """
        built = optax.with_extra_args_support(self._assemble(steps_per_epoch))

        # Optax mixes step counts with floats, also where the program around it is strict.
        def init(params: Any) -> Any:
            with jax.numpy_dtype_promotion("standard"):
                return built.init(params)

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            with jax.numpy_dtype_promotion("standard"):
                return built.update(updates, state, params, **extra)

        return optax.GradientTransformationExtraArgs(init, update)

    def _assemble(self, steps_per_epoch: int) -> optax.GradientTransformation:
        arguments = {k: resolve(k, v, steps_per_epoch) for k, v in self.arguments.items()}
        return self._known()[self.name](**arguments)


class Preparation(Transformation):
    """A transformation before the optimizer, of all gradients or of some parameters' alone.

    Attributes:
        only: Names of the parameters whose gradients it changes: "w", "b", "scale", "offset" or
            "slope"; all of them where not given.
    """

    only: (
        Annotated[tuple[Literal["w", "b", "scale", "offset", "slope"], ...], Field(min_length=1)]
        | None
    ) = None

    def _assemble(self, steps_per_epoch: int) -> optax.GradientTransformation:
        transformation = super()._assemble(steps_per_epoch)
        if self.only is None:
            return transformation
        return optax.masked(transformation, partial(named, names=self.only))


class Optimizer(Transformation):
    """An optimizer of Optax, after the transformations ``before`` it, in their order.

    >>> optimizer = Optimizer(name="sgd", learning_rate=0.1, momentum=0.9)
    >>> type(optimizer.build(steps_per_epoch=22)).__name__
    'GradientTransformationExtraArgs'
    """

    before: tuple[Preparation, ...] = ()

    def _known(self) -> Mapping[str, Callable[..., Any]]:
        return optimizers()

    def _assemble(self, steps_per_epoch: int) -> optax.GradientTransformation:
        optimizer = super()._assemble(steps_per_epoch)
        if not self.before:
            return optimizer
        return optax.chain(*(t._assemble(steps_per_epoch) for t in self.before), optimizer)
