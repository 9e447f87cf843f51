"use strict";
// The first section: an image, a kernel, an output, and the three arrays of their gradients.

const conv = { kind: "convolve", options: {}, epsilon: 0.1, chosen: null, grids: [], listeners: [] };

const FAMILIES = [
  { key: "x", side: "forward", label: "x, the input", of: "x" },
  { key: "w", side: "kernel", label: "w, the kernel", of: "w" },
  { key: "y", side: "forward", label: "y, the output", of: "y" },
  { key: "dx", side: "backward", label: "∂L/∂x", of: "x" },
  { key: "dw", side: "backward", label: "∂L/∂w", of: "w" },
  { key: "dy", side: "backward", label: "δ = ∂L/∂y", of: "y" },
];

/** The arrays whose numbers can be changed; the others are computed of them. */
const GIVEN = ["x", "w", "dy"];

/** The formulas for strides s, dilation r and padding p; a convolution reads the kernel from its end. */
const FORMULAS = {
  x: (tap) => `∂L/∂x[n] = Σ w[${tap}] δ[m],  over all outputs m and taps k with s m + r k − p = n`,
  w: (tap) => `∂L/∂w[${tap}] = Σ δ[m] x[s m + r k − p],  over all outputs m`,
  y: (tap) => `y[m] = Σ w[${tap}] x[s m + r k − p],  over all taps k`,
  dy: (tap) => `into ∂L/∂x[s m + r k − p] goes w[${tap}] δ[m],  into ∂L/∂w[${tap}] goes x[s m + r k − p] δ[m]`,
};

/** An element's name in a formula: w[0, 1], with its channels where there are several. */
function nameOf(key, index) {
  const shape = conv.g[key === "dy" ? "y" : key];
  const [r, c, ...channels] = place(index, shape);
  const several = channels.filter((_, i) => shape[2 + i] > 1 || key === "w" && conv.g.w.some((n, axis) => axis > 1 && n > 1));
  const letter = key === "dy" ? "δ" : key;
  return `${letter}[${[r, c, ...several].join(", ")}]`;
}

function readGeometry() {
  const form = $("geometry");
  const number = (name) => Number(form.elements[name].value);
  const padding = form.elements.padding.value;
  const [channels, features, groups] = form.elements.channels.value.split(",").map(Number);
  const square = (n) => [n, n];
  const options = {
    size: square(number("size")), window: square(number("window")), stride: number("stride"),
    padding: Number.isNaN(Number(padding)) ? padding : Number(padding), dilation: number("dilation"), channels, features, groups,
  };
  return { kind: form.elements.kind.value, options };
}

const FIRST = FIXTURES.values;
const firstOf = (name, shape) => FIRST[name].slice(0, product(shape));

/** Take the geometry from the form, and the first numbers; one that does not fit changes nothing. */
function setGeometry() {
  const { kind, options } = readGeometry();
  const g = geometry(options);
  $("unfit").hidden = g.fits;
  if (!g.fits) {
    $("unfit").textContent = `A kernel of ${g.window[0]} × ${g.window[1]} at dilation ${g.dilation} spans ${g.span[0]} elements, more than the padded image has: choose a larger image, more padding or a smaller kernel. The arrays below are those of before.`;
    return;
  }
  Object.assign(conv, { kind, options, g, list: meetings(g, kind) });
  conv.x = firstOf("x", g.x);
  conv.w = firstOf("w", g.w);
  conv.dy = firstOf("dy", g.y);
  conv.edited = false;
  conv.chosen = { key: "x", index: flat([Math.floor(g.x[0] / 2), Math.floor(g.x[1] / 2), 0], g.x) };
  compute();
  buildBoard();
  update();
}

function compute() {
  const { g, list, x, w, dy } = conv;
  conv.y = forward(g, list, x, w);
  conv.dx = inputGradient(g, list, dy, w);
  conv.dw = kernelGradient(g, list, x, dy);
}

function buildBoard() {
  conv.grids = [];
  $("board").replaceChildren(...FAMILIES.map((family) => {
    const shape = conv.g[family.of];
    const rest = shape.slice(2), many = product(rest);
    const grids = Array.from({ length: many }, (_, channel) => oneGrid(family, shape, channel, many));
    conv.grids.push(...grids);
    return element("div", { class: `family ${family.key}` }, ...grids.map(({ grid }) => grid.root));
  }));
}

