"""The names of ``jcnn.ops`` on plain ``jax.lax`` and ``jax.numpy``, with no gradient rule.

What ``jax.grad`` derives from these is what the explicit rules are held against. They also serve
forward mode (``jax.jvp``, ``jax.linearize``, ``jax.hessian``), which ``custom_vjp`` rules do not:
see ``docs/guides/forward_mode.md``.
"""

from jcnn.reference.activations import (
    gelu,
    leaky_relu,
    prelu,
    relu,
    scaled_tanh,
    sigmoid,
    signum,
    softmax,
    tanh,
    unit_step,
)
from jcnn.reference.convolution import convolve, convolve_transpose, correlate, dense
from jcnn.reference.losses import binary_cross_entropy, mean_squared_error, softmax_cross_entropy
from jcnn.reference.normalization import (
    batch_norm,
    batch_norm_inference,
    dropout,
    local_response_norm,
)
from jcnn.reference.padding import pad
from jcnn.reference.pooling import (
    average_pool,
    decimate,
    global_average_pool,
    global_max_pool,
    max_pool,
    relu_max_pool,
    square_pool,
)

__all__ = [
    "average_pool",
    "batch_norm",
    "batch_norm_inference",
    "binary_cross_entropy",
    "convolve",
    "convolve_transpose",
    "correlate",
    "decimate",
    "dense",
    "dropout",
    "gelu",
    "global_average_pool",
    "global_max_pool",
    "leaky_relu",
    "local_response_norm",
    "max_pool",
    "mean_squared_error",
    "pad",
    "prelu",
    "relu",
    "relu_max_pool",
    "scaled_tanh",
    "sigmoid",
    "signum",
    "softmax",
    "softmax_cross_entropy",
    "square_pool",
    "tanh",
    "unit_step",
]
