/** All services and gateways, the ones in trouble first. */
import { h, when } from "../dom.js";
import { ago, card, count, mark, percent, phaseKind, rate, table } from "../shown.js";
import { state } from "../store.js";

const kind = (one) => (one.trouble.length || one.refusing ? "bad" : one.pending ? "warn" : "good");

const COLUMNS = [
  { head: "service", cell: () => h("a", { href: (one) => `#/${encodeURIComponent(one.name)}` }, (one) => one.name) },
  { head: "state", cell: () => mark(kind, (one) => (one.trouble[0] ?? (one.pending ? "waits to be confirmed" : "well"))) },
  { head: "phase", cell: () => h("span", {}, when((one) => one.rollout, () => mark((one) => phaseKind(one.rollout), (one) => one.rollout?.phase)), (one) => (one.rollout ? "" : one.kind === "gateway" ? `${one.routes} routes` : "–")) },
  { head: "shares", cell: () => (one) => Object.entries(one.ratio).map(([name, share]) => `${name} ${percent(share)}`).join(", ") || "–" },
  { head: "live", kind: "num", cell: () => (one) => `${one.live}/${one.known}` },
  { head: "req/s", kind: "num", cell: () => (one) => rate(one.rate) },
  { head: "errors", kind: "num", cell: () => (one) => percent(one.errors) },
  { head: "revision", kind: "num", cell: () => (one) => one.revision ?? "–" },
  { head: "changed", kind: "num", cell: () => (one) => ago(one.at, state.now) },
];

const ORDER = { bad: 0, warn: 1, good: 2 };
let wanted = "";

const rows = () =>
  state.list.services
    .filter((one) => one.name.toLowerCase().includes(wanted))
    .map((one, place) => ({ one, place, order: ORDER[kind(one)] }))
    .sort((a, b) => a.order - b.order || a.place - b.place)
    .map((it) => it.one);

export const services = (draw) =>
  card("services", "Services", h("h1.unseen", {}, "All services"),
    h("div.filter", {},
      h("input", { type: "search", "aria-label": "Find a service", placeholder: "Find a service", oninput: (event) => { wanted = event.target.value.toLowerCase(); draw(); } }),
      h("span.dim", {}, () => `${count(rows().length)} of ${count(state.list.services.length)}`)),
    h("p.dim", { hidden: () => state.list.whole }, () => state.list.why),
    table("Services", COLUMNS, rows, (one) => one.name));
