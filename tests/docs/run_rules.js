// Prints, as JSON, what the page's own rules give where fixtures.js says what jcnn.ops gives.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const files = ["fixtures.js", "rules.js", "networks.js"];
const code = files.map((name) => fs.readFileSync(path.join(process.argv[2], name), "utf8")).join("\n");
const print = `
(() => {
  const take = (name, shape) => FIXTURES.values[name].slice(0, product(shape));
  const convolutions = FIXTURES.convolutions.map((f) => {
    const g = geometry(f), list = meetings(g, f.kind);
    const [x, w, dy] = [take("x", g.x), take("w", g.w), take("dy", g.y)];
    return { y: forward(g, list, x, w), dx: inputGradient(g, list, dy, w), dw: kernelGradient(g, list, x, dy) };
  });
  const pools = FIXTURES.pools.map((f) => {
    const g = geometry(f), [z, dy] = [take("z", g.x), take("dy", g.y)];
    if (f.kind === "relu") return { a: relu(z), dz: reluBackward(relu(z), dy) };
    const shares = poolShares(f.kind, g, z);
    return { a: poolForward(shares, z), dz: poolBackward(shares, dy, z.length) };
  });
  const loss = ({ loss, ...rest }) => ({ loss: loss[0], ...rest });
  return { convolutions, pools, written: loss(writtenExample()), classifier: loss(classifier()),
    after: { written: writtenExample(1).loss[0], classifier: classifier(0.05).loss[0] } };
})()`;
process.stdout.write(JSON.stringify(vm.runInNewContext(code + print)));
