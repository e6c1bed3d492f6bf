// @ts-check
/**
 * Elements whose texts and attributes follow a state, with nothing in between.
 *
 * A function in the place of a text, a property or a child is a binding: `update` asks it
 * again, and touches the page only where what it gives has changed. So a selection, the focus
 * and a scroll position stay, and what did not change costs a comparison. Markup strings are
 * nowhere: whatever comes from outside is text.
 */

/** @typedef {(state: any) => void} Binding */

/** @type {WeakMap<Node, Binding[]>} */
const bindings = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "line", "g", "rect", "circle", "text"]);

/** @param {Node} node @param {Binding} binding */
export function bind(node, binding) {
  const there = bindings.get(node);
  if (there) there.push(binding);
  else bindings.set(node, [binding]);
}

/** Let what an element shows follow a state. @param {Node} node @param {any} state */
export function update(node, state) {
  const all = bindings.get(node);
  if (all) for (const one of all) one(state);
}

/** @param {(state: any) => any} ask @param {(value: any) => void} put @returns {Binding} */
function following(ask, put) {
  /** @type {any} */
  let last;
  return (state) => {
    const value = ask(state);
    if (value === last) return;
    last = value;
    put(value);
  };
}

/** @param {Element & {[name: string]: any}} el @param {string} name @param {any} value */
function set(el, name, value) {
  if (name.startsWith("--")) /** @type {any} */ (el).style.setProperty(name, value ?? "");
  else if (name === "value" || name === "checked" || name === "open") el[name] = value;
  else if (value === null || value === undefined || value === false) el.removeAttribute(name);
  else el.setAttribute(name, value === true ? "" : value);
}

/**
 * Make an element. Functions are bindings, but for `on...`, which are listeners.
 * @param {string} tag with classes: "td.num"
 * @param {{[name: string]: any}} [props]
 * @param {...any} children
 * @returns {any}
 */
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

/**
 * A list that follows another: what has the same key keeps its element.
 * @param {(state: any) => any[]} items
 * @param {(item: any) => any} key
 * @param {(item: any) => Node} make
 */
export function each(items, key, make) {
  const end = document.createComment("");
  /** @type {Map<any, any>} */
  let nodes = new Map();
  bind(end, (state) => {
    const next = new Map();
    for (const item of items(state)) {
      const name = key(item);
      if (next.has(name)) continue;
      const node = nodes.get(name) ?? make(item);
      next.set(name, node);
      update(node, item);
    }
    for (const [name, node] of nodes) if (next.get(name) !== node) node.remove();
    let before = /** @type {Node} */ (end);
    for (const node of [...next.values()].reverse()) {
      if (node.nextSibling !== before) end.parentNode?.insertBefore(node, before);
      before = node;
    }
    nodes = next;
  });
  return end;
}

/**
 * An element that is there only while something holds.
 * @param {(state: any) => any} holds
 * @param {() => Node} make
 */
export function when(holds, make) {
  return each((state) => (holds(state) ? [state] : []), () => 0, make);
}

/** @param {string} selector @returns {any} */
export const find = (selector) => document.querySelector(selector);
