"""One training step, a pure function."""

from __future__ import annotations

import math
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jcnn import ops as explicit_ops
from jcnn.augmentations import augment
from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.optimizers import curvatures
from jcnn.training import keys
from jcnn.training.average import Average, stepped
from jcnn.training.compilation import multiplying
from jcnn.training.layout import SINGLE, Layout, P
from jcnn.training.loss_scale import LossScale
from jcnn.training.state import Totals, TrainState, Weights

# Apart from the keys of the layers, which are numbered from 0.
_PROBE = 2**31
# Steps of an epoch of which nothing is known: enough for whatever share of it a schedule takes.
_MANY = 1000


class Step:
    """The step of an experiment, ``(state, x, y, key) -> (state, totals)``, and its first state.

    Attributes:
        ops: The operations that it goes through.
        steps_per_epoch: What an epoch stands for in the optimizer's schedules.
        guarded: Whether each step looks at its loss and gradients.
        layout: On which devices.
    """

    def __init__(
        self,
        experiment: Experiment,
        ops: ModuleType = explicit_ops,
        *,
        steps_per_epoch: int | None = None,
        guarded: bool = False,
        layout: Layout = SINGLE,
    ) -> None:
        """Build the optimizer.

        Args:
            experiment: Model, loss, optimizer, augmentation and precision.
            ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` for the same through ``jax.grad`` alone.
            steps_per_epoch: See above; where not given, many: what a state is made of does not
                depend on it.
            guarded: See above; those that may be skipped are in any case,
                and those whose loss is scaled.
            layout: On which devices; a step's arguments and results are whole arrays in any case.
        """
        if layout.copies > 1 and ops is not explicit_ops:
            raise ValueError("images that are split in space need the operations of jcnn.ops")
        self._skips = experiment.training.on_nonfinite == "skip"
        scaled = experiment.training.precision == "float16"  # its scale follows the gradients
        self.guarded = guarded or self._skips or scaled
        accumulated = experiment.training.accumulate_batches
        self.steps_per_epoch = steps_per_epoch or _MANY * accumulated
        self.ops, self.layout = ops, layout
        self._experiment, self._model = experiment, experiment.model
        self._frozen = experiment.frozen
        try:
            self._optimizer = experiment.optimizer.build(self.steps_per_epoch, accumulated)
        except ValueError as error:  # a schedule of fewer steps than it needs
            raise UserError(
                f"optimizer: {experiment.optimizer.name} refuses its arguments at "
                f"{self.steps_per_epoch / accumulated:g} steps per epoch: {error}"
            ) from None

    def init(self, weights: Weights | None = None) -> TrainState:
        """Return the state before the first step; a pure function of ``weights`` and the seed.

        Args:
            weights: Parameters and running statistics to begin with; drawn where not given.
        """
        experiment = self._experiment
        if weights is None:
            weights = self._model.init(keys.init_key(experiment.seed), experiment.input_shape)
        averaged = experiment.training.average_decay is not None
        average = Average.first(*weights) if averaged else None
        scale = LossScale.first() if experiment.training.precision == "float16" else None
        opt_state = self._optimizer.init(weights[0])
        return TrainState(*weights, opt_state, average, jnp.int32(0), scale)

    def __call__(self, state: TrainState, x: Array, y: Array, key: Array) -> tuple[Any, Totals]:
        """Return the next state, and the batch's sums before the parameters changed.

        Where a guarded step's loss, gradient or estimate of curvature is infinite or not a number,
        the state stays as it is, but for the count of steps where such steps are skipped, and the
        sums are those of a skipped step.
        Where they overflow for the loss's scale alone, nothing changes but count and scale.
        """
        x, model_key = self.prepared(x, key, state.step)
        gradients, (running, totals) = self.gradients(state, x, y, model_key)
        loss = totals.loss / totals.examples.astype(totals.loss.dtype)
        after = self._updated(state, gradients, running, (x, y, model_key), loss)
        if not self.guarded:
            return after, totals
        kept = state._replace(step=state.step + 1) if self._skips else state
        found = gradients, curvatures(after.opt_state)
        if state.loss_scale is None:
            finite = all_finite((totals.loss, found))
            return _where(finite, (after, totals), (kept, Totals.of_skipped()))
        fits = all_finite(found)
        scale = state.loss_scale.after(fits)
        overflow = ~fits & jnp.isfinite(totals.loss) & state.loss_scale.can_be_smaller()
        passed = state._replace(step=state.step + 1, loss_scale=scale)
        finite = fits & jnp.isfinite(totals.loss)
        kept = _where(overflow, (passed, totals), (kept, Totals.of_skipped()))
        return _where(finite, (after._replace(loss_scale=scale), totals), kept)

    def prepared(self, x: Array, key: Array, step: Array) -> tuple[Array, Array]:
        """Return a step's inputs as the model gets them, augmented, and the model's own key."""
        training = self._experiment.training
        augment_key, model_key = jax.random.split(key)
        axes = self.layout.shards.batch

        def changed(x: Array, key: Array, epoch: Array) -> Array:
            x = self.layout.own_rows(augment(training.augment, key, x, axes, epoch))
            return x.astype(jnp.dtype(training.precision))

        specs = (self.layout.batch, P(), P()), self.layout.images
        epoch = step // self.steps_per_epoch
        return self.layout.each(changed, *specs)(x, augment_key, epoch), model_key

    def gradients(self, state: TrainState, x: Array, y: Array, model_key: Array) -> tuple[Any, Any]:
        """Return the gradients at prepared inputs; then running statistics and the batch's sums."""
        lay, scale = self.layout, state.loss_scale

        def on_each(params: Any, running: Any, scale: Any, x: Array, y: Array, key: Array) -> Any:
            with multiplying(self._experiment):
                differentiated = jax.grad(self.scaled_loss, has_aux=True)
                gradients, rest = differentiated(params, running, scale, x, y, key)
            gradients = gradients if scale is None else scale.down(gradients)
            return (gradients, rest) if lay.mesh is None else lay.joined(gradients, running, rest)

        specs = lay.specs(state.params)
        on_all = lay.each(on_each, (specs, P(), P(), lay.images, lay.batch, P()), (specs, P()))
        return on_all(state.params, state.state, scale, x, y, model_key)

    def _updated(
        self, state: TrainState, gradients: Any, running: Any, batch: tuple[Array, ...], loss: Any
    ) -> TrainState:
        updates, opt_state = self._optimizer.update(
            gradients,
            state.opt_state,
            self._moving(state.params),
            curvature=partial(self._curvature, state, *batch),
            value=loss,
        )
        params, step = optax.apply_updates(state.params, updates), state.step + 1
        params, running = self._keep(state.params, params), self._keep(state.state, running)
        average, decay = state.average, self._experiment.training.average_decay
        if average is not None and decay is not None:
            average = average.after(params, running, decay, stepped(opt_state))
        return TrainState(params, running, opt_state, average, step, state.loss_scale)

    def _keep(self, before: Any, after: Any) -> Any:
        """Take frozen layers' values from before: their bits, whatever 0 times an update is."""
        return {name: before[name] if name in self._frozen else after[name] for name in after}

    def _moving(self, params: Any) -> Any:
        """Show the optimizer zeros for frozen layers: their decay adds nothing to a norm either."""
        frozen = self._frozen
        return {
            name: jax.tree.map(jnp.zeros_like, own) if name in frozen else own
            for name, own in params.items()
        }

    def _learned(self, params: Any) -> Any:
        """Let frozen layers have gradients of zero, which add nothing to a norm that is clipped."""
        frozen = self._frozen
        return {n: lax.stop_gradient(own) if n in frozen else own for n, own in params.items()}

    def scaled_loss(
        self, params: Any, state: Any, scale: LossScale | None, x: Array, y: Array, key: Array
    ) -> Any:
        """Return what the step differentiates: :meth:`mean_loss`, scaled, of what is learned."""
        loss, rest = self.mean_loss(self._learned(params), state, x, y, key)
        return loss if scale is None else scale.up(loss), rest

    def mean_loss(self, params: Any, state: Any, x: Array, y: Array, key: Array) -> Any:
        """Return the mean loss of prepared inputs; then running statistics and the batch's sums.

        Of a device's part of the batch, the mean loss is what that part adds to it.
        """
        loss, parts = self._experiment.loss, self.layout.parts * self.layout.copies
        output, state = self._output(params, state, x, key)
        losses = loss.per_example(output, y, self.ops)
        correct = (loss.predict(output) == y).sum(dtype=jnp.int32)
        mean = losses.mean() if parts == 1 else losses.mean() / parts
        return mean, (state, Totals.of(losses.sum(), correct, jnp.int32(len(y))))

    def _output(self, params: Any, state: Any, x: Array, key: Array) -> tuple[Array, Any]:
        how = {"training": True, "key": key, "ops": self.ops, "frozen": self._frozen}
        y, state = self._model.apply(params, state, x, shards=self.layout.shards, **how)
        return y.astype(jnp.float64 if y.dtype == jnp.float64 else jnp.float32), state

    def _curvature(self, state: TrainState, x: Array, y: Array, model_key: Array) -> Any:
        """Estimate the Gauss-Newton diagonal of the mean loss: one backward pass of a probe."""
        lay, loss, count = self.layout, self._experiment.loss, len(x)
        probe_key = jax.random.fold_in(model_key, _PROBE)

        def on_each(params: Any, running: Any, scale: Any, x: Array, y: Array, *keys: Array) -> Any:
            with multiplying(self._experiment):
                output, pullback = jax.vjp(
                    lambda params: self._output(params, running, x, keys[0])[0], params
                )
            probe = loss.curvature_probe(lay.whole(output), lay.whole(y), keys[1])
            probe = probe / math.sqrt(count)
            probe = probe if lay.mesh is None else lay.own_part(probe / lay.copies, len(x))
            with multiplying(self._experiment):
                (projected,) = pullback(probe if scale is None else scale.up(probe))
            projected = projected if scale is None else scale.down(projected)
            return projected if lay.mesh is None else lay.added(projected)[0]

        specs = lay.specs(state.params)
        on_all = lay.each(on_each, (specs, P(), P(), lay.images, lay.batch, P(), P()), specs)
        projected = on_all(state.params, state.state, state.loss_scale, x, y, model_key, probe_key)
        return jax.tree.map(jnp.square, projected)


def checkpointed(step: Step) -> dict[str, Any]:
    """Return the shapes of what a checkpoint holds: the state, and the sums since an evaluation."""
    return {"state": jax.eval_shape(step.init), "totals": jax.eval_shape(Totals.zero)}


def _where(condition: Array, these: Any, those: Any) -> Any:
    """Select a whole tree; fused with what computes it, as a branch would not be."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), these, those)


def all_finite(tree: Any) -> Array:
    """Whether every number of a tree is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
