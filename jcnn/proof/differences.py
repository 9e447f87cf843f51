"""Central finite differences: an oracle that knows no rule of calculus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.proof.comparison import OF_DIFFERENCES

STEP = 1e-6
MOST_COLUMNS = 64
MOST_NUMBERS = 1 << 24  # so that the nudged copies of one call stay within 128 MiB
# By how much slopes may differ: a tenth of what a comparison of each lets pass, and of a typical
# one, since sums round; besides what rounding makes of the function's own value.
_BEND, _SLIGHT = 1e-4, 1e-6
_ROUNDING = OF_DIFFERENCES * float(np.finfo(np.float64).eps)


def sample(size: int, limit: int, generator: np.random.Generator) -> np.ndarray:
    """Choose at most ``limit`` of ``size`` places, one from each of equal stretches.

    >>> sample(3, 10, np.random.default_rng(0))
    array([0, 1, 2])
    """
    if size <= limit:
        return np.arange(size)
    edges = np.linspace(0, size, limit + 1).astype(np.int64)
    return generator.integers(edges[:-1], edges[1:])


def central_differences(
    function: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    places: np.ndarray,
    step: float = STEP,
    *,
    noise: float = 0.0,
) -> np.ma.MaskedArray:
    r"""Return d function / d x.flat[place] for each place; masked where a kink is within a step.

    .. math:: \frac{f(x + h e_i) - f(x - h e_i)}{2 h}

    The slopes ahead and behind, from x to either side, differ by h times the second derivative, and
    by half of that at half the step. Where they don't, or the quotient is another one at half the
    step, a kink or a tie lies between: there differences are a mean of slopes, and no gradient.

    Args:
        function: From ``x`` to an array; called under ``jit`` and ``vmap``.
        x: Where to differentiate, float64.
        places: Flat indices into ``x``, (P,).
        step: h, in units of ``x``.
        noise: What rounding leaves of a slope where the function's value is smaller than the terms
            that it is a sum of; see :func:`jcnn.proof.comparison.noise_of`.

    Returns:
        (P, *output) as float64, masked at kinks.
    """

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def columns(place: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        nudge = step * (jnp.arange(x.size) == place).astype(x.dtype).reshape(x.shape)
        return function(x + nudge), function(x - nudge)

    width = max(1, min(MOST_COLUMNS, len(places) + 1, MOST_NUMBERS // max(x.size, 1)))
    slopes = partial(_slopes, columns, width)
    with np.errstate(invalid="ignore"):  # what is no number is no kink, and compared
        here, ahead, behind = slopes(places, step)
        found, bend = (ahead + behind) / 2, ahead - behind
        bound = _bound(here, np.maximum(np.abs(ahead), np.abs(behind)), step) + noise
        kinks = np.abs(bend) > bound
        doubtful = kinks.any(axis=tuple(range(1, bend.ndim)))
        if doubtful.any():
            _, ahead, behind = slopes(places[doubtful], step / 2)
            change = np.abs(found[doubtful] - (ahead + behind) / 2)
            unexplained = np.abs(bend[doubtful] - 2 * (ahead - behind))
            kinks[doubtful] = np.maximum(change, unexplained) > bound[doubtful]
    return np.ma.array(found, mask=kinks)


def _bound(here: np.ndarray, steep: np.ndarray, step: float) -> np.ndarray:
    """Return by how much two slopes may differ that are as steep, of a function of such a value."""
    some = steep[np.isfinite(steep) & (steep > 0)]
    typical = np.median(some) if some.size else 0.0
    return _BEND * steep + _SLIGHT * typical + _ROUNDING * np.abs(here) / step


def _slopes(
    columns: Callable[..., tuple[jax.Array, jax.Array]], width: int, places: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the function's value, and its slopes ahead and behind at each place, (P, *output)."""
    found = []
    places = np.concatenate([[-1], places])  # no element's: there nothing is nudged
    for start in range(0, len(places), width):
        # the last call is filled up, so that one compiled program serves all
        chunk = np.resize(places[start : start + width], width)
        found.append([np.asarray(a)[: len(places) - start] for a in columns(chunk, step)])
    above, below = map(np.concatenate, zip(*found, strict=True))
    here = above[0]
    return here, (above[1:] - here) / step, (here - below[1:]) / step
