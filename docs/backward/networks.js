"use strict";
// Two whole networks, step by step: the written example of lecture 9, and a small classifier.
// A step says what it computes, from what, by which formula, and which line of jcnn it is.

/** The lecture's example: δ, a Gaussian, the largest value, a sigmoid, binary cross entropy, y = 1. */
function writtenExample(rate = 0) {
  const reach = [-3, -2, -1, 0, 1, 2, 3];
  const x = reach.map((n) => (n === 0 ? 1 : 0));
  const run = (w) => {
    const g = geometry({ size: [1, 7], window: [1, 7], padding: "SAME" });
    const list = meetings(g, "convolve");
    const z = forward(g, list, x, w);
    const winner = z.indexOf(Math.max(...z));
    const a = z[winner];
    const da = binaryCrossEntropyBackward(a, 1);
    const dz = z.map((_, n) => (n === winner ? da : 0));
    return {
      w, z, a: [a], g: [sigmoid(a)], loss: [binaryCrossEntropy(a, 1)], da: [da], dz,
      dw: kernelGradient(g, list, x, dz), dx: inputGradient(g, list, dz, w),
    };
  };
  const start = run(reach.map((n) => Math.exp((-n * n) / 2)));
  return rate ? run(start.w.map((v, k) => v - rate * start.dw[k])) : { x, ...start };
}

const line = (name, label, side) => ({ name, label, side, shape: [1, 7, 1], origin: -3 });
const single = (name, label, side) => ({ name, label, side, shape: [1, 1, 1] });

const WRITTEN = {
  title: "The written example of lecture 9",
  values: writtenExample,
  steps: [
    { title: "The input is a delta, the kernel a Gaussian", formula: "x[n] = δ[n],  w[n] = exp(−n² / 2)",
      show: [line("x", "x", "forward"), line("w", "w", "kernel")], source: "convolve", equation: "written-example",
      say: "Seven samples, n = −3 … 3. What is dL/dw[n], as a function of n?" },
    { title: "Forward: convolve", formula: "z[n] = Σ w[m] x[n − m] = w[n]",
      show: [line("z", "z", "forward")], source: "convolve", equation: "written-example",
      say: "Convolution with a delta changes nothing." },
    { title: "Forward: the largest value", formula: "n* = arg max z[n] = 0,  a = z[n*] = 1",
      show: [single("a", "a", "forward")], source: "global_max_pool", equation: "written-example",
      say: "A global max pool keeps one number, and where it stood." },
    { title: "Forward: sigmoid and loss", formula: "g = σ(a),  L = −ln g for y = 1",
      show: [single("g", "g", "forward"), single("loss", "L", "forward")], source: "binary_cross_entropy", equation: "written-example",
      say: "σ(1) = 0.7311; the loss is ln(1 + 1/e)." },
    { title: "Backward: through loss and sigmoid at once", formula: "dL/da = g − y = −(1 − σ(1))",
      show: [single("da", "dL/da", "backward")], source: "binary_cross_entropy", equation: "losses",
      say: "The loss's 1/g cancels the sigmoid's factor g: a unit that is sure and wrong (g near 0) still learns." },
    { title: "Backward: the pool hands δ to its winner", formula: "dL/dz[n] = dL/da · δ[n − n*]",
      show: [line("dz", "dL/dz", "backward")], source: "global_max_pool", equation: "max-pooling",
      say: "All other elements get nothing." },
    { title: "Backward: the kernel's gradient", formula: "dL/dw[n] = Σ dL/dz[m] x[m − n] = −(1 − σ(1)) δ[n]",
      show: [line("dw", "dL/dw", "backward")], source: "kernel_gradient", equation: "written-example",
      say: "That is the lecture's answer: only w[0] took part in the value that the pool chose." },
    { title: "Backward: the input's gradient", formula: "dL/dx[n] = Σ w[m − n] dL/dz[m] = −(1 − σ(1)) exp(−n² / 2)",
      show: [line("dx", "dL/dx", "backward")], source: "input_gradient", equation: "backprop-of-convolution-is-correlation",
      say: "A correlation with the kernel as it is." },
    { title: "One step of gradient descent", formula: "w ← w − η dL/dw,  η = 1",
      after: true, show: [line("w", "w, after", "kernel"), single("loss", "L, after", "forward")], source: "step", equation: "review-neural-network",
      say: "w[0] rises, the others stay, and the loss falls from 0.3133." },
  ],
};

