// @ts-check
/** What several widgets are made of: cards, tables, marks of a state, differences. */
import { each, h, when } from "./dom.js";

/**
 * @param {string} id @param {any} title @param {...any} children
 * @returns {HTMLElement}
 */
export const card = (id, title, ...children) =>
  h("section.card", { id, "aria-labelledby": `${id}-title` },
    h("header", {}, h("h2", { id: `${id}-title` }, title)), ...children);

/**
 * @typedef {{head: string, kind?: string, title?: string, cell: () => any}} Column
 * @param {string} caption @param {Column[]} columns
 * @param {(state: any) => any[]} items @param {(item: any) => any} key
 */
export function table(caption, columns, items, key) {
  const heads = columns.map((one) => h("th", { scope: "col", class: one.kind, title: one.title }, one.head));
  const row = () =>
    h("tr", { class: (one) => one.row ?? null },
      ...columns.map((one, place) =>
        h(place ? "td" : "th", { scope: place ? null : "row", class: one.kind }, one.cell())));
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption.unseen", {}, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, each(items, key, row))));
}

/** @type {{[state: string]: [string, string]}} */
const MARKS = {
  good: ["✓", "good"], warn: ["▲", "warn"], bad: ["✕", "bad"], idle: ["○", "idle"], busy: ["●", "busy"], hold: ["❚❚", "warn"],
};

/**
 * A state: a sign, a word and a colour, each of which would do.
 * @param {(item: any) => string} kind @param {(item: any) => any} word
 */
export const mark = (kind, word) =>
  h("span", { class: (one) => `mark ${MARKS[kind(one)][1]}` },
    h("span.sign", { "aria-hidden": "true" }, (one) => MARKS[kind(one)][0]), word);

/** @type {{[phase: string]: string}} */
export const PHASES = {
  "not begun": "idle", running: "busy", waiting: "warn", paused: "hold", aborting: "bad", aborted: "bad", done: "good",
};

const written = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1).replace(/\s+/g, " "));

/** What is different, by path. @param {(state: any) => any[] | null | undefined} differences */
export function differences(differences) {
  const side = (tag, sign, name, not) =>
    when((one) => one.kind !== not, () =>
      h(tag, {}, h("span.sign", { "aria-hidden": "true" }, sign), (one) => written(one[name])));
  return h("ul.diff", {},
    each((now) => differences(now) ?? [], (one) => one.path, () =>
      h("li", {}, h("code", {}, (one) => one.path), side("del", "−", "before", "added"), side("ins", "+", "after", "removed"))));
}

/** Lines of a text each. @param {(state: any) => (string | false | null | undefined)[]} give */
export const lines = (give) =>
  each((now) => give(now).filter(Boolean).map((text, place) => ({ place, text })), (one) => one.place, () =>
    h("li", {}, (one) => one.text));

/** Which colour and dash an arm has, everywhere. @param {any[]} arms @param {string} name */
export function armIndex(arms, name) {
  if (name === "stable") return 0;
  const others = arms.map((one) => one.name).filter((one) => one !== "stable");
  return 1 + (Math.max(0, others.indexOf(name)) % 5);
}
