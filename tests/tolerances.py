"""How far rounding may carry a result: (rtol, atol) for each dtype, the same for every array.

An element may differ by ``atol + rtol * |expected|``. Nothing grows with the size of an array, as
it does in ``jax.test_util.check_grads``, where a large one hides a gradient of twice its value.
"""

import jax.numpy as jnp

TOLERANCES: dict[str, tuple[float, float]] = {
    "float64": (1e-10, 1e-12),
    "float32": (2e-6, 2e-6),
    "bfloat16": (1e-2, 2e-2),
    "float16": (2e-3, 4e-3),
}


def tolerance(dtype: object) -> dict[str, float]:
    """Return the dtype's row as keyword arguments of ``numpy.testing.assert_allclose``."""
    rtol, atol = TOLERANCES[jnp.dtype(dtype).name]
    return {"rtol": rtol, "atol": atol}