/** 6×6 → convolution with two 3×3 kernels → ReLU and max pool 2 → dense layer of three → cross entropy. */
function classifier(rate = 0) {
  const { x, w, b, v, c, label } = FIXTURES.classifier;
  const run = (w, b, v, c) => {
    const g = geometry({ size: [6, 6], window: [3, 3], features: 2 });
    const list = meetings(g, "convolve");
    const z = forward(g, list, x, w).map((value, m) => value + b[m % 2]);
    const pools = [0, 1].map((d) => geometry({ size: [4, 4], window: [2, 2], stride: 2 }));
    const channel = (array, d) => array.filter((_, i) => i % 2 === d);
    const mix = ([p, q]) => p.flatMap((value, i) => [value, q[i]]);
    const shares = [0, 1].map((d) => poolShares("relu_max", pools[d], channel(z, d)));
    const a = mix(shares.map((s, d) => poolForward(s, channel(z, d))));
    const logits = dense(a, v, c);
    const dlogits = softmaxCrossEntropyBackward(logits, label);
    const da = denseInputGradient(dlogits, v, a.length);
    const dz = mix(shares.map((s, d) => poolBackward(s, channel(da, d), 16)));
    return {
      w, b, v, c, z, a, logits, p: softmax(logits), loss: [softmaxCrossEntropy(logits, label)], dlogits, da, dz,
      dv: denseKernelGradient(a, dlogits), dc: dlogits, dw: kernelGradient(g, list, x, dz),
      db: [0, 1].map((d) => channel(dz, d).reduce((s, e) => s + e, 0)), dx: inputGradient(g, list, dz, w),
    };
  };
  const start = run(w, b, v, c);
  if (!rate) return { x, ...start };
  const move = (p, dp) => p.map((value, i) => value - rate * dp[i]);
  return run(move(w, start.dw), move(b, start.db), move(v, start.dv), move(c, start.dc));
}

const box = (name, label, side, shape) => ({ name, label, side, shape });

const CLASSIFIER = {
  title: "A small classifier of three classes",
  values: classifier,
  steps: [
    { title: "An image and two kernels", formula: "x: 6×6,  w: 3×3, one to two channels,  b: 2",
      show: [box("x", "x", "forward", [6, 6, 1]), box("w", "w", "kernel", [3, 3, 2]), box("b", "b", "kernel", [1, 2, 1])], source: "convolve", equation: "convolutional-layers",
      say: "A diagonal stroke; the class is 1." },
    { title: "Forward: convolve", formula: "z[m, d] = Σ w[m − m', d] x[m'] + b[d]",
      show: [box("z", "z", "forward", [4, 4, 2])], source: "convolve", equation: "convolutional-layers",
      say: "Each kernel is flipped, laid over the image, multiplied and added." },
    { title: "Forward: rectify and pool", formula: "a[m] = max ReLU(z) over 2×2",
      show: [box("a", "a", "forward", [2, 2, 2])], source: "relu_max_pool", equation: "max-pooling",
      say: "One operation; it remembers which element won, or that none did." },
    { title: "Forward: the dense layer", formula: "o = a · V + c",
      show: [box("v", "V", "kernel", [8, 3, 1]), box("logits", "o", "forward", [1, 3, 1])], source: "dense", equation: "the-fully-connected-layer",
      say: "Eight activations, three logits." },
    { title: "Forward: softmax and loss", formula: "p = softmax(o),  L = −ln p[1]",
      show: [box("p", "p", "forward", [1, 3, 1]), box("loss", "L", "forward", [1, 1, 1])], source: "softmax_cross_entropy", equation: "losses",
      say: "How surprised the network is by the right answer." },
    { title: "Backward: the loss", formula: "∂L/∂o = p − y",
      show: [box("dlogits", "∂L/∂o", "backward", [1, 3, 1])], source: "softmax_cross_entropy", equation: "losses",
      say: "Prediction less target, nothing else." },
    { title: "Backward: the dense layer", formula: "∂L/∂a = δ Vᵀ,  ∂L/∂V = aᵀ δ,  ∂L/∂c = δ",
      show: [box("da", "∂L/∂a", "backward", [2, 2, 2]), box("dv", "∂L/∂V", "backward", [8, 3, 1])], source: "dense", equation: "the-fully-connected-layer",
      say: "The same matrix, from the other side." },
    { title: "Backward: pool and rectifier", formula: "∂L/∂z = δ at the winner, where a > 0; else 0",
      show: [box("dz", "∂L/∂z", "backward", [4, 4, 2])], source: "relu_max_pool", equation: "max-pooling",
      say: "At most one element of each 2×2 receives anything." },
    { title: "Backward: kernel and bias", formula: "∂L/∂w[k] = Σ δ[m] x[m − k],  ∂L/∂b = Σ δ",
      show: [box("dw", "∂L/∂w", "backward", [3, 3, 2]), box("db", "∂L/∂b", "backward", [1, 2, 1])], source: "kernel_gradient", equation: "backprop-of-convolution-is-correlation",
      say: "A correlation of δ and the image; the bias took part everywhere." },
    { title: "Backward: the image", formula: "∂L/∂x[m'] = Σ w[m − m', d] δ[m, d]",
      show: [box("dx", "∂L/∂x", "backward", [6, 6, 1])], source: "input_gradient", equation: "backprop-of-convolution-is-correlation",
      say: "A correlation of δ with the kernels: which pixels would have changed the answer." },
    { title: "One step of gradient descent", formula: "w ← w − η ∂L/∂w,  η = 0.05",
      after: true, rate: 0.05, show: [box("p", "p, after", "forward", [1, 3, 1]), box("loss", "L, after", "forward", [1, 1, 1])], source: "step", equation: "review-neural-network",
      say: "The same image again: the right class is surer, the loss smaller." },
  ],
};
