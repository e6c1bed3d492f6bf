/**
 * Elements whose texts and attributes follow a state, with nothing in between; and how numbers,
 * ages, states, tables and differences look. What is no number is a dash.
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

/** Make an element of a tag, properties if there are some, and children. Functions are bindings, but for `on...`. */
export function h(tag, ...rest) {
  const props = rest[0]?.constructor === Object ? rest.shift() : {};
  const [name, ...classes] = tag.split(".");
  const el = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  if (classes.length) el.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (typeof value === "function") bind(el, following(value, (now) => set(el, key, now)));
    else set(el, key, value);
  }
  for (const child of rest.flat()) {
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

/** A button that does something. */
export const button = (tag, id, label, onclick, props) => h(`button${tag}`, { type: "button", id, onclick, ...props }, label);

/** A sign beside words that say the same. */
export const sign = (text) => h("span.sign", { "aria-hidden": "true" }, text);

/** @returns {any} */
export const find = (selector) => document.querySelector(selector);

const NONE = "–";
const GAP = "\u202f";

export const isNumber = (x) => typeof x === "number" && Number.isFinite(x);

export function percent(x) {
  if (!isNumber(x)) return NONE;
  const value = x * 100;
  const digits = value === 0 || value >= 99.995 ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))}${GAP}%`;
}

export const count = (x) => (isNumber(x) ? Math.round(x).toLocaleString("en-US").replaceAll(",", GAP) : NONE);

export const rate = (x) => (isNumber(x) ? (x >= 100 ? count(x) : x.toFixed(1)) : NONE);

export function latency(x) {
  if (!isNumber(x) || x === 0) return NONE;
  if (x >= 1) return `${x.toFixed(x >= 10 ? 0 : 2)}${GAP}s`;
  const ms = x * 1000;
  return `${ms >= 100 ? ms.toFixed(0) : ms.toPrecision(2)}${GAP}ms`;
}

export const times = (x) => (isNumber(x) ? `×${GAP}${x >= 10 ? x.toFixed(0) : x.toFixed(2)}` : NONE);

export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  if (whole < 60) return `${whole}${GAP}s`;
  if (whole < 3600) return `${minutes}${GAP}min`;
  if (whole < 86400) return `${Math.floor(minutes / 60)}${GAP}h ${minutes % 60}${GAP}min`;
  return `${Math.floor(whole / 86400)}${GAP}d`;
}

export function countdown(seconds) {
  if (!isNumber(seconds)) return NONE;
  const text = new Date(Math.max(0, Math.ceil(seconds)) * 1000).toISOString().slice(11, 19);
  const days = Math.floor(seconds / 86400);
  return days > 0 ? `${days}${GAP}d ${text}` : text.replace(/^(00:0?|0)/, "");
}

export const ago = (at, now) => (isNumber(at) ? `${span(now - at)} ago` : NONE);

export const clock = (at) => (isNumber(at) ? new Date(at * 1000).toLocaleTimeString("en-GB") : NONE);

export const card = (id, title, ...children) =>
  h("section.card", { id, "aria-labelledby": `${id}-title` },
    h("header", h("h2", { id: `${id}-title` }, title)), ...children);

export function table(caption, columns, items, key) {
  const heads = columns.map((one) => h("th", { scope: "col", class: one.kind, title: one.title }, one.head));
  const row = () =>
    h("tr", { class: (one) => one.row ?? null },
      ...columns.map((one, place) =>
        h(place ? "td" : "th", { scope: place ? null : "row", class: one.kind }, one.cell())));
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": `${caption}, table` },
    h("table", h("caption.unseen", caption), h("thead", h("tr", heads)), h("tbody", each(items, key, row))));
}

const SIGNS = { good: "✓", warn: "▲", bad: "✕", idle: "○", busy: "●", hold: "❚❚" };

/** A state: a sign, a word and a colour, each of which would do. */
export const mark = (kind, word) => h("span", { class: (one) => `mark ${kind(one)}` }, sign((one) => SIGNS[kind(one)]), word);

const PHASES = { running: "busy", waiting: "warn", paused: "hold", aborting: "bad", aborted: "bad", done: "good" };

export const phaseKind = (rollout) => PHASES[rollout?.phase] ?? "idle";

const written = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1).replace(/\s+/g, " "));

/** What is different, by path. */
export function differences(differences) {
  const side = (tag, mark, name, not) =>
    when((one) => one.kind !== not, () =>
      h(tag, sign(mark), (one) => written(one[name])));
  return h("ul.diff",
    each((now) => differences(now) || [], (one) => one.path, () =>
      h("li", h("code", (one) => one.path), side("del", "−", "before", "added"), side("ins", "+", "after", "removed"))));
}

export const fault = (one) => `${one.path}: found ${one.found}, expected ${one.expected}`;

/** Lines of a text each. */
export const lines = (give) =>
  each((now) => give(now).filter(Boolean).map((text, place) => ({ place, text })), (one) => one.place, () =>
    h("li", (one) => one.text));

/** Which colour and dash an arm has, everywhere. */
export function armIndex(arms, name) {
  if (name === "stable") return 0;
  const others = arms.map((one) => one.name).filter((one) => one !== "stable");
  return 1 + (Math.max(0, others.indexOf(name)) % 3);
}
