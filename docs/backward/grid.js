"use strict";
// What the sections share: an array of numbers that one touches, a source, a formula, an agreement.

// In a checkout pages are Markdown and code is code; the site's builder writes its own addresses here.
const LINKS = { code: "../../", codeEnd: "", equations: "../equations.md" };

const $ = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name === "class") made.className = value;
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A number as one reads it: whole, or with as many decimals as a cell has room for. */
function show(v) {
  const whole = Math.round(v), size = Math.abs(v);
  const text = Math.abs(v - whole) < 1e-9 ? String(whole || 0)
    : size >= 0.0095 ? v.toFixed(size >= 10 ? 1 : 2)
      : size >= 0.0005 ? v.toFixed(3).replace("0.", ".") : "≈0";
  return text.replace("-", "−");
}
const factor = (v) => (v < 0 ? `(${show(v)})` : show(v));

/** One channel of an array as a grid of cells: touched, or reached by keys; one cell takes the focus. */
class Grid {
  constructor({ id, label, side, rows, columns, border = [0, 0, 0, 0], origin = 0, value, name, touch, change }) {
    Object.assign(this, { id, label, side, rows, columns, border, origin, value, name, touch, change });
    this.cells = new Map();
    this.focused = 0;
    const [top, bottom, left, right] = border;
    this.body = element("div", { role: "grid", class: "grid", "aria-label": label, id });
    this.body.style.setProperty("--columns", left + columns + right);
    for (let r = -top; r < rows + bottom; r++) {
      const row = element("div", { role: "row", class: "row" });
      for (let c = -left; c < columns + right; c++) row.append(this.cell(r, c));
      this.body.append(row);
    }
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.root = element("figure", { class: `array ${side}` }, element("figcaption", {}, label), this.body);
    this.draw();
  }

  cell(r, c) {
    if (r < 0 || c < 0 || r >= this.rows || c >= this.columns)
      return element("div", { class: "cell pad", role: "presentation" }, "0");
    const index = r * this.columns + c;
    const cell = element("div", { role: "gridcell", class: "cell", tabindex: index ? "-1" : "0", "data-index": index });
    cell.append(element("span", { class: "value" }), element("span", { class: "meets", "aria-hidden": "true" }));
    if (this.touch) {
      cell.addEventListener("click", () => { this.focus(index); this.touch(index); });
      cell.addEventListener("focus", () => this.touch(index));
    }
    this.cells.set(index, cell);
    return cell;
  }

  focus(index) {
    this.cells.get(this.focused).tabIndex = -1;
    this.focused = index;
    this.cells.get(index).tabIndex = 0;
    this.cells.get(index).focus({ preventScroll: true });
  }

  key(event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const [r, c] = [Math.floor(this.focused / this.columns), this.focused % this.columns];
    if (moves[event.key]) {
      const [row, column] = [r + moves[event.key][0], c + moves[event.key][1]];
      if (row >= 0 && column >= 0 && row < this.rows && column < this.columns) this.focus(row * this.columns + column);
    } else if (event.key === "Home") this.focus(r * this.columns);
    else if (event.key === "End") this.focus((r + 1) * this.columns - 1);
    else if (this.change && ["+", "=", "-", "−"].includes(event.key)) this.change(this.focused, "+=".includes(event.key) ? 1 : -1);
    else if (event.key === "Enter" || event.key === " ") this.touch?.(this.focused);
    else return;
    event.preventDefault();
  }

  /** Write values and tints; `lit` maps an index to what it meets; `chosen` is one index or none. */
  draw(lit = new Map(), chosen = -1) {
    const values = [...this.cells.keys()].map(this.value);
    const largest = Math.max(...values.map(Math.abs), 1e-9);
    for (const [index, cell] of this.cells) {
      const v = values[index], meets = lit.get(index);
      cell.firstChild.textContent = show(v);
      cell.lastChild.textContent = meets ?? "";
      cell.style.setProperty("--strength", `${Math.round((Math.abs(v) / largest) * 100)}%`);
      cell.classList.toggle("negative", v < -1e-9);
      cell.classList.toggle("lit", meets !== undefined);
      cell.classList.toggle("chosen", index === chosen);
      cell.setAttribute("aria-selected", index === chosen);
      cell.setAttribute("aria-label", `${this.name(index)} = ${show(v)}${meets ? `, meets ${meets}` : ""}`);
    }
  }
}

