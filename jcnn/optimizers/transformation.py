"""Any optimizer, schedule and transformation of Optax, by name and arguments.

Optax's own signatures say what may be given, so all of its optimizers are available, but for those
that need what a training step does not have (:func:`jcnn.optimizers.catalogue.refusal`)::

    [optimizer]
    name = "adamw"
    learning_rate = {schedule = "cosine_decay_schedule", init_value = 0.1, decay_steps = "9 epochs"}
    weight_decay = 1e-4
    mask = "kernels"
    before = [{name = "clip_by_global_norm", max_norm = 1.0}]

What the arguments may be: see :mod:`jcnn.optimizers.arguments`. What stands ``before`` the
optimizer may name the parameters and the layers that it is for, so that some learn faster than
others, or in another way::

    before = [{name = "scale", step_size = 64.0, only = ["offset"]}]
    before = [{name = "trace", decay = 0.85, only = ["w"], layers = ["dense_*"]}]

What stands ``after`` it changes its updates, and layers may have a rate of their own::

    after = [{name = "reduce_on_plateau", factor = 0.5, patience = 3, accumulation_size = 100}]
    rates = {"conv_*" = 0.1, "conv_1" = 0.0}

Two are jcnn's own: the optimizer :mod:`jcnn.optimizers.diagonal_levenberg_marquardt`, and
:mod:`jcnn.optimizers.fixed_norms`, which stands ``after`` one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
from pydantic import ConfigDict, Field, model_validator

from jcnn.errors import UserError, nearest
from jcnn.fields import NonNegativeReal, Table
from jcnn.optimizers.arguments import ArgumentError, check_call, find, resolve
from jcnn.optimizers.catalogue import full_name, optimizers, transformations
from jcnn.optimizers.masks import named

_ACCUMULATES = (
    "apply_every feeds the optimizer zero gradients between its steps: expected "
    "training.accumulate_batches, which gives it the mean of several batches"
)
_MISPLACED = {
    ("before", "apply_every"): _ACCUMULATES,
    ("after", "apply_every"): _ACCUMULATES,
    ("before", "fixed_norms"): (
        "fixed_norms changes the optimizer's updates: expected it in optimizer.after"
    ),
    ("before", "reduce_on_plateau"): (
        "reduce_on_plateau scales the optimizer's updates: expected it in optimizer.after"
    ),
}
PLACES = ("before", "after")
# Without a learning rate Optax leaves its minus sign out, too.
_CLIMBS_WITHOUT = {"adadelta"}

# A parameter of every kind: what is for some of them alone is tried, too.
_EVERY_KIND = {
    layer: {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in params.items()}
    for layer, params in {
        "conv_1": {"w": (3, 3, 2, 2), "b": (2,)},
        "dense_1": {"w": (2, 2), "b": (2,)},
        "batch_norm_1": {"scale": (2,), "offset": (2,)},
        "prelu_1": {"slope": (2,)},
    }.items()
}


def places(name: str) -> tuple[str, ...]:
    """Return the keys of ``[optimizer]`` in which a transformation may stand.

    >>> places("clip_by_global_norm"), places("reduce_on_plateau"), places("apply_every")
    (('before', 'after'), ('after',), ())
    """
    return tuple(place for place in PLACES if (place, name) not in _MISPLACED)


def _tried(built: Any, params: Any) -> Any:
    value = jnp.zeros((), jnp.float32)
    return built.update(params, built.init(params), params, curvature=lambda: params, value=value)


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
        beside = [key for key in type(self).model_fields if key != "name"]
        check_call(find(("name",), self.name, self._known()), self.arguments, (), beside)
        try:  # without computing, so that what Optax refuses is refused when the file is read
            built = self.build(steps_per_epoch=1000)
            jax.eval_shape(lambda params: _tried(built, params), _EVERY_KIND)
        except Exception as error:
            reason = str(error).split("\n")[0].rstrip(".")
            name = full_name(self._known()[self.name])
            raise ArgumentError((), f"{name} refuses its arguments: {reason}") from None
        return self

    def build(
        self, steps_per_epoch: float, accumulated: int = 1
    ) -> optax.GradientTransformationExtraArgs:
        """Make Optax's transformation.

        Args:
            steps_per_epoch: What an epoch stands for in ``"N epochs"``.
            accumulated: Batches whose mean gradient makes one step of the optimizer, and of its
                schedules.
        """
        built = optax.with_extra_args_support(self._assemble(steps_per_epoch / accumulated))
        if accumulated > 1:
            built = optax.MultiSteps(built, accumulated).gradient_transformation()

        # Optax mixes step counts with floats, also where the program around it is strict.
        def init(params: Any) -> Any:
            with jax.numpy_dtype_promotion("standard"):
                return built.init(params)

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            with jax.numpy_dtype_promotion("standard"):
                return built.update(updates, state, params, **extra)

        return optax.GradientTransformationExtraArgs(init, update)

    def _assemble(self, steps_per_epoch: float) -> optax.GradientTransformation:
        arguments = {k: resolve(k, v, steps_per_epoch) for k, v in self.arguments.items()}
        return self._known()[self.name](**arguments)


class Preparation(Transformation):
    """A transformation before or after the optimizer, of all parameters or of some alone.

    Attributes:
        only: Names of the parameters that it is for: "w", "b", "scale", "offset" or "slope"; all of
            them where not given.
        layers: Names of the layers that it is for, or patterns with ``*``; all of them where not
            given.
    """

    only: (
        Annotated[tuple[Literal["w", "b", "scale", "offset", "slope"], ...], Field(min_length=1)]
        | None
    ) = None
    layers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    def _assemble(self, steps_per_epoch: float) -> optax.GradientTransformation:
        transformation = super()._assemble(steps_per_epoch)
        if self.only is None and self.layers is None:
            return transformation
        return optax.masked(transformation, self.mask)

    def mask(self, params: Any) -> Any:
        """Say of each parameter whether the transformation is for it."""
        return named(params, self.only, self.layers)


class Optimizer(Transformation):
    """An optimizer of Optax, after the transformations ``before`` it, in their order.

    >>> optimizer = Optimizer(name="sgd", learning_rate=0.1, momentum=0.9)
    >>> type(optimizer.build(steps_per_epoch=22)).__name__
    'GradientTransformationExtraArgs'

    Attributes:
        before: Transformations of the gradients, in their order.
        after: Transformations of the updates, in their order.
        rates: What the optimizer's updates of a layer are multiplied by, before what stands
            ``after``, by its name or a pattern with ``*``; the first that fits. A layer of rate 0
            is frozen: its parameters and running statistics keep their bits, its gradients are
            zero, and it is applied as in evaluation.
    """

    before: tuple[Preparation, ...] = ()
    after: tuple[Preparation, ...] = ()
    rates: dict[str, NonNegativeReal] = Field(default={})

    @model_validator(mode="after")
    def _check_rate(self) -> Optimizer:
        if self.name in _CLIMBS_WITHOUT and "learning_rate" not in self.arguments:
            raise ArgumentError(("learning_rate",), f"optax.{self.name} needs this argument")
        return self

    @model_validator(mode="after")
    def _check_places(self) -> Optimizer:
        for key, entries in (("before", self.before), ("after", self.after)):
            for position, entry in enumerate(entries):
                if reason := _MISPLACED.get((key, entry.name)):
                    raise ArgumentError((key, str(position), "name"), reason)
        return self

    def _known(self) -> Mapping[str, Callable[..., Any]]:
        return optimizers()

    def rate(self, layer: str) -> float:
        """What the updates of a layer are multiplied by."""
        fitting = (rate for pattern, rate in self.rates.items() if fnmatchcase(layer, pattern))
        return next(fitting, 1.0)

    @property
    def names_layers(self) -> bool:
        """Whether some of it is for layers, or for parameters of layers, that it names."""
        parts = (*self.before, *self.after)
        return bool(self.rates) or any(part.layers or part.only for part in parts)

    def check_layers(self, params: Mapping[str, Any]) -> None:
        """Refuse what is for none of the layers that have parameters, or for none of those."""
        for pattern in self.rates:
            _check_pattern("rates", pattern, params)
        for key, entries in (("before", self.before), ("after", self.after)):
            for position, entry in enumerate(entries):
                for pattern in entry.layers or ():
                    _check_pattern(f"{key}.{position}.layers", pattern, params)
                chosen = entry.layers or entry.only
                if chosen and not any(jax.tree.leaves(entry.mask(params))):
                    raise UserError(
                        f"optimizer.{key}.{position}.only: none of the layers that it is for has "
                        f"one of {', '.join(entry.only or ())}"
                    )

    def _assemble(self, steps_per_epoch: float) -> optax.GradientTransformation:
        chain = [t._assemble(steps_per_epoch) for t in self.before]
        chain.append(super()._assemble(steps_per_epoch))
        if self.rates:
            chain.append(optax.stateless(self._scaled))
        chain += (t._assemble(steps_per_epoch) for t in self.after)
        return optax.chain(*chain) if len(chain) > 1 else chain[0]

    def _scaled(self, updates: Any, _: Any) -> Any:
        def scale(name: str, own: Any) -> Any:
            rate = self.rate(name)
            return jax.tree.map(lambda u: u * jnp.asarray(rate, u.dtype), own)

        return {name: scale(name, own) for name, own in updates.items()}


def _check_pattern(key: str, pattern: str, names: Collection[str]) -> None:
    if not any(fnmatchcase(name, pattern) for name in names):
        raise UserError(
            f"optimizer.{key}: no layer with parameters is named '{pattern}'"
            f"{nearest(pattern, names)}: there are {', '.join(names)}"
        )
