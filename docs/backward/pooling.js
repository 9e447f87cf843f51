"use strict";
// The third section: pools and gates, with ties.

const pool = { kind: "max", epsilon: 0.1, chosen: { key: "z", index: 0 }, edited: false };
const POOL_SOURCES = { max: "max_pool", relu_max: "relu_max_pool", average: "average_pool", decimate: "decimate", relu: "relu" };
const POOL_FORMULAS = {
  max: "∂L/∂z[n] = Σ δ[m], over the windows m that n wins",
  relu_max: "∂L/∂z[n] = Σ δ[m], over the windows m that n wins, where a[m] > 0",
  average: "∂L/∂z[n] = 1/M² Σ δ[m], over the windows m, of M × M places, that hold n",
  decimate: "∂L/∂z[s m] = δ[m] for the stride s, all others 0",
  relu: "∂L/∂z[n] = δ[n] where a[n] > 0, else 0",
};
const POOL_SIZE = 6;

function setPool() {
  const form = $("pool-form");
  const kind = form.elements.kind.value;
  const number = (name) => Number(form.elements[name].value);
  const same = form.elements.padding.value === "SAME";
  const windowed = !["decimate", "relu"].includes(kind);
  form.elements.window.disabled = form.elements.padding.disabled = !windowed;
  form.elements.stride.disabled = kind === "relu";
  const options = {
    size: [POOL_SIZE, POOL_SIZE], window: windowed ? [number("window"), number("window")] : [1, 1],
    stride: kind === "relu" ? 1 : number("stride"), padding: windowed ? (same ? "SAME" : number("padding")) : 0,
  };
  Object.assign(pool, { kind, options, g: geometry(options), edited: false, z: FIXTURES.values.z.slice(0, POOL_SIZE ** 2) });
  pool.dy = FIXTURES.values.dy.slice(0, product(pool.g.y));
  pool.chosen = { key: "z", index: 0 };
  computePool();
  buildPool();
  updatePool();
}

function poolOutput(z) {
  return pool.kind === "relu" ? relu(z) : poolForward(poolShares(pool.kind, pool.g, z), z);
}

function computePool() {
  pool.shares = pool.kind === "relu" ? pool.z.map((v, n) => [{ n, share: v > 0 ? 1 : 0 }]) : poolShares(pool.kind, pool.g, pool.z);
  pool.a = poolOutput(pool.z);
  pool.dz = pool.kind === "relu" ? reluBackward(pool.a, pool.dy) : poolBackward(pool.shares, pool.dy, pool.z.length);
}

const poolName = (key, index) => {
  const [r, c] = place(index, key === "z" || key === "dz" ? pool.g.x : pool.g.y);
  return `${{ z: "z", dz: "∂L/∂z", a: "a", dy: "δ" }[key]}[${r}, ${c}]`;
};

function buildPool() {
  const arrays = [["z", "z, the input", "forward"], ["a", "a, the output", "forward"], ["dz", "∂L/∂z", "backward"], ["dy", "δ = ∂L/∂a", "backward"]];
  pool.grids = arrays.map(([key, label, side]) => {
    const shape = key === "z" || key === "dz" ? pool.g.x : pool.g.y;
    const select = key === "dz" ? "z" : key === "dy" ? "a" : key;
    const border = key === "z" ? pool.g.pad.flat() : [0, 0, 0, 0];
    return { key, grid: new Grid({
      id: `pool-${key}`, label, side, rows: shape[0], columns: shape[1], border, value: (i) => pool[key][i], name: (i) => poolName(key, i),
      touch: (index) => { pool.chosen = { key: select, index }; updatePool(); },
      change: ["z", "dy"].includes(key) ? (index, by) => editPool(key, index, by) : undefined,
    }) };
  });
  $("pool-board").replaceChildren(...pool.grids.map(({ grid }) => element("div", { class: "family" }, grid.root)));
}

function editPool(key, index, by) {
  pool[key][index] += by;
  pool.edited = true;
  computePool();
  updatePool();
}

/** What an output says of an element of its window: wins, ties and loses, a share, or nothing. */
function verdict(m, n) {
  const { share } = pool.shares[m].find((part) => part.n === n);
  if (pool.kind === "average") return `·1/${product(pool.g.window)}`;
  if (pool.kind === "relu") return share ? "open" : "shut";
  if (pool.kind === "decimate") return "kept";
  if (share) return "wins";
  return pool.z[n] === Math.max(...pool.shares[m].map((part) => pool.z[part.n])) ? (pool.kind === "relu_max" && pool.z[n] <= 0 ? "not > 0" : "tie") : "–";
}