function oneGrid(family, shape, channel, many) {
  const inner = { x: [shape[2]], y: [shape[2]], w: [shape[2], shape[3]] }[family.of];
  const index = (cell) => cell * many + channel;
  const select = family.key === "dx" ? "x" : family.key === "dw" ? "w" : family.key;
  const [[top, bottom], [left, right]] = family.key === "x" ? conv.g.pad : [[0, 0], [0, 0]];
  const touched = { x: "x", w: "w", y: "y", dx: "x", dw: "w", dy: "dy" }[family.key];
  const written = (cell) => {
    const name = nameOf(touched, index(cell));
    return family.key === "dx" || family.key === "dw" ? `∂L/∂${name}` : name;
  };
  const grid = new Grid({
    id: `${family.key}-${channel}`, side: family.side, rows: shape[0], columns: shape[1], border: [top, bottom, left, right],
    label: many > 1 ? `${family.label} [${place(channel, inner).join(" → ")}]` : family.label,
    value: (cell) => conv[family.key][index(cell)], name: written,
    touch: (cell) => choose(select, index(cell)),
    change: GIVEN.includes(family.key) ? (cell, by) => edit(family.key, index(cell), by) : undefined,
  });
  return { grid, key: family.key, index };
}

function choose(key, index) {
  if (conv.chosen && conv.chosen.key === key && conv.chosen.index === index) return;
  conv.chosen = { key, index };
  update();
}

function edit(key, index, by) {
  conv[key][index] += by;
  conv.edited = true;
  compute();
  update();
}

/** The meetings of what was touched; which arrays light up, and with what written into them. */
function reading({ key, index }) {
  const pick = { x: "n", w: "k", y: "m", dy: "m" }[key];
  const found = conv.list.filter((t) => t[pick] === index);
  const ways = {
    x: { sum: conv.dx[index], a: ["w", "k"], b: ["dy", "m"], what: `∂L/∂${nameOf("x", index)}`, verb: "meets" },
    w: { sum: conv.dw[index], a: ["x", "n"], b: ["dy", "m"], what: `∂L/∂${nameOf("w", index)}`, verb: "is shared by" },
    y: { sum: conv.y[index], a: ["x", "n"], b: ["w", "k"], what: nameOf("y", index), verb: "is made of" },
    dy: { a: ["w", "k"], b: ["x", "n"], what: nameOf("dy", index), verb: "goes along" },
  };
  return { found, ...ways[key] };
}

function update() {
  const { key, index } = conv.chosen;
  const read = reading(conv.chosen);
  const lit = {};
  const light = (array, at, text) => {
    (lit[array] ??= new Map()).set(at, lit[array].has(at) ? `${lit[array].get(at)} ${text}` : text);
  };
  read.found.forEach((t, i) => {
    const [first, second] = [read.a, read.b];
    if (key === "dy") {
      light("w", t.k, `·${show(conv.dy[index])}`);
      light("dx", t.n, `+${factor(conv.dy[index] * conv.w[t.k])}`);
      light("dw", t.k, `+${factor(conv.dy[index] * conv.x[t.n])}`);
      light("x", t.n, `·${show(conv.dy[index])}`);
    } else {
      light(first[0], t[first[1]], `·${factor(conv[second[0]][t[second[1]]])}`);
      light(second[0], t[second[1]], `·${factor(conv[first[0]][t[first[1]]])}`);
    }
  });
  const also = { x: "dx", w: "dw", y: "y", dy: "dy" }[key];
  for (const { grid, key: array, index: at } of conv.grids) {
    const own = new Map();
    for (const [cell] of grid.cells) if (lit[array]?.has(at(cell))) own.set(cell, lit[array].get(at(cell)));
    const chosen = array === key || array === also ? [...grid.cells.keys()].find((cell) => at(cell) === index) : -1;
    grid.draw(own, chosen ?? -1);
  }
  writeReading(read);
  writeNudge();
  compare();
  conv.listeners.forEach((listener) => listener());
}

