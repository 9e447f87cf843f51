"""Why a network says what it says of a file: the input's gradient, and integrated gradients."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops
from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.layers import Params, State
from jcnn.report import pictures
from jcnn.runs.files import write_bytes
from jcnn.training import load_trained
from jcnn.views import over_views

STEPS = 64
_SIDE = 320  # a written picture's shorter side, at least
_LONGEST_STEM = 50  # letters of a file's name in a picture's

Attribution = Callable[[np.ndarray], tuple[int, np.ndarray, np.ndarray]]


def attribution(experiment: Experiment, params: Params, state: State) -> Attribution:
    r"""Return ``x -> class, gradient, integrated gradients``, through the explicit rules.

    .. math:: g = \frac{\partial z_k}{\partial x}(x) \qquad
        I = (x - x_0) \, \frac{1}{n} \sum_{i=1}^{n} \frac{\partial z_k}{\partial x}
        \left(x_0 + \frac{i - 1/2}{n} (x - x_0)\right)

    with z the output before any softmax of the loss (the mean over the views of an evaluation), k
    the class that it names, x0 black (of a recording silence) and n = 64: the midpoint rule for the
    path's integral, so that the integrated gradients add up to z_k(x) - z_k(x0) but for its error
    (Sundararajan, Taly and Yan, 2017).
    """
    apply = _output_of_views(experiment, params, state)
    black = jnp.asarray(black_input(experiment))

    def value(x: jax.Array, k: jax.Array) -> jax.Array:
        return apply(x[None])[0][k]

    @jax.jit
    def run(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        output = apply(x[None])
        best = experiment.loss.predict(output)[0]
        k = jnp.minimum(best, output.shape[-1] - 1)  # of one logistic output, that one
        gradient = jax.grad(value)
        shares = (jnp.arange(STEPS, dtype=jnp.float32) + 0.5) / STEPS

        def add(total: jax.Array, share: jax.Array) -> tuple[jax.Array, None]:
            return total + gradient(black + share * (x - black), k), None

        total, _ = jax.lax.scan(add, jnp.zeros_like(x), shares)
        return best, gradient(x, k), (x - black) * total / STEPS

    def explained(x: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        best, gradient, integrated = run(jnp.asarray(x, jnp.float32))
        return int(best), np.asarray(gradient), np.asarray(integrated)

    return explained


def _output_of_views(
    experiment: Experiment, params: Params, state: State
) -> Callable[[jax.Array], jax.Array]:
    """Return ``x -> output`` as predictions take it: the mean over the views of an evaluation."""

    def apply(x: jax.Array) -> jax.Array:
        return experiment.model.apply(params, state, x, ops=ops)[0]

    return over_views(apply, experiment.training.views)


def black_input(experiment: Experiment) -> np.ndarray:
    """What the network is given of a black image, or of silence."""
    data, shape = experiment.data, experiment.input_shape
    front_end = getattr(data, "front_end", None)
    if front_end is not None:
        return np.full(shape, front_end.padding_value, np.float32)
    mean, deviation = (np.asarray(part, np.float32) for part in data.scale or ((0.0,), (1.0,)))
    darkest = np.float32(-1.0 if data.name == "usps" else 0.0)
    return np.broadcast_to((darkest - mean) / deviation, shape).astype(np.float32)


def explain(
    folder: str | PathLike[str],
    files: Iterable[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    invert: bool = False,
) -> list[Path]:
    """Write two pictures per file, its gradient and its integrated gradients over it.

    Args:
        folder: A run's folder.
        files: Images or recordings; those that can't be read are passed over.
        out: A folder, made where it is missing: ``0-NAME-gradient.png``, ``0-NAME-integrated.png``.
        invert: Exchange black and white first.

    Raises:
        UserError: The folder holds no run, or ``out`` can't be written.
    """
    trained = load_trained(folder)
    data, out = trained.experiment.data, Path(out)
    explained = attribution(trained.experiment, *trained.state.evaluated)
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(map(Path, files)):
            try:
                x = data.read_example(file, invert=invert)
            except UserError:
                continue
            _, gradient, integrated = explained(x)
            stem = re.sub(r"[^\w.-]", "_", file.stem)[:_LONGEST_STEM]
            for kind, array in (("gradient", gradient), ("integrated", integrated)):
                path = out / f"{number}-{stem}-{kind}.png"
                write_bytes(path, _png(pictures.over(x, array, kind)))
                written.append(path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"--explain {out}: can't be written: {reason}") from None
    return written


def _png(picture: pictures.Picture) -> bytes:
    """Enlarge a picture so that it can be looked at by itself, without smoothing its pixels."""
    from PIL import Image

    small: Any = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    times = max(1, -(-_SIDE // min(small.size)))
    large = small.resize([n * times for n in small.size], Image.Resampling.NEAREST)
    stream = io.BytesIO()
    large.save(stream, "PNG", optimize=True)
    return stream.getvalue()
