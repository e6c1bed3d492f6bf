/** Which proxy runs what, and what was: revisions with who made them, the way back, and events. */
import { confirm, write } from "../dialog.js";
import { ago, card, clock, count, differences, each, h, isNumber, mark, span, table, when } from "../dom.js";
import { ask, canWrite, changed, of, state } from "../news.js";

const STATES = { live: "good", lagging: "warn", refusing: "bad", trying: "busy", moving: "busy", missing: "bad" };
const OLD_S = 5;

/** Those that live, and those that vanished. */
const rows = () => [
  ...state.view.proxies.map((one) => ({ ...one, row: isNumber(one.heard) && state.now - one.heard > OLD_S ? "old" : null })),
  ...state.view.missing.map((one) => ({ ...one, id: one.id, state: "missing", said: "", problems: [], fault: "vanished", heard: one.seen, row: "old" })),
];

const said = (one) =>
  [...one.problems, one.fault, one.stale && "hears nothing of the store", ...(one.certificates ?? [])].filter(Boolean).join("; ");

const PROXIES = [
  { head: "proxy", cell: () => [h("b", (one) => one.id), h("span.dim", (one) => ` ${one.address}${one.here ? " · this one" : ""}`), h("small", said)] },
  { head: "state", cell: () => mark((one) => STATES[one.state] ?? "idle", (one) => one.state) },
  { head: "runs", kind: "num", cell: () => (one) => one.runs || "–" },
  { head: "flying", kind: "num", title: "requests in progress", cell: () => (one) => count(one.in_flight) },
  { head: "heard", kind: "num", title: "how old its numbers are", cell: () => (one) => (isNumber(one.heard) ? span(state.now - one.heard) : "never") },
];

export const fleet = () => card("fleet", "Fleet", table("Proxies", PROXIES, rows, (one) => one.id));

let opened = {};

/** Ask again once there is another revision. */
export async function followHistory() {
  const { service, view } = state;
  const wanted = view && `${service} ${view.revision}`;
  if (!wanted || wanted === state.asked) return;
  if (!state.asked) opened = {};
  state.asked = wanted;
  const found = await ask("GET", of(service, "/history")).catch(() => { state.asked = ""; });
  if (!found || state.service !== service) return;
  state.history = found;
  changed();
}

async function look(change, isOpen) {
  if (!isOpen || opened[change.revision] || !change.over) return;
  const found = await ask("GET", of(state.service, `/diff?from=${change.over}&to=${change.revision}`))
    .catch((exc) => ({ differences: [{ path: exc.message, before: "", after: "" }] }));
  opened[change.revision] = found.differences;
  changed();
}

function back(change) {
  confirm({
    title: `Roll back to revision ${change.revision}`,
    verb: "Roll back",
    danger: true,
    keeps: true,
    lines: (preview) => [`${preview?.differences.length ?? "Some"} fields change on ${state.view.known} proxies.`],
    proposal: { revision: change.revision },
    send: write("POST", "/rollback", { revision: change.revision }),
  });
}

const who = (one) => (one.by_hand ? "by hand" : one.author || "not known");
const what = (one) =>
  [one.message, one.copy_of && `copy of ${one.copy_of}`, one.undoes && `undoes ${one.undoes}`, ...one.changes.filter((text) => !text.startsWith("rollout.state.")), one.others && `and ${one.others} more`].filter(Boolean).join(" · ");

const item = (now) => {
  const details = h("details", { ontoggle: () => look(now(), details.open) },
    h("summary", h("b", (one) => one.revision), " ", who,
      h("span.dim", (one) => ` ${ago(one.at, state.now)}`), h("span.what", what)),
    differences((one) => opened[one.revision]),
    when((one) => canWrite() && one.revision !== state.view.revision, () =>
      h("button", { type: "button", class: "rollback", "aria-label": (one) => `Roll back to revision ${one.revision}`, onclick: () => back(now()) }, "Roll back to this")));
  return h("li", details);
};

export const history = () =>
  card("history", "History",
    h("ol.history", { reversed: true }, each(() => state.history?.changes ?? [], (one) => one.revision, item)),
    h("p.dim", { hidden: () => state.history?.changes.length !== 0 }, "No revision is noted."));

const LEVELS = { info: "idle", warning: "warn", error: "bad" };

export const events = () =>
  card("events", "Events",
    h("ol.events", each(() => state.view.events, (one) => one.number, () =>
      h("li", h("time.dim", (one) => clock(one.time)), " ",
        mark((one) => LEVELS[one.level] ?? "idle", (one) => one.kind), " ", (one) => one.message))),
    h("p.dim", { hidden: () => state.view.events.length > 0 }, "Nothing yet."));
