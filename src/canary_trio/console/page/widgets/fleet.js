/** The fleet: which proxy runs what, since it was heard, and what it refused. */
import { h } from "../dom.js";
import { card, count, isNumber, mark, span, table } from "../shown.js";
import { state } from "../store.js";

const KINDS = { live: "good", lagging: "warn", refusing: "bad", trying: "busy", moving: "busy", missing: "bad" };
const OLD_S = 5;

/** Those that live, and those that vanished. */
const rows = () => [
  ...state.view.proxies.map((one) => ({ ...one, row: isNumber(one.heard) && state.now - one.heard > OLD_S ? "old" : null })),
  ...state.view.missing.map((one) => ({ ...one, id: one.id, state: "missing", said: "", problems: [], fault: "vanished", heard: one.seen, row: "old" })),
];

const said = (one) =>
  [...one.problems, one.fault, one.stale && "hears nothing of the store", ...(one.certificates ?? [])].filter(Boolean).join("; ");

const COLUMNS = [
  { head: "proxy", cell: () => [h("b", {}, (one) => one.id), h("span.dim", {}, (one) => ` ${one.address}${one.here ? " · this one" : ""}`), h("small", {}, said)] },
  { head: "state", cell: () => mark((one) => KINDS[one.state] ?? "idle", (one) => one.state) },
  { head: "runs", kind: "num", cell: () => (one) => one.runs || "–" },
  { head: "flying", kind: "num", title: "requests in progress", cell: () => (one) => count(one.in_flight) },
  { head: "heard", kind: "num", title: "how old its numbers are", cell: () => (one) => (isNumber(one.heard) ? span(state.now - one.heard) : "never") },
];

export const fleet = () => card("fleet", "Fleet", table("Proxies", COLUMNS, rows, (one) => one.id));
