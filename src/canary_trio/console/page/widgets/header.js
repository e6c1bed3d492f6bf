/** How the service stands, in one glance: phase, revision, fleet, store, and what waits. */
import { confirm, write } from "../dialog.js";
import { h, when } from "../dom.js";
import { ago, clock, countdown, lines, mark, percent, phaseKind, span } from "../shown.js";
import { canWrite, isOld, state } from "../store.js";

const view = () => state.view;
const phase = () => view().rollout?.phase ?? "no rollout";

function store() {
  const { store } = view();
  if (!store.ok) return `store away for ${span(state.now - store.since)}`;
  return store.heard ? `store heard ${span(state.now - store.heard)} ago` : "store not heard yet";
}

function made() {
  const { change } = view();
  if (!change) return "";
  const who = change.by_hand ? "by hand" : change.author || "nobody known";
  return `${who}, ${ago(change.at, state.now).replace("–", "time not known")}${change.message ? `: ${change.message}` : ""}`;
}

/** What somebody who does not look is told: the phase and the verdict, nothing else. */
export const told = () =>
  h("p.unseen", { "aria-live": "polite" }, () => {
    const rollout = view()?.rollout;
    return rollout ? `Rollout ${rollout.id} is ${rollout.phase}. ${rollout.finding ? `Judge: ${rollout.finding}.` : ""}` : "";
  });

function settle(what) {
  const { pending } = view();
  const isTrial = pending.kind === "trial";
  const lines = what === "confirm"
    ? [isTrial ? `Revision ${pending.revision} becomes the document: ${view().known - pending.proxies.length} more proxies take it.` : `Revision ${pending.revision} stays for good.`]
    : [`All ${view().known} proxies go back to revision ${pending.back_to}.`];
  confirm({
    title: what === "confirm" ? "Keep the change" : "Take the change back",
    verb: what === "confirm" ? "Confirm" : "Take it back",
    danger: what === "revert",
    lines: () => lines,
    send: write("POST", `/${what}`),
  });
}

function thaw() {
  confirm({
    title: "Let steps begin again",
    verb: "End the freeze",
    lines: () => ["Steps that are due begin at once."],
    send: write("POST", "/freeze", { frozen: false }),
  });
}

export function freeze() {
  confirm({
    title: "Freeze the rollout",
    verb: "Freeze",
    lines: () => ["No step begins until somebody ends it. Aborts, and operators, go on."],
    send: write("POST", "/freeze", { frozen: true }),
  });
}

const waits = () =>
  h("div.note.warn", {},
    h("p", {}, h("strong", {}, () => (view().pending.kind === "trial" ? "A trial: " : "Not confirmed yet: ")),
      () => `revision ${view().pending.revision} by ${view().pending.author || "somebody"} goes back to ${view().pending.back_to} in `,
      h("time.big", {}, () => countdown(view().pending.until - state.now)),
      () => (view().pending.proxies.length ? `; tried by ${view().pending.proxies.join(", ")}` : "")),
    when(canWrite, () => h("div.buttons", {},
      h("button.strong", { type: "button", id: "confirm", onclick: () => settle("confirm") }, "Confirm"),
      h("button", { type: "button", id: "revert", onclick: () => settle("revert") }, "Take back"))));

const frozen = () =>
  h("div.note.warn", {},
    h("p", {}, h("strong", {}, "Frozen "), () => `by ${view().freeze.by || "somebody"}: ${view().freeze.message || "no reason given"}`,
      () => (view().freeze.until ? `, until ${clock(view().freeze.until)}` : "")),
    when(canWrite, () => h("button", { type: "button", id: "thaw", onclick: thaw }, "End the freeze")));

export const header = () =>
  h("section.head", { "aria-labelledby": "service" },
    h("div.title", {},
      h("h1", { id: "service" }, () => view().service),
      h("span", { class: () => `phase ${phaseKind(view().rollout)}` }, mark(() => phaseKind(view().rollout), phase)),
      when(() => view().rollout, () =>
        h("span.now", {}, () => `${view().rollout.arm} ${percent(view().rollout.ratio)}`,
          when(() => view().rollout?.countdown_at && !view().rollout.over, () =>
            h("span", {}, " · next in ", h("time.big", {}, () => countdown(view().rollout.countdown_at - state.now))))))),
    h("dl.facts", {},
      h("div", {}, h("dt", {}, "Revision"), h("dd", {}, h("b", {}, () => view().revision ?? "none"), " ", h("span.dim", {}, made))),
      h("div", {}, h("dt", {}, "Live"), h("dd", {}, h("b", { class: () => (view().live < view().known ? "warn" : "") }, () => `${view().live}/${view().known}`), " proxies")),
      h("div", { class: () => (isOld() || !view().store.ok ? "old" : "") }, h("dt", {}, "Contact"), h("dd", {}, mark(() => (view().store.ok ? "good" : "bad"), store))),
      when(() => view().rollout, () =>
        h("div", {}, h("dt", {}, "Driver"), h("dd", {}, () => view().rollout.driver || "none: the ratio stays as it is")))),
    when(() => view().pending, waits),
    when(() => view().freeze, frozen),
    when(() => view().read_only, () => h("div.note", {}, () => view().read_only)),
    when(() => !view().store.ok && view().store.error, () => h("p.note.bad", {}, () => `The store: ${view().store.error}`)),
    when(() => view().trouble.length, () => h("ul.note.bad.trouble", { "aria-label": "Trouble" }, lines(() => view().trouble))));
