// Choose another tap of a kernel: what it reads, the terms and their sum are computed here again.
"use strict";
for (const source of document.querySelectorAll(".tap-data")) {
  const data = JSON.parse(source.textContent);
  const block = source.parentElement;
  const [, readFigure, termsFigure] = block.querySelectorAll("figure");
  const sum = block.querySelector(".formula"), named = block.querySelector(".tap");
  const [height, width] = data.steady.shape, columns = data.moving.shape[1];

  const readBy = (tap) => {
    const begin = tap.map((k, axis) => data.dilation[axis] * (data.flipped ? data.window[axis] - 1 - k : k));
    const values = [];
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++)
        values.push(data.moving.values[(begin[0] + data.strides[0] * i) * columns + begin[1] + data.strides[1] * j]);
    return values;
  };
  const times = (read) => read.map((value, i) => value * data.steady.values[i]);
  const total = (values) => values.reduce((a, b) => a + b, 0);
  const shown = (value, digits) => String(Number(value.toPrecision(digits))).replace("-", "−");
  const colour = (share) => `rgba(${share > 0 ? "217,95,2" : "31,111,190"},${Math.abs(share) ** 0.6})`;

  const draw = (figure, values, words) => {
    let canvas = figure.querySelector("canvas");
    if (!canvas) {
      canvas = document.createElement("canvas");
      canvas.width = width; canvas.height = height;
      canvas.setAttribute("role", "img");
      if (width > 6 * height) canvas.style.height = "1.6rem";
      figure.querySelector("img").replaceWith(canvas);
    }
    const largest = Math.max(...values.map(Math.abs), 1e-30), context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    values.forEach((value, i) => {
      context.fillStyle = colour(value / largest);
      context.fillRect(i % width, Math.floor(i / width), 1, 1);
    });
    const ends = `from ${shown(Math.min(...values), 3)} to ${shown(Math.max(...values), 3)}`;
    canvas.setAttribute("aria-label", `${words}, ${ends}`);
    const caption = figure.querySelector("figcaption");
    caption.replaceChildren(caption.querySelector("b"), document.createElement("br"), `${words}, ${ends}`);
  };

  const show = (tap) => {
    const read = readBy(tap), terms = times(read), name = tap.slice(2 - data.rank).join(", ");
    const rule = data.rules[tap[0] * data.window[1] + tap[1]];
    named.textContent = [name, ...data.channels].join(", ");
    draw(readFigure, read, `What tap [${name}] reads`);
    draw(termsFigure, terms, `The terms of tap [${name}]`);
    const order = terms.map((_, i) => i).sort((a, b) => Math.abs(terms[b]) - Math.abs(terms[a])).slice(0, 5);
    const written = order.map((i) => `(${shown(data.steady.values[i], 3)}) · (${shown(read[i], 3)})`);
    const rest = total(terms) - total(order.map((i) => terms[i]));
    const others = terms.length > order.length ? ` + ${shown(rest, 3)} of the other ${terms.length - order.length}` : "";
    sum.textContent = `${written.join(" + ")}${others} = ${shown(total(terms), 5)}; the rule gives ${shown(rule, 5)}`;
  };

  const field = document.createElement("fieldset");
  field.className = "kernel scroll";
  const legend = document.createElement("legend");
  legend.textContent = "The gradient of every tap of this pair of channels; choose one:";
  const grid = document.createElement("div");
  grid.className = "grid";
  grid.style.gridTemplateColumns = `repeat(${data.window[1]}, minmax(2.4rem, max-content))`;
  field.append(legend, grid);
  const taps = [];
  for (let i = 0; i < data.window[0]; i++) for (let j = 0; j < data.window[1]; j++) taps.push([i, j]);
  const sums = taps.map((tap) => total(times(readBy(tap))));
  const largest = Math.max(...sums.map(Math.abs), 1e-30), group = `tap-${Math.random().toString(36).slice(2)}`;
  taps.forEach((tap, k) => {
    const label = document.createElement("label"), input = document.createElement("input");
    const cell = document.createElement("span");
    input.type = "radio"; input.name = group;
    input.checked = tap.every((index, axis) => index === data.tap[axis]);
    input.setAttribute("aria-label", `tap ${tap.slice(2 - data.rank).join(", ")}: ${shown(sums[k], 3)}`);
    input.addEventListener("change", () => show(tap));
    cell.textContent = shown(sums[k], 2);
    cell.style.background = colour(0.6 * sums[k] / largest);
    label.append(input, cell);
    grid.append(label);
  });
  block.insertBefore(field, block.querySelector(".pictures"));
}