function writeReading(read) {
  const { key, index } = conv.chosen;
  const count = read.found.length;
  const pair = `(${{ x: "output, tap", w: "input, output", y: "input, tap", dy: "input, tap" }[key]})`;
  $("reading-title").textContent = key === "dy" ? `${read.what} = ${show(conv.dy[index])}` : `${read.what} = ${show(read.sum)}`;
  $("reading-formula").textContent = FORMULAS[key](conv.kind === "convolve" ? "K − 1 − k" : "k");
  $("reading-say").textContent = key === "dy"
    ? `${read.what} goes along ${count} ${pair} pair${count === 1 ? "" : "s"}: times the weight into ∂L/∂x, times the input into ∂L/∂w.`
    : `${nameOf(key, index)} ${read.verb} ${count} ${pair} pair${count === 1 ? "" : "s"}; the products add up to ${show(read.sum)}.`;
  $("reading-terms").replaceChildren(...read.found.map((t) => {
    const [[a, i], [b, j]] = [read.a, read.b];
    const left = key === "dy" ? ["dy", index] : [a, t[i]], right = key === "dy" ? [a, t[i]] : [b, t[j]];
    const [p, q] = [conv[left[0]][left[1]], conv[right[0]][right[1]]];
    const into = key === "dy" ? ` → ∂L/∂${nameOf("x", t.n)}` : "";
    return element("li", {}, `${nameOf(...left)} · ${nameOf(...right)} = ${show(p)} · ${factor(q)} = ${show(p * q)}${into}`);
  }));
  $("reading-order").textContent = key === "x" && count > 1 ? rotation(read.found) : "";
}

/** In which order the taps are met when δ is read from its first element to its last. */
function rotation(found) {
  const d = place(found[0].k, conv.g.w)[3];
  const taps = found.filter((t) => place(t.k, conv.g.w)[3] === d).map((t) => nameOf("w", t.k));
  const turned = conv.kind === "correlate";
  return `Read over δ from the first output to the last, the taps come as ${taps.slice(0, 3).join(", ")}${taps.length > 3 ? ", …" : ""}: ` +
    (turned ? "backwards. The gradient of a correlation convolves δ with the kernel, rotated by 180°."
      : "as they stand. The gradient of a convolution correlates δ with the kernel, as it is; it was the way forward that rotated it.");
}

function writeNudge() {
  const key = conv.chosen.key === "w" ? "w" : "x";
  const index = conv.chosen.key === key ? conv.chosen.index : 0;
  const loss = (v) => {
    const moved = { x: conv.x, w: conv.w, [key]: conv[key].map((old, i) => (i === index ? v : old)) };
    return forward(conv.g, conv.list, moved.x, moved.w).reduce((sum, y, m) => sum + y * conv.dy[m], 0);
  };
  const rule = (key === "x" ? conv.dx : conv.dw)[index];
  const { key: own, index: at } = conv.chosen;
  const chosen = { name: nameOf(own, at), change: GIVEN.includes(own) ? (by) => edit(own, at, by) : undefined };
  nudgePanel($("nudge"), conv, nameOf(key, index), loss, conv[key][index], rule, writeNudge, chosen);
}

const sameGeometry = (one, other) => ["size", "window", "stride", "padding", "dilation", "channels", "features", "groups"]
  .every((name) => String(one[name]) === String(other[name]));

function compare() {
  const fixture = conv.edited ? undefined
    : FIXTURES.convolutions.find((f) => f.kind === conv.kind && sameGeometry(f, conv.options));
  agree($("agreement"), fixture ? [[conv.y, fixture.y], [conv.dx, fixture.dx], [conv.dw, fixture.dw]] : []);
  const lines = { x: ["input_gradient"], w: ["kernel_gradient"], y: [], dy: ["input_gradient", "kernel_gradient"] }[conv.chosen.key];
  sourceOf($("convolution-source"), "backprop-of-convolution-is-correlation", conv.kind, ...lines);
}

$("geometry").addEventListener("change", setGeometry);
$("restore").addEventListener("click", setGeometry);
$("draw").addEventListener("click", () => {
  for (const name of ["x", "w", "dy"]) conv[name] = conv[name].map(() => Math.floor(Math.random() * 6) - 2);
  conv.edited = true;
  compute();
  update();
});
setGeometry();