function updatePool() {
  const { key, index } = pool.chosen;
  const lit = { z: new Map(), a: new Map(), dz: new Map(), dy: new Map() };
  const outputs = key === "a" ? [index] : pool.shares.flatMap((parts, m) => (parts.some((part) => part.n === index) ? [m] : []));
  if (key === "a")
    for (const { n, share } of pool.shares[index]) {
      lit.z.set(n, verdict(index, n));
      if (share) lit.dz.set(n, `+${factor(share * pool.dy[index])}`);
    }
  else for (const m of outputs) { lit.a.set(m, verdict(m, index)); lit.dy.set(m, verdict(m, index)); }
  for (const { key: array, grid } of pool.grids) {
    const chosen = key === "z" ? ["z", "dz"].includes(array) : ["a", "dy"].includes(array);
    grid.draw(lit[array], chosen ? index : -1);
  }
  $("pool-title").textContent = key === "a" ? `${poolName("a", index)} = ${show(pool.a[index])}` : `${poolName("dz", index)} = ${show(pool.dz[index])}`;
  $("pool-say").textContent = key === "a" ? sayOutput(index) : sayInput(index, outputs);
  writePoolNudge();
  const fixture = pool.edited ? undefined : FIXTURES.pools.find((f) => f.kind === pool.kind &&
    ["size", "window", "stride", "padding"].every((name) => String(f[name]) === String(pool.options[name])));
  agree($("pool-agreement"), fixture ? [[pool.a, fixture.a], [pool.dz, fixture.dz]] : []);
  sourceOf($("pool-source"), pool.kind === "relu" ? "activations" : "max-pooling", POOL_SOURCES[pool.kind]);
  $("pool-formula").textContent = POOL_FORMULAS[pool.kind];
}

function sayOutput(m) {
  const parts = pool.shares[m];
  const delta = `${poolName("dy", m)} = ${show(pool.dy[m])}`;
  if (pool.kind === "average") return sayMean(parts.length, product(pool.g.window), delta);
  if (pool.kind === "decimate") return `Kept as it is; ${delta} goes back to it alone.`;
  if (pool.kind === "relu") return pool.a[m] > 0 ? `The gate is open: ${delta} passes.` : `The gate is shut: ${delta} stops here. ReLU'(0) = 0.`;
  const winner = parts.find((part) => part.share);
  if (!winner) return `No element is above zero: ${delta} goes nowhere.`;
  const ties = parts.filter((part) => pool.z[part.n] === pool.z[winner.n]).length;
  return `${poolName("z", winner.n)} wins${ties > 1 ? `: ${ties} elements tie, the first in row-major order is taken` : ""}. ${delta} goes there, and nowhere else.`;
}

/** A window may reach into the padding, whose zeros are part of the mean. */
function sayMean(held, places, delta) {
  const mean = held === places ? `The mean of ${places} elements.`
    : `The mean of ${places} places, ${held} of them in the image; the padding's count as zeros.`;
  return `${mean} ${delta}, divided by ${places}, goes to ${held === 1 ? "the one element" : `each of the ${held} elements`}.`;
}

function sayInput(n, outputs) {
  if (!outputs.length) return "No window holds it: its gradient is 0.";
  const parts = outputs.map((m) => `${poolName("dy", m)} = ${show(pool.dy[m])} (${verdict(m, n)})`);
  return `It stands in ${outputs.length} window${outputs.length > 1 ? "s" : ""}: ${parts.join(", ")}. What comes back adds up to ${show(pool.dz[n])}.`;
}

function writePoolNudge() {
  const index = pool.chosen.key === "z" ? pool.chosen.index : pool.shares[pool.chosen.index][0].n;
  const loss = (v) => poolOutput(pool.z.map((old, i) => (i === index ? v : old))).reduce((sum, a, m) => sum + a * pool.dy[m], 0);
  const own = pool.chosen.key === "z" ? "z" : "dy"; // who chooses an output chooses its δ too
  const chosen = { name: poolName(own, pool.chosen.index), change: (by) => editPool(own, pool.chosen.index, by) };
  nudgePanel($("pool-nudge"), pool, poolName("z", index), loss, pool.z[index], pool.dz[index], writePoolNudge, chosen);
}

$("pool-form").addEventListener("change", setPool);
setPool();
