"""Activations, dropout, normalisations and losses as Python loops, written from their formulas.

As in ``loops.py``: the cotangent comes first, value and gradients come back, JAX stays outside.
"""

from __future__ import annotations

import math

import numpy as np


def _elementwise(dy, x, f, derivative):
    y, dx = np.zeros_like(x), np.zeros_like(x)
    for index, a in np.ndenumerate(x):
        y[index], dx[index] = f(a), derivative(a) * dy[index]
    return y, (dx,)


def relu(dy, x):
    return _elementwise(dy, x, lambda a: max(a, 0.0), lambda a: 1.0 if a > 0 else 0.0)


def leaky_relu(dy, x, slope=0.01):
    return _elementwise(
        dy, x, lambda a: a if a > 0 else slope * a, lambda a: 1.0 if a > 0 else slope
    )


def prelu(dy, x, slope):
    y, dx, dslope = np.zeros_like(x), np.zeros_like(x), np.zeros_like(slope)
    for index, a in np.ndenumerate(x):
        channel = index[-1:] if slope.ndim else ()
        y[index] = a if a > 0 else slope[channel] * a
        dx[index] = dy[index] * (1.0 if a > 0 else slope[channel])
        dslope[channel] += 0.0 if a > 0 else dy[index] * a
    return y, (dx, dslope)


