/**
 * Elements whose texts and attributes follow a state, with nothing in between.
 *
 * A function in the place of a text, a property or a child is a binding: `update` asks it
 * again, and touches the page only where what it gives has changed. So a selection, the focus
 * and a scroll position stay, and what did not change costs a comparison. Markup strings are
 * nowhere: whatever comes from outside is text.
 */

const bindings = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path"]);

function bind(node, binding) {
  if (!bindings.has(node)) bindings.set(node, []);
  bindings.get(node).push(binding);
}

/** Let what an element shows follow a state. */
export function update(node, state) {
  for (const one of bindings.get(node) ?? []) one(state);
}

function following(ask, put) {
  let last;
  return (state) => {
    const value = ask(state);
    if (value === last) return;
    last = value;
    put(value);
  };
}

function set(el, name, value) {
  if (name.startsWith("--")) el.style.setProperty(name, value ?? "");
  else if (name === "value") el.value = value;
  else if (value === null || value === undefined || value === false) el.removeAttribute(name);
  else el.setAttribute(name, value === true ? "" : value);
}

/** Make an element. Functions are bindings, but for `on...`, which are listeners. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const el = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  if (classes.length) el.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (typeof value === "function") bind(el, following(value, (now) => set(el, key, now)));
    else set(el, key, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    if (typeof child === "function") {
      const text = document.createTextNode("");
      bind(el, following(child, (now) => { text.data = now ?? ""; }));
      el.append(text);
    } else {
      el.append(child);
      if (child instanceof Node) bind(el, (state) => update(child, state));
    }
  }
  return el;
}

/** A list that follows another: what has the same key keeps its element. `make` is given what gives the item. */
export function each(items, key, make) {
  const end = document.createComment("");
  let nodes = new Map();
  bind(end, (state) => {
    const next = new Map();
    for (const item of items(state)) {
      const name = key(item);
      if (next.has(name)) continue;
      const one = nodes.get(name) ?? {};
      one.item = item;
      one.node ??= make(() => one.item);
      next.set(name, one);
      update(one.node, item);
    }
    for (const [name, { node }] of nodes) if (!next.has(name)) node.remove();
    let before = end;
    for (const { node } of [...next.values()].reverse()) {
      if (node.nextSibling !== before) end.parentNode?.insertBefore(node, before);
      before = node;
    }
    nodes = next;
  });
  return end;
}

/** An element that is there only while something holds. */
export const when = (holds, make) => each((state) => (holds(state) ? [state] : []), () => 0, make);

export const find = (selector) => document.querySelector(selector);
