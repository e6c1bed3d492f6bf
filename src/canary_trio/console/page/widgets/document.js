/**
 * The document by hand: as text, by a slider for each share, and asked about a request.
 *
 * The text is checked while it is typed, rehearsed on request, and written over the revision that it
 * was taken from. What somebody typed is never thrown away by what comes in.
 */
import { confirm, write } from "../dialog.js";
import { button, card, differences, each, fault, h, lines, percent, update, when } from "../dom.js";
import { ask, canWrite, changed, of, state } from "../news.js";
import { swatch } from "./traffic.js";

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
    else if (token === "," && inside?.list) inside.step = Number(inside.step) + 1;
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
    const preview = await ask("POST", of(state.service, "/preview"), { text })
      .catch((exc) => ({ valid: false, problems: exc.body?.problems ?? [], differences: [], error: exc.message }));
    if (area.value === text) Object.assign(it, { preview, error: preview.error });
    draw();
  }

  async function rehearse() {
    Object.assign(it, { busy: true, error: "" });
    draw();
    it.rehearsal = await ask("POST", of(state.service, "/rehearse"), { text: area.value }).catch((exc) => { it.error = exc.message; });
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
    h("label.unseen", { for: "document" }, "The document as JSON"), h("div.code", gutter, area),
    when(() => it.dirty && it.over !== state.view?.revision, () =>
      h("div.note.warn", h("p", () => `Revision ${state.view?.revision} was written meanwhile by ${state.view?.change?.author || "somebody"}; yours is made of ${it.over}.`),
        button("", null, "Leave mine, load theirs", load))),
    when(() => it.error, () => h("p.bad", () => it.error)),
    h("ul.faults", { id: "faults", "aria-label": "Faults" }, each(faults, (one) => one.path + one.found, (now) =>
      h("li", h("button.quiet", { type: "button", onclick: () => go(now()) }, (one) => `✕ line ${one.at.line}: ${fault(one)}`)))),
    when(() => it.preview?.valid && it.dirty, () => h("p", verdict)),
    differences(() => it.dirty && it.preview?.differences),
    when(() => it.rehearsal, () => h("div.result", { role: "region", "aria-label": "Rehearsal" }, h("h3", "Rehearsal"), h("ul.lines", lines(() => [...it.rehearsal.words, ...it.rehearsal.silent])))),
    h("div.buttons",
      when(canWrite, () => h("button.strong", { type: "button", id: "write", disabled: () => !it.dirty || isBad(), onclick: save }, "Review and write")),
      h("button", { type: "button", id: "rehearse", disabled: () => it.busy || isBad(), onclick: rehearse }, () => (it.busy ? "Rehearsing…" : "Rehearse")),
      when(() => it.dirty, () => button(".quiet", null, "Leave my changes", load))));
  el.follow = () => {
    if (!it.dirty && state.view && it.over !== state.view.revision) load();
  };
  return el;
}

const ASK_MS = 120;

export const assignment = (arm, share) =>
  `${/^[A-Za-z_$][\w-]*$/.test(arm) ? `ratio.${arm}` : `ratio[${JSON.stringify(arm)}]`}=${Number(share.toFixed(4))}`;

function row(arm) {
  let [drawn, moves, timer] = [null, "", 0];
  const shown = (one) => drawn ?? one.asked;

  async function tell(share) {
    const found = await ask("POST", of(state.service, "/preview"), { assignments: [assignment(arm().name, share)] })
      .catch((exc) => ({ moves: { words: exc.message }, problems: [] }));
    if (drawn === share) moves = [found.moves?.words, ...found.problems.map(fault)].filter(Boolean).join("; ");
    changed();
  }

  function draw(text) {
    const share = Number(text) / 100;
    if (!(share >= 0 && share <= 1)) return;
    drawn = share;
    moves = `moves ${percent(Math.abs(share - arm().asked))} of users`;
    clearTimeout(timer);
    timer = setTimeout(tell, ASK_MS, share);
    changed();
  }

  async function letGo() {
    if (drawn === null || Math.abs(drawn - arm().asked) < 0.00005) return end();
    const share = drawn;
    await confirm({
      title: `Set ${arm().name} to ${percent(share)}`,
      verb: `Set to ${percent(share)}`,
      keeps: true,
      danger: share > arm().asked + 0.2,
      lines: () => [`${arm().name}: ${percent(arm().asked)} → ${percent(share)} of traffic`],
      proposal: { assignments: [assignment(arm().name, share)] },
      send: write("PATCH", "/document", { assignments: [assignment(arm().name, share)] }),
    });
    end();
  }

  function end() {
    drawn = null;
    moves = "";
    clearTimeout(timer);
    changed();
  }

  const field = (type) =>
    h("input", { type, min: 0, max: 100, step: type === "range" ? 0.5 : 0.01, "aria-label": (one) => `Share of ${one.name} in percent${type === "range" ? ", slider" : ""}`,
      value: (one) => Number((shown(one) * 100).toFixed(2)),
      oninput: (event) => draw(event.target.value), onchange: letGo });
  return h("div.share",
    h("span", swatch(), h("b", (one) => one.name)),
    field("range"), field("number"), h("span.unit", { "aria-hidden": "true" }, "%"),
    h("output", () => moves));
}

export const split = () =>
  h("div", when(() => canWrite() && state.view.arms.length > 1, () =>
    card("split", "Shares", each(() => state.view.arms.filter((one) => one.name !== "stable"), (one) => one.name, row))));

const FIELD = /^\s*([^:]+?)\s*:\s*(.*?)\s*$/;

export function explain() {
  const said = { words: [], error: "", shares: [], verdict: "" };
  const input = (id, label, props) => [h("label", { for: id }, label), h("input", { id, autocomplete: "off", ...props })];
  const [method, target, client] = [
    input("x-method", "Method", { value: "GET" }), input("x-target", "Path or URL", { value: "/" }), input("x-client", "Client's address", { placeholder: "203.0.113.7" })];
  const headers = h("textarea", { id: "x-headers", rows: 3, spellcheck: "false", placeholder: "Cookie: canary-web=…\nX-Canary: always" });

  async function send(event) {
    event.preventDefault();
    const fields = headers.value.split("\n").map((one) => FIELD.exec(one)).filter(Boolean).map(([, name, value]) => [name, value]);
    const request = { method: method[1].value, target: target[1].value, headers: fields, ...(client[1].value && { client: client[1].value }) };
    const { arm, refused, shares, words, error } = await ask("POST", of(state.service, "/explain"), { request })
      .catch((exc) => ({ error: exc.message, words: (exc.body?.problems ?? []).map(fault) }));
    Object.assign(said, { error, words, verdict: error ? "" : arm ?? (refused ? "refused" : "by chance"), shares: Object.entries(shares ?? {}) });
    update(el, state);
  }

  const el = card("explain", "Explain a request",
    h("form.fields", { onsubmit: send }, method, target, client, h("label", { for: "x-headers" }, "Header fields"), headers, h("button", { type: "submit" }, "Explain")),
    h("div.result", { role: "region", "aria-label": "Explanation" },
      when(() => said.error, () => h("p.bad", () => said.error)),
      when(() => said.verdict, () => h("p", "It gets ", h("b", () => said.verdict))),
      h("ul.lines", each(() => said.shares, (one) => one[0], () => h("li", (one) => `${one[0]}: ${percent(one[1])}`)), lines(() => said.words))));
  return el;
}
