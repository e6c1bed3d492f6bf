// @ts-check
/**
 * The one way in which the page writes: what it comes to is said in numbers, then somebody
 * confirms, then it is sent over the revision that the numbers were made of.
 */
import { ask, of } from "./api.js";
import { find, h, update, when } from "./dom.js";
import { differences, lines } from "./parts.js";
import { changed, state } from "./store.js";

/** @typedef {{title: string, verb: string, danger?: boolean, lines?: (preview: any) => string[], proposal?: any, keeps?: boolean, send: (extra: any, over: number) => Promise<any>, after?: () => void}} Deed */

/** @param {{path: string, found: string, expected: string}} one */
export const fault = (one) => `${one.path}: found ${one.found}, expected ${one.expected}`;

const TIMES = [["", "for good"], ["60", "goes back after 1 min"], ["300", "goes back after 5 min"], ["900", "goes back after 15 min"]];

/**
 * Ask for one deed, and do it. Settles when the dialog is closed, with whether it was done.
 * @param {Deed} deed @returns {Promise<boolean>}
 */
export function confirm(deed) {
  const now = { over: /** @type {number} */ (state.view?.revision ?? 0), lines: /** @type {string[]} */ ([]), preview: /** @type {any} */ (null), conflict: /** @type {any} */ (null), error: "", problems: /** @type {any[]} */ ([]), busy: true, done: false };
  const message = h("input", { id: "why", maxlength: "1024", autocomplete: "off", placeholder: "for the history" });
  const within = h("select", { id: "within" }, TIMES.map(([value, label]) => h("option", { value }, label)));
  const dialog = h("dialog", { "aria-labelledby": "deed", class: deed.danger ? "danger" : "" },
    h("form", { method: "dialog", onsubmit: send },
      h("h2", { id: "deed" }, deed.title),
      h("div.effect", { "aria-busy": (it) => String(it.busy) },
        h("ul.lines", {}, lines((it) => it.lines)),
        differences((it) => it.preview?.differences)),
      when((it) => it.conflict, () =>
        h("div.note.bad", { role: "alert" }, h("strong", {}, "Somebody was first."),
          h("p", {}, (it) => it.conflict.who || it.conflict.error),
          h("p", {}, (it) => `Revision ${it.conflict.revision} is there now: ${it.conflict.changes.join("; ") || "nothing else is different"}.`))),
      when((it) => it.error, () =>
        h("div.note.bad", { role: "alert" }, h("strong", {}, "It was not done. "), (it) => it.error,
          h("ul", {}, lines((it) => it.problems.map(fault))))),
      h("label", { for: "why" }, "Why"), message,
      deed.keeps && [h("label", { for: "within" }, "Keep it"), within],
      h("footer", {},
        h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
        when((it) => it.conflict, () => h("button", { type: "button", onclick: look }, "Look at it again")),
        when((it) => !it.conflict, () =>
          h("button", { type: "submit", class: deed.danger ? "strong danger" : "strong", disabled: (it) => it.busy || it.preview?.valid === false || it.preview?.changed === false }, deed.verb)))));
  const draw = () => update(dialog, now);
  const from = /** @type {HTMLElement | null} */ (document.activeElement);

  async function look() {
    Object.assign(now, { busy: true, conflict: null, error: "", problems: [], over: state.view?.revision ?? 0 });
    draw();
    try {
      if (deed.proposal) {
        const preview = await ask("POST", of(state.service ?? "", "/preview"), deed.proposal);
        Object.assign(now, { preview, over: preview.over, problems: preview.problems });
        if (!preview.valid) now.error = "The document would not be valid.";
      }
      now.lines = [...(deed.lines?.(now.preview) ?? []), now.preview?.moves?.words, now.preview?.said, now.preview?.changed === false && "It is so already."].filter(Boolean);
    } catch (exc) {
      now.error = /** @type {Error} */ (exc).message;
    }
    now.busy = false;
    draw();
  }

  /** @param {Event} event */
  async function send(event) {
    event.preventDefault();
    if (now.busy || now.conflict) return;
    Object.assign(now, { busy: true, error: "", problems: [] });
    draw();
    const extra = { ...(message.value && { message: message.value }), ...(within.value && { confirm_within_s: Number(within.value) }) };
    try {
      const written = await deed.send(extra, now.over);
      now.done = true;
      state.said = written.told || `revision ${written.revision} is written`;
      changed();
      dialog.close();
    } catch (exc) {
      const refusal = /** @type {any} */ (exc);
      if (refusal.status === 412) now.conflict = { changes: [], who: "", ...refusal.body };
      else Object.assign(now, { error: refusal.message, problems: refusal.body?.problems ?? [] });
    }
    now.busy = false;
    draw();
  }

  document.body.append(dialog);
  draw();
  dialog.showModal();
  (find("dialog[open] button.strong") ?? message).focus();
  look();
  return new Promise((settle) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      from?.focus();
      if (now.done) deed.after?.();
      settle(now.done);
    });
  });
}

/** @param {string} method @param {string} rest @param {any} [body] */
export const write = (method, rest, body = {}) => (extra, over) =>
  ask(method, of(state.service ?? "", rest), { ...body, ...extra }, over);
