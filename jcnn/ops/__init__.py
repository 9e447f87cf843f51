"""The operations of a convolutional network, each with its gradient written down.

Pure functions on channels-last arrays. Every one carries an explicit ``jax.custom_vjp`` rule;
``jcnn.reference`` has the same names without rules. Reverse mode only, to any order: for forward
mode see ``docs/guides/forward_mode.md``.
"""

from jcnn.ops import spatial as spatial
from jcnn.ops.activations import (
    scaled_tanh,
    sigmoid,
    signum,
    softmax,
    tanh,
    unit_step,
)
from jcnn.ops.classification import softmax_cross_entropy
from jcnn.ops.convolution import convolve, convolve_transpose, correlate
from jcnn.ops.dense import dense
from jcnn.ops.dropout import dropout
from jcnn.ops.gelu import gelu
from jcnn.ops.halo import halo_exchange as halo_exchange
from jcnn.ops.local_response import local_response_norm
from jcnn.ops.losses import binary_cross_entropy, mean_squared_error
from jcnn.ops.max_pooling import global_max_pool, max_pool, relu_max_pool
from jcnn.ops.normalization import batch_norm, batch_norm_inference
from jcnn.ops.padding import pad
from jcnn.ops.pooling import average_pool, decimate, global_average_pool, square_pool
from jcnn.ops.rectifiers import leaky_relu, prelu, relu

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
