/** How a service stands, what waits, who asks, and all services. */
import { confirm, modal, write } from "../dialog.js";
import { ago, button, card, clock, count, countdown, h, lines, mark, percent, phaseKind, rate, span, table, update, when } from "../dom.js";
import { ask, canWrite, isOld, learn, state } from "../news.js";

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
  return `${who}, ${ago(change.at, state.now)}${change.message ? `: ${change.message}` : ""}`;
}

/** What somebody who does not look is told: the phase and the verdict, nothing else. */
export const told = () =>
  h("p.unseen", { "aria-live": "polite" }, () => {
    const rollout = view()?.rollout;
    return rollout ? `Rollout ${rollout.id} is ${rollout.phase}. ${rollout.finding ? `Judge: ${rollout.finding}.` : ""}` : "";
  });

/** What is settled by a word: its title, its verb, its effect in numbers, what is written. */
const DEEDS = {
  confirm: ["Keep the change", "Confirm", ({ pending, known }) => (pending.kind === "trial"
    ? `Revision ${pending.revision} becomes the document: ${known - pending.proxies.length} more proxies take it.`
    : `Revision ${pending.revision} stays for good.`)],
  revert: ["Take the change back", "Take it back", ({ pending, known }) => `All ${known} proxies go back to revision ${pending.back_to}.`],
  thaw: ["Let steps begin again", "End the freeze", () => "Steps that are due begin at once.", "freeze", { frozen: false }],
  freeze: ["Freeze the rollout", "Freeze", () => "No step begins until somebody ends it; aborts go on.", "freeze", { frozen: true }],
};

/** A button for one of them. */
export const deed = (name, label, kind = "") =>
  button(kind, name, label, () => {
    const [title, verb, effect, path = name, body] = DEEDS[name];
    confirm({ title, verb, danger: name === "revert", lines: () => [effect(view())], send: write("POST", `/${path}`, body) });
  });

const waits = () =>
  h("div.note.warn",
    h("p", h("strong", () => (view().pending.kind === "trial" ? "A trial: " : "Not confirmed yet: ")),
      () => `revision ${view().pending.revision} by ${view().pending.author || "somebody"} goes back to ${view().pending.back_to} in `,
      h("time.big", () => countdown(view().pending.until - state.now)),
      () => (view().pending.proxies.length ? `; tried by ${view().pending.proxies.join(", ")}` : "")),
    when(canWrite, () => h("div.buttons", deed("confirm", "Confirm", ".strong"), deed("revert", "Take back"))));

const frozen = () =>
  h("div.note.warn",
    h("p", h("strong", "Frozen "), () => `by ${view().freeze.by || "somebody"}: ${view().freeze.message || "no reason given"}`,
      () => (view().freeze.until ? `, until ${clock(view().freeze.until)}` : "")),
    when(canWrite, () => deed("thaw", "End the freeze")));

export const header = () =>
  h("section.head", { "aria-labelledby": "service" },
    h("div.title",
      h("h1", { id: "service" }, () => view().service),
      h("span", { class: () => `phase ${phaseKind(view().rollout)}` }, mark(() => phaseKind(view().rollout), phase)),
      when(() => view().rollout, () =>
        h("span.now", () => `${view().rollout.arm} ${percent(view().rollout.ratio)}`,
          when(() => view().rollout?.countdown_at && !view().rollout.over, () =>
            h("span", " · next in ", h("time.big", () => countdown(view().rollout.countdown_at - state.now))))))),
    h("dl.facts",
      h("div", h("dt", "Revision"), h("dd", h("b", () => view().revision ?? "none"), " ", h("span.dim", made))),
      h("div", h("dt", "Live"), h("dd", h("b", { class: () => (view().live < view().known ? "warn" : "") }, () => `${view().live}/${view().known}`), " proxies")),
      h("div", { class: () => (isOld() || !view().store.ok ? "old" : "") }, h("dt", "Contact"), h("dd", mark(() => (view().store.ok ? "good" : "bad"), store))),
      when(() => view().rollout, () =>
        h("div", h("dt", "Driver"), h("dd", () => view().rollout.driver || "none: the ratio stays as it is")))),
    when(() => view().pending, waits),
    when(() => view().freeze, frozen),
    when(() => view().read_only, () => h("div.note", () => view().read_only)),
    when(() => !view().store.ok && view().store.error, () => h("p.note.bad", () => `The store: ${view().store.error}`)),
    when(() => view().trouble.length, () => h("ul.note.bad.trouble", { "aria-label": "Trouble" }, lines(() => view().trouble))));

