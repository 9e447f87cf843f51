"use strict";
// The fourth section: a network, one step at a time. And what the page compares on each opening.

const walk = { choice: "written", step: 0 };
const NETWORKS = { written: WRITTEN, classifier: CLASSIFIER };

function arrayOf({ name, label, side, shape, origin = 0 }, values) {
  const channels = shape[2];
  return Array.from({ length: channels }, (_, channel) => {
    const at = (cell) => cell * channels + channel;
    const named = channels > 1 ? `${label} [${channel}]` : label;
    return new Grid({
      id: `step-${name}-${channel}`, label: named, side, rows: shape[0], columns: shape[1], value: (cell) => values[name][at(cell)],
      name: (cell) => `${named}[${shape[0] > 1 ? `${Math.floor(cell / shape[1])}, ` : ""}${(cell % shape[1]) + origin}]`,
      touch: () => {},
    }).root;
  });
}

/** Arrays of the step, and small below them all that were there before. */
function showStep() {
  const network = NETWORKS[walk.choice], step = network.steps[walk.step];
  const values = step.after ? network.values(step.rate ?? 1) : network.values();
  $("step-title").textContent = step.title;
  $("step-formula").textContent = step.formula;
  $("step-say").textContent = step.say;
  $("step-count").textContent = `Step ${walk.step + 1} of ${network.steps.length}`;
  $("step-back").disabled = walk.step === 0;
  $("step-next").disabled = walk.step === network.steps.length - 1;
  const now = step.show.flatMap((array) => arrayOf(array, values));
  const start = network.values();
  const before = network.steps.slice(0, walk.step).flatMap((earlier) => (earlier.after ? [] : earlier.show)).flatMap((array) => arrayOf(array, start));
  $("step-board").replaceChildren(
    element("div", { class: "now" }, ...now),
    ...(before.length ? [element("details", { class: "before", open: "" }, element("summary", {}, "What there was before"), element("div", { class: "board" }, ...before))] : []));
  sourceOf($("step-source"), step.equation, step.source);
  agree($("step-agreement"), networkPairs(walk.choice));
}

function networkPairs(choice) {
  const found = NETWORKS[choice].values(), theirs = FIXTURES[choice];
  const names = choice === "written" ? ["dx", "dw"] : ["dx", "dw", "db", "dv", "dc"];
  return [[found.loss, [theirs.loss].flat()], ...names.map((name) => [found[name], theirs[name]])];
}

function move(by) {
  walk.step = Math.min(Math.max(walk.step + by, 0), NETWORKS[walk.choice].steps.length - 1);
  showStep();
}
$("step-back").addEventListener("click", () => move(-1));
$("step-next").addEventListener("click", () => move(1));
$("network-choice").addEventListener("change", (event) => { Object.assign(walk, { choice: event.target.value, step: 0 }); showStep(); });
showStep();

/** Everything of fixtures.js once more, by the page's own rules. */
function everything() {
  const pairs = FIXTURES.convolutions.flatMap((f) => {
    const g = geometry(f), list = meetings(g, f.kind);
    const [x, w, dy] = [firstOf("x", g.x), firstOf("w", g.w), firstOf("dy", g.y)];
    return [[forward(g, list, x, w), f.y], [inputGradient(g, list, dy, w), f.dx], [kernelGradient(g, list, x, dy), f.dw]];
  });
  for (const f of FIXTURES.pools) {
    const g = geometry(f), z = FIRST.z.slice(0, product(g.x)), dy = firstOf("dy", g.y);
    const shares = f.kind === "relu" ? null : poolShares(f.kind, g, z);
    const a = shares ? poolForward(shares, z) : relu(z);
    pairs.push([a, f.a], [shares ? poolBackward(shares, dy, z.length) : reluBackward(a, dy), f.dz]);
  }
  return [...pairs, ...networkPairs("written"), ...networkPairs("classifier")];
}
agree($("truth-say"), everything());
