/** The arms: what they were asked to have, what they got, and how they fare. */
import { h } from "../dom.js";
import { armIndex, card, count, isNumber, latency, mark, percent, rate, table } from "../shown.js";
import { state } from "../store.js";

const num = "num";

const share = (arm) => (arm.minute?.requests ? arm.minute.errors / arm.minute.requests : null);

const health = (arm) => (arm.panic || arm.healthy === 0 ? "bad" : arm.healthy < arm.servers ? "warn" : "good");

const bar = (arm) => (isNumber(arm.got) ? arm.got.toFixed(4) : "0");

export const swatch = (name = (one) => one.name) =>
  h("span", { class: (one) => `swatch arm${armIndex(state.view.arms, name(one))}`, "aria-hidden": "true" });

const COLUMNS = [
  { head: "arm", cell: () => [swatch(), h("b", {}, (one) => one.name)] },
  { head: "asked", kind: num, cell: () => (one) => percent(one.asked) },
  { head: "got", kind: num, title: "of the ratio's decisions since it changed", cell: () => h("span.bar", { class: (one) => `bar arm${armIndex(state.view.arms, one.name)}`, "--part": bar }, (one) => percent(one.got)) },
  { head: "req/s", kind: num, cell: () => (one) => rate(one.rate) },
  { head: "errors", kind: num, title: "of the last minute", cell: () => (one) => percent(share(one)) },
  { head: "seen", kind: num, title: "errors that clients saw", cell: () => (one) => count(one.errors_seen) },
  { head: "made", kind: num, title: "failed tries of its servers", cell: () => (one) => count(one.errors_made) },
  { head: "saved", kind: num, title: "hidden from clients by another try or arm", cell: () => (one) => count(one.errors_saved) },
  { head: "p50", kind: num, cell: () => (one) => latency(one.minute?.p50_s) },
  { head: "p99", kind: num, cell: () => (one) => latency(one.minute?.p99_s) },
  { head: "in flight", kind: num, cell: () => (one) => count(one.in_flight) },
  { head: "health", cell: () => mark(health, (one) => `${one.healthy}/${one.servers}${one.panic ? " panic" : ""}`) },
  { head: "removable", cell: () => h("span", { title: (one) => one.held_by.join("; ") || null }, (one) => (one.safe_to_remove ? "safe" : `no: ${one.held_by[0] ?? "in use"}`)) },
];

export const arms = () =>
  card("arms", "Arms",
    table("Arms, the last minute", COLUMNS, () => state.view.arms, (one) => one.name),
    h("p.small.warn", { hidden: () => !state.view.split.mismatch }, "▲ The shares are not as asked, and chance does not explain it."));
