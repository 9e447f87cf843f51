"use strict";
// The mathematics of jcnn.ops on small arrays: forward, and the rules backward. Nothing of the page.
// Arrays are flat, in jcnn's layout: images (H, W, C), kernels (KH, KW, C / G, D), outputs (OH, OW, D).
// Held against fixtures.js, which jcnn.ops wrote, by tests/docs/test_backward.py.

const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** Where an index lies in a shape, and back. */
function place(index, shape) {
  const at = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at.unshift(index % shape[axis]);
    index = Math.floor(index / shape[axis]);
  }
  return at;
}
const flat = (at, shape) => at.reduce((index, i, axis) => index * shape[axis] + i, 0);

/** Padding before and after each axis, as jcnn.geometry resolves it. */
function pads(padding, size, span, strides) {
  if (padding === "VALID") return size.map(() => [0, 0]);
  if (padding === "FULL") return span.map((k) => [k - 1, k - 1]);
  if (padding === "SAME")
    return size.map((n, i) => {
      const total = Math.max((Math.ceil(n / strides[i]) - 1) * strides[i] + span[i] - n, 0);
      return [Math.floor(total / 2), total - Math.floor(total / 2)];
    });
  return size.map(() => [padding, padding]);
}

/** A window over an image: sizes, padding and shapes; `fits` is false where it is larger than its input. */
function geometry({ size, window, stride = 1, padding = "VALID", dilation = 1, channels = 1, features = 1, groups = 1 }) {
  const strides = size.map(() => stride);
  const span = window.map((k) => dilation * (k - 1) + 1);
  const pad = pads(padding, size, span, strides);
  const output = size.map((n, i) => Math.floor((n + pad[i][0] + pad[i][1] - span[i]) / stride) + 1);
  return {
    size, window, stride, pad, dilation, groups, span, output,
    fits: Math.min(...output) >= 1,
    x: [...size, channels],
    w: [...window, channels / groups, features],
    y: [...output, features],
  };
}

/** Every meeting of a tap k with an element n, in the window of an output m: n = s m + r k − p.
 *
 * A convolution reads the kernel backwards, so its tap k is the element w[K − 1 − k]. This list is all
 * there is: y, ∂L/∂x and ∂L/∂w are three ways to add it up.
 */
function meetings(g, kind) {
  const list = [];
  const perGroup = g.w[2], features = g.y[2] / g.groups;
  for (let m = 0; m < product(g.y); m++) {
    const [my, mx, d] = place(m, g.y);
    for (let k = 0; k < product(g.window); k++) {
      const [ky, kx] = place(k, g.window);
      const ny = g.stride * my + g.dilation * ky - g.pad[0][0];
      const nx = g.stride * mx + g.dilation * kx - g.pad[1][0];
      if (ny < 0 || nx < 0 || ny >= g.size[0] || nx >= g.size[1]) continue;
      const tap = kind === "convolve" ? [g.window[0] - 1 - ky, g.window[1] - 1 - kx] : [ky, kx];
      for (let c = 0; c < perGroup; c++) {
        const channel = Math.floor(d / features) * perGroup + c;
        list.push({ n: flat([ny, nx, channel], g.x), k: flat([...tap, c, d], g.w), m });
      }
    }
  }
  return list;
}

/** Add up products of two arrays where they meet: into each m y, into each n ∂L/∂x, into each k ∂L/∂w. */
function gather(list, into, shape, a, from, b, by) {
  const sums = new Array(product(shape)).fill(0);
  for (const t of list) sums[t[into]] += a[t[from]] * b[t[by]];
  return sums;
}
const forward = (g, list, x, w) => gather(list, "m", g.y, x, "n", w, "k");
const inputGradient = (g, list, dy, w) => gather(list, "n", g.x, dy, "m", w, "k");
const kernelGradient = (g, list, x, dy) => gather(list, "k", g.w, x, "n", dy, "m");

/** Which elements each window of a pool holds; padding is left out, and never wins. */
function windows(g) {
  const held = Array.from({ length: product(g.y) }, () => []);
  for (const t of meetings({ ...g, w: [...g.window, 1, 1] }, "correlate")) held[t.m].push(t.n);
  return held;
}

/** What an output of a pool takes from each element n of its window: the shares that δ goes back by. */
function poolShares(kind, g, z) {
  return windows(g).map((held) => {
    if (kind === "average") return held.map((n) => ({ n, share: 1 / product(g.window) }));
    if (kind === "decimate") return [{ n: held[0], share: 1 }];
    let winner = held[0];
    for (const n of held) if (z[n] > z[winner]) winner = n; // the first of equals stays
    const wins = kind === "max" || z[winner] > 0;
    return held.map((n) => ({ n, share: wins && n === winner ? 1 : 0 }));
  });
}
const poolForward = (shares, z) => shares.map((parts) => parts.reduce((sum, { n, share }) => sum + (share ? share * z[n] : 0), 0));
function poolBackward(shares, dy, length) {
  const dz = new Array(length).fill(0);
  shares.forEach((parts, m) => parts.forEach(({ n, share }) => { dz[n] += share * dy[m]; }));
  return dz;
}

const relu = (z) => z.map((v) => Math.max(v, 0));
const reluBackward = (a, dy) => dy.map((d, i) => (a[i] > 0 ? d : 0)); // ReLU'(0) = 0
const sigmoid = (a) => 1 / (1 + Math.exp(-a));
const binaryCrossEntropy = (a, y) => Math.max(a, 0) - y * a + Math.log1p(Math.exp(-Math.abs(a)));
const binaryCrossEntropyBackward = (a, y) => sigmoid(a) - y;

function softmax(a) {
  const largest = Math.max(...a);
  const e = a.map((v) => Math.exp(v - largest));
  const total = e.reduce((p, q) => p + q, 0);
  return e.map((v) => v / total);
}
const softmaxCrossEntropy = (a, label) => -Math.log(softmax(a)[label]);
const softmaxCrossEntropyBackward = (a, label) => softmax(a).map((p, k) => p - (k === label ? 1 : 0));

/** a · W + b for one example; W is (C, D). */
const dense = (a, w, b) => b.map((bias, d) => a.reduce((sum, v, c) => sum + v * w[c * b.length + d], bias));
const denseInputGradient = (dy, w, length) =>
  Array.from({ length }, (_, c) => dy.reduce((sum, d, j) => sum + d * w[c * dy.length + j], 0));
const denseKernelGradient = (a, dy) => a.flatMap((v) => dy.map((d) => v * d));

/** (f(v + ε) − f(v − ε)) / 2ε, and the two one-sided quotients, which differ at a kink. */
function quotients(f, v, epsilon) {
  const [below, here, above] = [f(v - epsilon), f(v), f(v + epsilon)];
  return {
    below, here, above,
    central: (above - below) / (2 * epsilon),
    left: (here - below) / epsilon,
    right: (above - here) / epsilon,
  };
}
