"""The whole idea in one file: a convolutional network whose gradients are written down.

It learns to read 1,797 handwritten digits in a few seconds. Nothing here calls ``jax.grad``: each
function stands beside the one that carries a gradient back through it, and the network is walked
forward, then backward. JAX serves as NumPy that compiles. Needs jax and scikit-learn:

    python docs/whole_idea.py

Notation: δ is ∂L/∂(output), what arrives from the layer above. Images are (N, H, W, C), kernels
(KH, KW, C, D). The formulas are those of the lectures; docs/equations.md has them all, and
tests/docs/test_whole_idea.py holds every function against jcnn.ops.
"""

import jax
import jax.numpy as jnp

# --- convolution forward, correlation backward ---
#
#   z[m] = Σ_k w[k] a[m − k]
#
# With "valid" borders m runs where the kernel lies inside the image, so that output m, counted from
# 0, meets the tap k at a[m + K − 1 − k]. Everything below is that one sentence, read three ways.


def met_by(k, kernel_shape, output_shape):
    """Where tap k of the kernel meets the image, for all outputs at once: two slices."""
    (i, j), (height, width) = k, kernel_shape
    top, left = height - 1 - i, width - 1 - j
    return slice(top, top + output_shape[0]), slice(left, left + output_shape[1])


def taps(kernel_shape):
    """All places (i, j) of a kernel."""
    return [(i, j) for i in range(kernel_shape[0]) for j in range(kernel_shape[1])]


def convolve(a, w, b):
    """z[m] = Σ_k w[k] a[m − k] + b: every tap multiplies the image that it meets."""
    kernel = w.shape[:2]
    size = a.shape[1] - kernel[0] + 1, a.shape[2] - kernel[1] + 1
    z = b
    for k in taps(kernel):
        rows, columns = met_by(k, kernel, size)
        z = z + a[:, rows, columns] @ w[k]
    return z


def convolve_backward(a, w, delta):
    """Carry δ back to image, kernel and bias.

    The product w[k] a[m − k] stands in z[m], so δ[m] comes back along it: times w[k] to a[m − k],
    times a[m − k] to w[k]. Both sums are correlations. The bias is in every output.
    """
    kernel, size = w.shape[:2], delta.shape[1:3]
    da, dw = jnp.zeros_like(a), jnp.zeros_like(w)
    for k in taps(kernel):
        rows, columns = met_by(k, kernel, size)
        da = da.at[:, rows, columns].add(delta @ w[k].T)  # ∂L/∂a[n] = Σ_m w[m − n] δ[m]
        met = jnp.tensordot(a[:, rows, columns], delta, axes=((0, 1, 2), (0, 1, 2)))
        dw = dw.at[k].set(met)  # ∂L/∂w[k] = Σ_m δ[m] a[m − k]
    return da, dw, delta.sum(axis=(0, 1, 2))  # ∂L/∂b = Σ_m δ[m]


# --- ReLU and max pool, as one operation ---


