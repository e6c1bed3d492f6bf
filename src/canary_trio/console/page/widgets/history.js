/** What was changed, by whom and why; what that was exactly, and the way back to it. */
import { ask, of } from "../news.js";
import { confirm, write } from "../dialog.js";
import { each, h, when } from "../dom.js";
import { ago, card, differences } from "../shown.js";
import { canWrite, changed, state } from "../store.js";

let opened = {};
let asked = "";

/** Ask for the list again once there is another revision. */
export async function followHistory() {
  const { service, view } = state;
  const wanted = view && `${service} ${view.revision}`;
  if (!wanted || wanted === asked) return;
  if (!asked.startsWith(`${service} `)) opened = {};
  asked = wanted;
  try {
    const found = await ask("GET", of(service, "/history"));
    if (state.service === service) state.history = found;
    changed();
  } catch {
    asked = "";
  }
}

async function look(change, isOpen) {
  if (!isOpen || opened[change.revision] || !change.over) return;
  try {
    const found = await ask("GET", of(state.service, `/diff?from=${change.over}&to=${change.revision}`));
    opened[change.revision] = found.differences;
  } catch (exc) {
    opened[change.revision] = [{ path: exc.message, kind: "", before: "", after: "" }];
  }
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
  [one.message, one.copy_of && `copy of ${one.copy_of}`, one.undoes && `undoes ${one.undoes}`, ...one.changes, one.others && `and ${one.others} more`].filter(Boolean).join(" · ");

const item = (now) => {
  const details = h("details", { ontoggle: () => look(now(), details.open) },
    h("summary", {}, h("b", {}, (one) => one.revision), " ", who,
      h("span.dim", {}, (one) => ` ${ago(one.at, state.now)}`), h("span.what", {}, what)),
    differences((one) => opened[one.revision]),
    when((one) => canWrite() && one.revision !== state.view.revision, () =>
      h("button", { type: "button", class: "rollback", "aria-label": (one) => `Roll back to revision ${one.revision}`, onclick: () => back(now()) }, "Roll back to this")));
  return h("li", {}, details);
};

export const history = () =>
  card("history", "History",
    h("ol.history", { reversed: true }, each(() => state.history?.changes ?? [], (one) => one.revision, item)),
    h("p.dim", { hidden: () => state.history?.changes.length }, "No revision is noted."));