/** The lines of jcnn that compute a step, and where its formula stands. */
function sourceOf(where, equation, ...names) {
  const open = where.querySelector("details")?.open;
  where.replaceChildren(element("details", { class: "source" },
    element("summary", {}, "The lines of jcnn, and the formula's place"),
    ...names.flatMap((name) => {
      const { path, code } = FIXTURES.sources[name];
      return [element("pre", { tabindex: "0", "aria-label": path }, element("code", {}, code)), element("p", {}, element("a", { href: LINKS.code + path + LINKS.codeEnd }, path))];
    }),
    element("p", {}, element("a", { href: `${LINKS.equations}#${equation}` }, "The formula in the lectures"))));
  where.querySelector("details").open = Boolean(open);
}

const close = (a, b) => a.length === b.length && a.every((v, i) => Math.abs(v - b[i]) <= 1e-12 + 1e-10 * Math.abs(b[i]));

/** Say how many numbers were compared with those of jcnn.ops. */
function agree(where, pairs) {
  const count = pairs.reduce((sum, [, theirs]) => sum + theirs.length, 0);
  const wrong = pairs.filter(([ours, theirs]) => !close(ours, theirs));
  where.textContent = !pairs.length
    ? "Computed on this page, by the rule that is held against jcnn.ops."
    : wrong.length ? "Not what jcnn.ops gives: please report it." : `✓ The same ${count} numbers as jcnn.ops gives.`;
  where.classList.toggle("wrong", wrong.length > 0);
}

/** What the keys + and − do, for who has none: two buttons for the chosen element; a computed one has no `change`. */
function changeButtons(where, { name, change }) {
  if (!change) return [];
  return [element("p", { class: "change" }, `Change ${name} by `, ...[[-1, "−1"], [1, "+1"]].map(([by, text]) => {
    const button = element("button", { type: "button", "aria-label": `${name} ${text}`, "data-by": by }, text);
    button.addEventListener("click", () => {
      change(by);
      where.querySelector(`[data-by="${by}"]`)?.focus(); // the panel was drawn anew
    });
    return button;
  }))];
}

/** Rule and finite differences side by side, for L = Σ δ · output as a function of one number. */
function nudgePanel(where, state, title, f, v, rule, redraw, chosen) {
  const q = quotients(f, v, state.epsilon);
  const row = (name, number, note = "") => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, show(number)), element("td", {}, note));
  // Where an element ties in two windows their kinks can cancel: then the sides agree, but not with the rule.
  const kink = [q.left, q.right].some((side) => Math.abs(side - rule) > 1e-6);
  const choice = element("select", { "aria-label": "How far" }, ...[1, 0.1, 0.01].map((e) => element("option", { value: e }, `± ${e}`)));
  choice.value = state.epsilon;
  choice.addEventListener("change", () => { state.epsilon = Number(choice.value); redraw(); where.querySelector("select").focus(); });
  where.replaceChildren(
    ...changeButtons(where, chosen),
    element("h3", {}, `Nudge ${title} by `, choice),
    element("table", {}, element("tbody", {},
      row("the rule", rule, "the sum above"),
      row("difference quotient", q.central, "(L(+ε) − L(−ε)) / 2ε"),
      row("to the right", q.right, "(L(+ε) − L) / ε"),
      row("to the left", q.left, "(L − L(−ε)) / ε"))),
    element("p", {}, kink
      ? "Here an output has a kink (a tie in its window, or a gate at zero), and so no derivative. The rule chooses: of equals the first wins all of δ, and a gate at zero is shut. So it need not be what either side says, nor their mean."
      : "L, the sum of δ times output, is straight in this number within ε, so that rule and quotients agree."));
}

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
