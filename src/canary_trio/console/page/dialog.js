/**
 * The one way in which the page writes: what it comes to is said in numbers, then somebody
 * confirms, then it is sent over the revision that the numbers were made of.
 */
import { button, differences, fault, find, h, lines, update, when } from "./dom.js";
import { ask, changed, of, state } from "./news.js";

const MINUTES = [0, 1, 5, 15, 60];

/** Show a form over the page; `send` is called for it, and `after` once it is closed. */
export function modal({ id, title, body, verb, danger = false, blocked = () => false, hidden = () => false, send, after = () => {} }) {
  const from = find(":focus");
  const dialog = h("dialog", { "aria-labelledby": id },
    h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); send(); } },
      h("h2", { id }, title), body,
      h("footer",
        button(".quiet", null, "Cancel", () => dialog.close()),
        when(() => !hidden(), () =>
          h("button.strong", { type: "submit", class: danger ? "strong danger" : "strong", disabled: blocked }, verb)))));
  dialog.addEventListener("close", () => { dialog.remove(); from?.focus(); after(); });
  document.body.append(dialog);
  update(dialog, state);
  dialog.showModal();
  return dialog;
}

/**
 * Ask for one deed, and do it. A deed has a title, a verb, lines that say its effect, a proposal
 * to be previewed where there is one, and what sends it. Gives whether it was done.
 */
export function confirm({ title, verb, danger = false, lines: effect, proposal = null, keeps = false, send }) {
  const now = { over: 0, lines: [], preview: null, conflict: null, error: "", problems: [], busy: true, done: false };
  const message = h("input", { id: "why", maxlength: "1024", autocomplete: "off", placeholder: "for the history" });
  const within = h("select", { id: "within" }, MINUTES.map((one) => h("option", { value: one * 60 }, one ? `unless confirmed it goes back after ${one} min` : "for good")));
  const body = [
    h("div", h("ul.lines", lines(() => now.lines)), differences(() => now.preview?.differences)),
    when(() => now.conflict, () =>
      h("div.note.bad", { role: "alert" }, h("strong", "Somebody was first."),
        h("p", () => now.conflict.who || now.conflict.error),
        h("p", () => `Revision ${now.conflict.revision} is there now: ${now.conflict.changes.join("; ") || "nothing else is different"}.`),
        button("", "again", "Look at it again", look))),
    when(() => now.error, () =>
      h("div.note.bad", { role: "alert" }, h("strong", "It was not done. "), () => now.error, h("ul", lines(() => now.problems.map(fault))))),
    h("label", { for: "why" }, "Why"), message, keeps && [h("label", { for: "within" }, "Keep it"), within]].flat();
  return new Promise((settle) => {
    const blocked = () => now.busy || now.preview?.valid === false || now.preview?.changed === false;
    const dialog = modal({ id: "deed", title, verb, danger, body, blocked, hidden: () => now.conflict, send: act, after: () => settle(now.done) });
    const draw = () => update(dialog, state);
    Object.assign(now, { draw, close: () => dialog.close() });
    (dialog.querySelector("button.strong") ?? message).focus();
    look();
  });

  async function look() {
    Object.assign(now, { busy: true, conflict: null, error: "", problems: [], over: state.view.revision ?? 0 });
    now.draw();
    try {
      if (proposal) {
        now.preview = await ask("POST", of(state.service, "/preview"), proposal);
        Object.assign(now, { over: now.preview.over, problems: now.preview.problems });
        if (!now.preview.valid) now.error = "The document would not be valid.";
      }
      now.lines = [...effect(now.preview), now.preview?.moves?.words, now.preview?.said, now.preview?.changed === false && "It is so already."];
    } catch (exc) {
      now.error = exc.message;
    }
    now.busy = false;
    now.draw();
  }

  async function act() {
    if (now.busy || now.conflict) return;
    Object.assign(now, { busy: true, error: "", problems: [] });
    now.draw();
    const extra = { ...(message.value && { message: message.value }), ...(keeps && within.value !== "0" && { confirm_within_s: Number(within.value) }) };
    try {
      state.said = (await send(extra, now.over)).told;
      now.done = true;
      changed();
      now.close();
    } catch (exc) {
      if (exc.status === 412) now.conflict = { changes: [], ...exc.body };
      else Object.assign(now, { error: exc.message, problems: exc.body?.problems ?? [] });
    }
    now.busy = false;
    now.draw();
  }
}

export const write = (method, rest, body) => (extra, over) => ask(method, of(state.service, rest), { ...body, ...extra }, over);