def _logistic(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def sigmoid(dy, x):
    return _elementwise(dy, x, _logistic, lambda a: _logistic(a) * (1 - _logistic(a)))


def scaled_tanh(dy, x, *, amplitude=1.7159, rate=2 / 3):
    return _elementwise(
        dy,
        x,
        lambda a: amplitude * math.tanh(rate * a),
        lambda a: amplitude * rate / math.cosh(rate * a) ** 2,
    )


def tanh(dy, x):
    return scaled_tanh(dy, x, amplitude=1, rate=1)


def gelu(dy, x):
    def below(a):
        return math.erfc(-a / math.sqrt(2)) / 2

    def slope(a):
        return below(a) + a * math.exp(-a * a / 2) / math.sqrt(2 * math.pi)

    return _elementwise(dy, x, lambda a: a * below(a), slope)


def unit_step(dy, x):
    return _elementwise(dy, x, lambda a: 1.0 if a > 0 else 0.0, lambda a: 0.0)


def signum(dy, x):
    return _elementwise(dy, x, lambda a: math.copysign(1, a) if a else 0.0, lambda a: 0.0)


def softmax(dy, x):
    """dz_j / da_k = z_j ([j = k] - z_k)."""
    z, dx = np.zeros_like(x), np.zeros_like(x)
    for row in np.ndindex(x.shape[:-1]):
        raised = [math.exp(a - max(x[row])) for a in x[row]]
        z[row] = [a / sum(raised) for a in raised]
        for j, k in np.ndindex(len(raised), len(raised)):
            dx[(*row, k)] += dy[(*row, j)] * z[(*row, j)] * ((j == k) - z[(*row, k)])
    return z, (dx,)


def dropout(dy, x, kept, drop_rate):
    """``kept`` is the mask itself, where the operation takes a key."""
    share = 1 - drop_rate
    y, dx = np.zeros_like(x), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        if kept[index]:
            y[index], dx[index] = x[index] / share, dy[index] / share
    return y, (dx,)


def batch_norm(cotangents, x, scale, offset, *, epsilon=1e-5):
    """Through the whole Jacobian of a channel's outputs, mean and variance in its elements."""
    dy, dmean, dvariance = (np.asarray(d) for d in cotangents)
    y, dx = np.zeros_like(x), np.zeros_like(x)
    mean, variance, dscale, doffset = (np.zeros_like(scale) for _ in range(4))
    for c in range(x.shape[-1]):
        a, d = x[..., c].ravel(), dy[..., c].ravel()
        count = len(a) or 1
        mean[c] = sum(a) / count
        variance[c] = sum((a - mean[c]) ** 2) / count
        root = math.sqrt(variance[c] + epsilon)
        hat = (a - mean[c]) / root
        y[..., c] = (scale[c] * hat + offset[c]).reshape(x.shape[:-1])
        da = np.zeros_like(a)
        for i, j in np.ndindex(len(a), len(a)):
            dhat = ((i == j) - 1 / count - hat[i] * hat[j] / count) / root
            da[j] += d[i] * scale[c] * dhat
        for j in range(len(a)):
            da[j] += dmean[c] / count + dvariance[c] * 2 * (a[j] - mean[c]) / count
            dscale[c] += d[j] * hat[j]
            doffset[c] += d[j]
        dx[..., c] = da.reshape(x.shape[:-1])
    return (y, mean, variance), (dx, dscale, doffset)


def batch_norm_inference(dy, x, scale, offset, mean, variance, *, epsilon=1e-5):
    y, dx = np.zeros_like(x), np.zeros_like(x)
    dscale, doffset, dmean, dvariance = (np.zeros_like(scale) for _ in range(4))
    for index, a in np.ndenumerate(x):
        c, d = index[-1], dy[index]
        power = variance[c] + epsilon
        y[index] = scale[c] * (a - mean[c]) / math.sqrt(power) + offset[c]
        dx[index] = d * scale[c] / math.sqrt(power)
        dscale[c] += d * (a - mean[c]) / math.sqrt(power)
        doffset[c] += d
        dmean[c] -= d * scale[c] / math.sqrt(power)
        dvariance[c] -= d * scale[c] * (a - mean[c]) / (2 * power**1.5)
    return y, (dx, dscale, doffset, dmean, dvariance)


def local_response_norm(dy, x, *, size=5, offset=2.0, scale=1e-4, power=0.75):
    """dy_c / dx_j = [c = j] s_c^-beta - 2 alpha beta x_c x_j s_c^(-beta - 1), j next to c."""
    y, dx = np.zeros_like(x), np.zeros_like(x)
    for row in np.ndindex(x.shape[:-1]):
        a, d = x[row], dy[row]
        for c in range(len(a)):
            near = [j for j in range(c - (size - 1) // 2, c + size // 2 + 1) if 0 <= j < len(a)]
            s = offset + scale * sum(a[j] ** 2 for j in near)
            y[(*row, c)] = a[c] / s**power
            dx[(*row, c)] += d[c] / s**power
            for j in near:
                dx[(*row, j)] -= d[c] * 2 * scale * power * a[c] * a[j] / s ** (power + 1)
    return y, (dx,)


def mean_squared_error(dl, prediction, target):
    loss, dg = np.zeros_like(dl), np.zeros_like(prediction)
    outputs = math.prod(prediction.shape[1:])  # none: no error
    for index, g in np.ndenumerate(prediction):
        error = g - target[index]
        loss[index[0]] += error**2 / outputs
        dg[index] = dl[index[0]] * 2 * error / outputs
    return loss, (dg, -dg)


def binary_cross_entropy(dl, logits, target):
    """l = -(1 / K) sum_k y ln g + (1 - y) ln(1 - g), g = sigma(a), by the chain rule in g."""
    loss, da, dy = np.zeros_like(dl), np.zeros_like(logits), np.zeros_like(target)
    outputs = math.prod(logits.shape[1:])
    for index, a in np.ndenumerate(logits):
        g, y, d = _logistic(a), target[index], dl[index[0]] / outputs
        loss[index[0]] -= (y * math.log(g) + (1 - y) * math.log(1 - g)) / outputs
        da[index] = d * ((1 - y) / (1 - g) - y / g) * g * (1 - g)
        dy[index] = d * (math.log(1 - g) - math.log(g))
    return loss, (da, dy)


def softmax_cross_entropy(dl, logits, labels, *, axis=-1, where=None, label_smoothing=0.0):
    """l = -sum_k p_k ln g_k, g = softmax(a), by the chain rule through softmax's Jacobian.

    Over the classes that are not masked: those of -inf are taken out before.
    """
    whole = labels.ndim < logits.ndim
    loss, da, dlabels = np.zeros(dl.shape), np.zeros_like(logits), np.zeros_like(logits)
    # views: what is written into them is written into the gradients
    a, da_last, dlabels_last = (np.moveaxis(b, axis, -1) for b in (logits, da, dlabels))
    y = labels if whole else np.moveaxis(labels, axis, -1)
    for i in np.ndindex(dl.shape):
        if where is not None and not where[i]:
            continue
        there = [k for k in range(a.shape[-1]) if a[i][k] > -math.inf]
        g = np.exp(a[i][there] - max(a[i][there]))
        g /= sum(g)
        label = [float(y[i] == k) if whole else y[i][k] for k in there]
        p = [(1 - label_smoothing) * b + label_smoothing / len(there) for b in label]
        for k, class_k in enumerate(there):
            loss[i] -= p[k] * math.log(g[k])
            for j, class_j in enumerate(there):
                da_last[i][class_j] += dl[i] * -p[k] / g[k] * g[k] * ((k == j) - g[j])
            dlabels_last[i][class_k] = dl[i] * -(1 - label_smoothing) * math.log(g[k])
    return loss, (da,) if whole else (da, dlabels)
