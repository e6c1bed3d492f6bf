// @ts-check
/**
 * The document as text: checked while it is typed, rehearsed on request, written over the
 * revision that it was taken from. What somebody typed is never thrown away by what comes in.
 */
import { ask, of } from "../api.js";
import { confirm, fault, write } from "../dialog.js";
import { each, h, update, when } from "../dom.js";
import { card, differences, lines } from "../parts.js";
import { placeOf } from "../places.js";
import { canWrite, state } from "../store.js";

const CHECK_MS = 350;

export function editor() {
  const it = { over: 0, text: "", dirty: false, preview: /** @type {any} */ (null), rehearsal: /** @type {any} */ (null), error: "", busy: false };
  let timer = 0;
  let rows = [];
  const area = h("textarea", { id: "document", rows: 22, spellcheck: "false", wrap: "off", "aria-describedby": "faults", oninput: typed, onscroll: () => { gutter.scrollTop = area.scrollTop; } });
  const gutter = h("div.gutter", { "aria-hidden": "true" },
    each(() => rows, (one) => one.number, () => h("span", { class: (one) => (one.bad ? "bad" : null) }, (one) => `${one.bad ? "✕ " : ""}${one.number}`)));

  function typed() {
    it.dirty = area.value !== it.text;
    it.rehearsal = null;
    clearTimeout(timer);
    timer = setTimeout(check, CHECK_MS);
    draw();
  }

  async function check() {
    const text = area.value;
    try {
      const preview = await ask("POST", of(state.service ?? "", "/preview"), { text });
      if (area.value === text) Object.assign(it, { preview, error: "" });
    } catch (exc) {
      const refusal = /** @type {any} */ (exc);
      Object.assign(it, { preview: { valid: false, problems: refusal.body?.problems ?? [], differences: [] }, error: refusal.message });
    }
    draw();
  }

  async function rehearse() {
    it.busy = true;
    draw();
    try {
      Object.assign(it, { rehearsal: await ask("POST", of(state.service ?? "", "/rehearse"), { text: area.value }), error: "" });
    } catch (exc) {
      it.error = /** @type {Error} */ (exc).message;
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

  const save = () =>
    confirm({
      title: `Write the document of ${state.service}`,
      verb: "Write it",
      keeps: true,
      lines: (preview) => [`${preview?.differences.length ?? 0} fields change on ${state.view.known} proxies.`],
      proposal: { text: area.value },
      send: (extra) => write("PUT", "/document", { text: area.value })(extra, it.over),
      after: () => { it.text = area.value; it.dirty = false; draw(); },
    });

  const faults = () => (it.preview?.problems ?? []).map((one) => ({ ...one, at: placeOf(area.value, one.path) }));

  function go(one) {
    area.focus();
    area.setSelectionRange(one.at.start, one.at.end);
    area.scrollTop = Math.max(0, (one.at.line - 4) * Number.parseFloat(getComputedStyle(area).lineHeight));
  }

  const below = h("div.below", {},
    when(() => it.dirty && state.view && it.over !== state.view.revision, () =>
      h("div.note.warn", {}, h("p", {}, () => `Revision ${state.view.revision} was written meanwhile by ${state.view.change?.author || "somebody"}; yours is made of ${it.over}.`),
        h("button", { type: "button", onclick: load }, "Leave mine, load theirs"))),
    when(() => it.error, () => h("p.bad", {}, () => it.error)),
    h("ul.faults", { id: "faults", "aria-label": "Faults" }, each(faults, (one) => one.path + one.found, () => {
      /** @type {any} */
      let last;
      return h("li", {}, h("button.quiet", { type: "button", onclick: () => go(last) }, (one) => { last = one; return `✕ line ${one.at.line}: ${fault(one)}`; }));
    })),
    when(() => it.preview?.valid && it.dirty, () => h("p", {}, () => (it.preview.changed ? `✓ Valid. ${it.preview.moves?.words ?? ""} ${it.preview.said}` : "✓ Valid, and the same document."))),
    differences(() => (it.dirty ? it.preview?.differences : [])),
    when(() => it.rehearsal, () => h("div.result", { role: "region", "aria-label": "Rehearsal" }, h("h3", {}, "Rehearsal"), h("ul.lines", {}, lines(() => [...it.rehearsal.words, ...it.rehearsal.silent])))),
    h("div.buttons", {},
      when(canWrite, () => h("button.strong", { type: "button", id: "write", disabled: () => !it.dirty || it.preview?.valid === false, onclick: save }, "Review and write")),
      h("button", { type: "button", id: "rehearse", disabled: () => it.busy || it.preview?.valid === false, onclick: rehearse }, () => (it.busy ? "Rehearsing…" : "Rehearse")),
      when(() => it.dirty, () => h("button.quiet", { type: "button", onclick: load }, "Leave my changes"))));

  function draw() {
    const bad = new Set(faults().map((one) => one.at.line));
    const count = area.value.split("\n").length;
    rows = Array.from({ length: count }, (_, place) => ({ number: place + 1, bad: bad.has(place + 1) }));
    update(el, state);
  }

  const el = card("editor", "Document", h("label.unseen", { for: "document" }, "The document as JSON"), h("div.code", {}, gutter, area), below);
  el.follow = () => {
    if (!it.dirty && state.view && it.over !== state.view.revision) load();
  };
  return el;
}