def in_pools(z):
    """Cut (N, H, W, C) into pools of 2×2: (N, H/2, W/2, 4, C)."""
    n, h, w, c = (*z.shape[:1], *(m // 2 for m in z.shape[1:3]), z.shape[3])
    return z.reshape(n, h, 2, w, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, 4, c)


def out_of_pools(pools):
    """Undo :func:`in_pools`."""
    n, h, w, _, c = pools.shape
    return pools.reshape(n, h, w, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c)


def relu_max_pool(z):
    """a = max ReLU(z) over each pool, and which of its four elements was the largest."""
    pools = in_pools(z)
    return jnp.maximum(pools.max(axis=3), 0), pools.argmax(axis=3)


def relu_max_pool_backward(a, winner, delta):
    """δ goes to the one element that won, if it was above zero; the others get nothing."""
    passed = jnp.where(a > 0, delta, 0)
    is_winner = jnp.arange(4)[:, None] == winner[:, :, :, None]
    return out_of_pools(jnp.where(is_winner, passed[:, :, :, None], 0))


# --- the dense layer ---


def dense(a, w, b):
    """z = a · W + b."""
    return a @ w + b


def dense_backward(a, w, delta):
    """The same matrix from its other side: ∂L/∂a = δ Wᵀ, ∂L/∂W = aᵀ δ, ∂L/∂b = Σ δ."""
    return delta @ w.T, a.T @ delta, delta.sum(axis=0)


# --- the loss ---


def log_softmax(logits):
    """ln softmax; the largest logit is taken off first, so that no exponential overflows."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - jnp.log(jnp.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits, labels):
    """L = −ln p[label], p = softmax(logits); the mean over the batch."""
    return -jnp.take_along_axis(log_softmax(logits), labels[:, None], axis=1).mean()


def cross_entropy_backward(logits, labels):
    """∂L/∂logits = p − y, shared among the batch: prediction less target, and nothing vanishes."""
    y = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    return (jnp.exp(log_softmax(logits)) - y) / len(labels)


# --- the network: two lists that read as mirror images ---


def init(key, dtype=jnp.float32):
    """Kernels and matrices with the deviation sqrt(2 / inputs), biases zero."""
    shapes = {"conv": (3, 3, 1, 16), "hidden": (3 * 3 * 16, 64), "output": (64, 10)}
    params = {}
    for name, shape in shapes.items():
        key, its_own = jax.random.split(key)
        inputs = jnp.prod(jnp.array(shape[:-1]))
        w = jax.random.normal(its_own, shape, dtype) * jnp.sqrt(2 / inputs).astype(dtype)
        params[name] = {"w": w, "b": jnp.zeros(shape[-1], dtype)}
    return params


def forward(params, x):
    """8×8 image → convolution → ReLU and pool → dense → ReLU → dense; and what backward needs."""
    conv, hidden, output = params["conv"], params["hidden"], params["output"]
    z1 = convolve(x, conv["w"], conv["b"])  # 6×6×16
    a1, winner = relu_max_pool(z1)  # 3×3×16
    flat = a1.reshape(len(x), -1)
    a2 = jnp.maximum(dense(flat, hidden["w"], hidden["b"]), 0)
    logits = dense(a2, output["w"], output["b"])
    return logits, (x, a1, winner, flat, a2)  # z1 is not kept: a1 and the winners tell enough


def backward(params, kept, delta):
    """The same steps from the last to the first; δ is renewed in each."""
    x, a1, winner, flat, a2 = kept
    delta, dw3, db3 = dense_backward(a2, params["output"]["w"], delta)
    delta = jnp.where(a2 > 0, delta, 0)  # ReLU's gate
    delta, dw2, db2 = dense_backward(flat, params["hidden"]["w"], delta)
    delta = relu_max_pool_backward(a1, winner, delta.reshape(a1.shape))
    _, dw1, db1 = convolve_backward(x, params["conv"]["w"], delta)
    pairs = {"conv": (dw1, db1), "hidden": (dw2, db2), "output": (dw3, db3)}
    return {name: {"w": dw, "b": db} for name, (dw, db) in pairs.items()}


# --- training ---


@jax.jit
def step(params, velocity, x, labels, rate, momentum=0.9):
    """One step of gradient descent with momentum: v ← μ v − η ∂L/∂w, w ← w + v."""
    logits, kept = forward(params, x)
    gradients = backward(params, kept, cross_entropy_backward(logits, labels))
    velocity = jax.tree.map(lambda v, g: momentum * v - rate * g, velocity, gradients)
    return jax.tree.map(jnp.add, params, velocity), velocity, cross_entropy(logits, labels)


def train(epochs=20, batch=48, seed=0):
    """Train on 1,437 digits; return the parameters and the accuracy on the other 360."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = jax.random.permutation(jax.random.key(seed), len(digits.target))
    x = jnp.asarray(digits.images[order][..., None] / 16, jnp.float32)
    y = jnp.asarray(digits.target[order])
    x_test, y_test, x, y = x[:360], y[:360], x[360:], y[360:]
    params = init(jax.random.key(seed + 1))
    velocity, accuracy = jax.tree.map(jnp.zeros_like, params), 0.0
    for epoch in range(1, epochs + 1):
        order = jax.random.permutation(jax.random.key(1000 + epoch), len(y))
        rate = 0.05 * (1 - (epoch - 1) / epochs)
        for first in range(0, len(y) - batch + 1, batch):
            chosen = order[first : first + batch]
            params, velocity, loss = step(params, velocity, x[chosen], y[chosen], rate)
        accuracy = float((forward(params, x_test)[0].argmax(axis=1) == y_test).mean())
        if epoch in (1, 2, 5) or epoch % 10 == 0:
            print(f"epoch {epoch:2}  last batch's loss {loss:.4f}  test accuracy {accuracy:.2%}")
    return params, accuracy


if __name__ == "__main__":
    train()
