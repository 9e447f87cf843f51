// Runs the page Backward without a browser: of a document as much as its scripts ask for.
// Prints, as JSON, what the expression in the third argument gives; `select` and `fire` are there for it.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const EMPTY = new Set(["meta", "link", "input", "br"]);

class Element {
  constructor(tag) {
    Object.assign(this, { tag, parent: null, nodes: [], attributes: {}, listeners: {}, dataset: {}, tabIndex: -1, isConnected: true });
    this.style = { setProperty: () => {} };
    this.classes = new Set();
    this.classList = { toggle: (name, on) => this.classes[on ? "add" : "delete"](name) };
  }
  set className(names) { names.split(" ").forEach((name) => this.classes.add(name)); }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
    if (["hidden", "disabled", "checked"].includes(name)) this[name] = true;
    if (name === "class") this.className = String(value);
    if (name === "value") this.value = String(value);
  }
  append(...nodes) { nodes.forEach((node) => { this.nodes.push(node); if (node instanceof Element) node.parent = this; }); }
  replaceChildren(...nodes) { this.nodes = []; this.append(...nodes); }
  get firstChild() { return this.nodes[0]; }
  get lastChild() { return this.nodes[this.nodes.length - 1]; }
  get textContent() { return this.nodes.map((node) => node.textContent ?? node).join(""); }
  set textContent(text) { this.nodes = [String(text)]; }
  get all() { return this.nodes.flatMap((node) => (node instanceof Element ? [node, ...node.all] : [])); }
  get elements() { return Object.fromEntries(this.all.filter((e) => e.attributes.name).map((e) => [e.attributes.name, e])); }
  get value() {
    const options = this.all.filter((e) => e.tag === "option");
    const chosen = options.find((option) => "selected" in option.attributes) ?? options[0];
    return this.given ?? (chosen ? chosen.attributes.value ?? chosen.textContent : "");
  }
  set value(value) { this.given = String(value); }
  /** Of selectors those that are used: a tag, a class and an attribute, each or none. */
  querySelectorAll(selector) {
    const [, tag, name, key, value] = /^(\w*)(?:\.(\w+))?(?:\[([\w-]+)="?([^"\]]*)"?\])?$/.exec(selector);
    return this.all.filter((e) => (!tag || e.tag === tag) && (!name || e.classes.has(name)) && (!key || e.attributes[key] === value));
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  addEventListener(type, listener) { (this.listeners[type] ??= []).push(listener); }
  focus() { document.activeElement = this; fire(this, "focus"); }
  getBoundingClientRect() { return { x: 0, y: 0 }; }
}

/** Tell an element, and those around it, of an event. */
function fire(target, type, more = {}) {
  const event = { target, type, preventDefault: () => {}, ...more };
  for (let e = target; e; e = type === "focus" ? null : e.parent) (e.listeners[type] ?? []).forEach((listener) => listener(event));
}

function parsed(html) {
  const root = new Element("html"), open = [root];
  for (const [, closes, tag, attributes, text] of html.matchAll(/<(\/?)(\w+)([^>]*)>|([^<]+)/g)) {
    if (text) open.at(-1).append(text);
    else if (tag === "html") continue; // the root
    else if (closes) open.pop();
    else {
      const made = new Element(tag);
      for (const [, name, value] of attributes.matchAll(/([\w-]+)(?:="([^"]*)")?/g)) made.setAttribute(name, value ?? "");
      open.at(-1).append(made);
      if (!EMPTY.has(tag)) open.push(made);
    }
  }
  return root;
}

const folder = process.argv[2];
const html = fs.readFileSync(path.join(folder, "index.html"), "utf8");
const root = parsed(html.replace("<!doctype html>", ""));
const document = {
  documentElement: root, createElement: (tag) => new Element(tag), activeElement: null,
  getElementById: (id) => root.all.find((e) => e.attributes.id === id) ?? null,
  querySelectorAll: (selector) => root.querySelectorAll(selector),
};
/** Choose of the controls of a form, by their names, and tell it once. */
const select = (form, values) => {
  const controls = document.getElementById(form).elements;
  for (const [name, value] of Object.entries(values)) controls[name].value = value;
  fire(Object.values(controls)[0], "change");
};
const context = vm.createContext({ document, fire, select, matchMedia: () => ({ matches: true }) });
for (const { attributes } of root.querySelectorAll("script"))
  vm.runInContext(fs.readFileSync(path.join(folder, attributes.src), "utf8"), context);
process.stdout.write(JSON.stringify(vm.runInContext(process.argv[3], context)));
