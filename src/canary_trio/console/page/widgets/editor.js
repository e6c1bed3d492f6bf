/**
 * The document as text: checked while it is typed, rehearsed on request, written over the
 * revision that it was taken from. What somebody typed is never thrown away by what comes in.
 */
import { confirm, write } from "../dialog.js";
import { each, h, update, when } from "../dom.js";
import { ask, of } from "../news.js";
import { card, differences, fault, lines } from "../shown.js";
import { canWrite, state } from "../store.js";

const CHECK_MS = 350;
const TOKEN = /[{}[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}[\],:"]+/g;
const STEP = /\.?([A-Za-z_$][\w-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/g;

/** Say where a path of a document, or the nearest thing around it, stands in its text. */
export function placeOf(text, path) {
  const wanted = [...path.replace(/^\$/, "").matchAll(STEP)].map(([, word, place, quoted]) => word ?? (quoted ? JSON.parse(quoted) : Number(place)));
  const open = []; // of each table and list around: whether it is a list, and where it is
  let [best, start, end] = [0, 0, 1];
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    const inside = open.at(-1);
    const isName = inside && !inside.list && inside.name && token[0] === '"';
    if (isName) Object.assign(inside, { step: token.slice(1, -1), name: false });
    const here = open.map((one) => one.step);
    const isValue = inside?.list && !"]},:".includes(token);
    if ((isName || isValue) && here.length > best && here.length <= wanted.length && here.every((step, place) => step === wanted[place])) {
      [best, start, end] = [here.length, index, index + token.length];
    }
    if (token === "{" || token === "[") open.push({ list: token === "[", step: token === "[" ? 0 : "", name: true });
    else if (token === "}" || token === "]") open.pop();
    else if (token === "," && inside?.list) inside.step += 1;
    else if (token === "," && inside) inside.name = true;
  }
  return { start, end, line: text.slice(0, start).split("\n").length };
}

export function editor() {
  const it = { over: 0, text: "", dirty: false, preview: null, rehearsal: null, error: "", busy: false, rows: [] };
  let timer = 0;
  const area = h("textarea", { id: "document", spellcheck: "false", wrap: "off", "aria-describedby": "faults", oninput: typed, onscroll: () => { gutter.scrollTop = area.scrollTop; } });
  const gutter = h("div.gutter", { "aria-hidden": "true" },
    each(() => it.rows, (one) => one.number, () => h("span", { class: (one) => one.bad }, (one) => `${one.bad ? "✕ " : ""}${one.number}`)));

  function typed() {
    Object.assign(it, { dirty: area.value !== it.text, rehearsal: null });
    clearTimeout(timer);
    timer = setTimeout(check, CHECK_MS);
    draw();
  }

  async function check() {
    const text = area.value;
    const asked = { preview: null, error: "" };
    try {
      asked.preview = await ask("POST", of(state.service, "/preview"), { text });
    } catch (exc) {
      Object.assign(asked, { preview: { valid: false, problems: exc.body?.problems ?? [], differences: [] }, error: exc.message });
    }
    if (area.value === text) Object.assign(it, asked);
    draw();
  }

  async function rehearse() {
    it.busy = true;
    draw();
    try {
      it.rehearsal = await ask("POST", of(state.service, "/rehearse"), { text: area.value });
      it.error = "";
    } catch (exc) {
      it.error = exc.message;
    }
    it.busy = false;
    draw();
  }

  /** Take the document that is there now, and leave what was typed. */
  function load() {
    Object.assign(it, { over: state.view.revision, text: state.view.text, dirty: false, preview: null, rehearsal: null, error: "" });
    area.value = it.text;
    draw();
  }

  async function save() {
    const text = area.value;
    const done = await confirm({
      title: `Write the document of ${state.service}`,
      verb: "Write it",
      keeps: true,
      lines: (preview) => [`${preview?.differences.length ?? 0} fields change on ${state.view.known} proxies.`],
      proposal: { text },
      send: (extra) => write("PUT", "/document", { text })(extra, it.over),
    });
    if (done) Object.assign(it, { text, dirty: area.value !== text, over: 0 });
    draw();
  }

  const faults = () => (it.preview?.problems ?? []).map((one) => ({ ...one, at: placeOf(area.value, one.path) }));

  function go({ at }) {
    area.focus();
    area.setSelectionRange(at.start, at.end);
    area.scrollTop = Math.max(0, (at.line - 4) * Number.parseFloat(getComputedStyle(area).lineHeight));
  }

  function draw() {
    const bad = new Set(faults().map((one) => one.at.line));
    it.rows = area.value.split("\n").map((_, place) => ({ number: place + 1, bad: bad.has(place + 1) && "bad" }));
    update(el, state);
  }

  const isBad = () => it.preview?.valid === false;
  const verdict = () => (it.preview.changed ? `✓ Valid. ${it.preview.moves?.words ?? ""} ${it.preview.said}` : "✓ Valid, and the same document.");
  const el = card("editor", "Document",
    h("label.unseen", { for: "document" }, "The document as JSON"), h("div.code", {}, gutter, area),
    when(() => it.dirty && it.over !== state.view?.revision, () =>
      h("div.note.warn", {}, h("p", {}, () => `Revision ${state.view?.revision} was written meanwhile by ${state.view?.change?.author || "somebody"}; yours is made of ${it.over}.`),
        h("button", { type: "button", onclick: load }, "Leave mine, load theirs"))),
    when(() => it.error, () => h("p.bad", {}, () => it.error)),
    h("ul.faults", { id: "faults", "aria-label": "Faults" }, each(faults, (one) => one.path + one.found, (now) =>
      h("li", {}, h("button.quiet", { type: "button", onclick: () => go(now()) }, (one) => `✕ line ${one.at.line}: ${fault(one)}`)))),
    when(() => it.preview?.valid && it.dirty, () => h("p", {}, verdict)),
    differences(() => it.dirty && it.preview?.differences),
    when(() => it.rehearsal, () => h("div.result", { role: "region", "aria-label": "Rehearsal" }, h("h3", {}, "Rehearsal"), h("ul.lines", {}, lines(() => [...it.rehearsal.words, ...it.rehearsal.silent])))),
    h("div.buttons", {},
      when(canWrite, () => h("button.strong", { type: "button", id: "write", disabled: () => !it.dirty || isBad(), onclick: save }, "Review and write")),
      h("button", { type: "button", id: "rehearse", disabled: () => it.busy || isBad(), onclick: rehearse }, () => (it.busy ? "Rehearsing…" : "Rehearse")),
      when(() => it.dirty, () => h("button.quiet", { type: "button", onclick: load }, "Leave my changes"))));
  el.follow = () => {
    if (!it.dirty && state.view && it.over !== state.view.revision) load();
  };
  return el;
}
