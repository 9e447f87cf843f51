"use strict";
// The second section: the products of the input's gradient as cards, in rows by output or by input.

const MOST_CARDS = 260;
const orders = { by: "scatter", cards: new Map() };

function cardOf(t, i) {
  if (!orders.cards.has(i)) orders.cards.set(i, element("div", { class: "card" }, element("span", { class: "tap" }), element("span", { class: "product" })));
  const card = orders.cards.get(i);
  card.firstChild.textContent = `${nameOf("w", t.k)}·${nameOf("dy", t.m)}`;
  card.lastChild.textContent = `${show(conv.w[t.k])}·${factor(conv.dy[t.m])}`;
  const { key, index } = conv.chosen;
  card.classList.toggle("lit", (key === "x" && t.n === index) || (key === "dy" && t.m === index) || (key === "w" && t.k === index));
  return card;
}

/** Rows of cards: those of one δ together, or those of one input, taps in the order of δ. */
function rows() {
  const scatter = orders.by === "scatter";
  const count = product(scatter ? conv.g.y : conv.g.x);
  const groups = Array.from({ length: count }, () => []);
  conv.list.forEach((t, i) => groups[scatter ? t.m : t.n].push([t, i]));
  return groups.flatMap((members, index) => members.length ? [element("div", { class: "deal", role: "group", "aria-label": rowName(scatter, index) },
    element("span", { class: "of" }, rowName(scatter, index)), ...members.map(([t, i]) => cardOf(t, i)))] : []);
}

const rowName = (scatter, index) => scatter
  ? `${nameOf("dy", index)} = ${show(conv.dy[index])} →`
  : `∂L/∂${nameOf("x", index)} = ${show(conv.dx[index])} =`;

function dealCards(moving = false) {
  const tooMany = conv.list.length > MOST_CARDS;
  $("orders-say").textContent = tooMany
    ? `${conv.list.length} products are too many to lay out: choose a smaller image, a smaller kernel or a larger stride above.`
    : `${conv.list.length} products. ` + (orders.by === "scatter"
      ? "Each row is one δ, spread by the whole kernel: this is how one would add them in a loop over outputs."
      : conv.kind === "convolve"
        ? "Each row is one input. Along a row δ runs forward and the taps run forward too: a correlation of δ with the kernel as it is."
        : "Each row is one input. Along a row δ runs forward and the taps run backward: a convolution, which is a correlation with the kernel rotated by 180°.");
  if (tooMany) return $("cards").replaceChildren();
  const before = new Map([...orders.cards].map(([i, card]) => [i, card.isConnected ? card.getBoundingClientRect() : null]));
  orders.cards = new Map([...orders.cards].filter(([i]) => i < conv.list.length));
  $("cards").replaceChildren(...rows());
  if (!moving || matchMedia("(prefers-reduced-motion: reduce)").matches) return undefined;
  for (const [i, card] of orders.cards) {
    const from = before.get(i);
    if (!from) continue;
    const to = card.getBoundingClientRect();
    card.animate([{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)` }, { transform: "none" }], { duration: 700, easing: "ease-in-out" });
  }
  return undefined;
}

for (const choice of document.querySelectorAll('input[name="order"]'))
  choice.addEventListener("change", () => { orders.by = choice.value; dealCards(true); });
conv.listeners.push(() => dealCards());
dealCards();