/** Learn who asks; a login in the address is taken out of it and used. */
export async function readSession() {
  const once = /^#login=(.+)$/.exec(location.hash);
  if (once) {
    history.replaceState(null, "", location.pathname);
    await ask("POST", "session", { login: decodeURIComponent(once[1]) }).catch((exc) => { state.said = exc.message; });
  }
  await learn();
}

export function login(after) {
  let error = "";
  const token = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const body = [
    h("p.dim", "With the secret of a token, or the login that `canary console` printed."),
    h("label", { for: "token" }, "Token"), token,
    when(() => error, () => h("p.note.bad", { role: "alert" }, () => error))];
  const dialog = modal({ id: "login-title", title: "Log in", verb: "Log in", body, send });

  async function send() {
    try {
      state.session = await ask("POST", "session", { token: token.value });
      dialog.close();
      after();
    } catch (exc) {
      error = exc.message;
    }
    token.value = "";
    update(dialog, state);
  }
}

async function logout(after) {
  await ask("DELETE", "session").catch(() => null);
  await readSession();
  after();
}

const named = () => (state.session?.name ? `${state.session.name} · ${state.session.role}` : state.session?.role ? "read only" : "not logged in");

export const session = (after) =>
  h("div.session", h("span", named),
    when(() => state.session?.by === "session", () => button(".quiet", "logout", "Log out", () => logout(after))),
    when(() => state.session && state.session.role !== "write", () => button(".quiet", "login", "Log in", () => login(after))));

const rowKind = (one) => (one.trouble.length || one.refusing ? "bad" : one.pending ? "warn" : "good");

/** A link to a service. */
const link = (name) => h("a", { href: (one) => `#/${encodeURIComponent(name(one))}` }, name);

const ROWS = [
  { head: "service", cell: () => link((one) => one.name) },
  { head: "state", cell: () => mark(rowKind, (one) => (one.trouble[0] ?? (one.pending ? "waits to be confirmed" : "well"))) },
  { head: "phase", cell: () => h("span", when((one) => one.rollout, () => mark((one) => phaseKind(one.rollout), (one) => one.rollout?.phase)), (one) => (one.rollout ? "" : one.kind === "gateway" ? `${one.routes} routes` : "–")) },
  { head: "shares", cell: () => (one) => Object.entries(one.ratio).map(([name, share]) => `${name} ${percent(share)}`).join(", ") || "–" },
  { head: "live", kind: "num", cell: () => (one) => `${one.live}/${one.known}` },
  { head: "req/s", kind: "num", cell: () => (one) => rate(one.rate) },
  { head: "errors", kind: "num", cell: () => (one) => percent(one.errors) },
  { head: "revision", kind: "num", cell: () => (one) => one.revision ?? "–" },
];

const ORDER = { bad: 0, warn: 1, good: 2 };
let wanted = "";

const rows = () =>
  state.list.services
    .filter((one) => one.name.toLowerCase().includes(wanted))
    .map((one, place) => ({ one, place, order: ORDER[rowKind(one)] }))
    .sort((a, b) => a.order - b.order || a.place - b.place)
    .map((it) => it.one);

export const services = (draw) =>
  card("services", "Services", h("h1.unseen", "All services"),
    h("div.filter",
      h("input", { type: "search", "aria-label": "Find a service", placeholder: "Find a service", oninput: (event) => { wanted = event.target.value.toLowerCase(); draw(); } }),
      h("span.dim", () => `${count(rows().length)} of ${count(state.list.services.length)}`)),
    h("p.dim", { hidden: () => state.list.whole }, () => state.list.why),
    table("Services", ROWS, rows, (one) => one.name));

const ROUTES = [
  { head: "route", cell: () => (one) => one.route ?? one.name },
  { head: "hosts", cell: () => (one) => one.hosts?.join(", ") || "all" },
  { head: "path", cell: () => (one) => one.path_prefix },
  { head: "target", cell: () => [when((one) => one.service, () => link((one) => one.service)), (one) => (one.service ? "" : one.target)] },
];

/** What a gateway leads where. */
export const routes = () => card("routes", "Routes", table("Routes", ROUTES, () => view().routes, (one) => JSON.stringify(one)));
