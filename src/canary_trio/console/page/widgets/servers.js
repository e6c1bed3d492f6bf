/** The servers, as HAProxy's page has them, and the mode of each. */
import { confirm, write } from "../dialog.js";
import { each, h, when } from "../dom.js";
import { card, count, isNumber, latency, mark, span, table } from "../shown.js";
import { canWrite, state } from "../store.js";
import { swatch } from "./arms.js";

const num = "num";
const KINDS = { up: "good", down: "bad", ejected: "bad", partly: "warn" };
const MODES = { ready: "takes requests again", drain: "takes no new users", maint: "takes nothing" };

function status(server) {
  const where = server.status === "partly" ? ` ${server.up}/${server.asked}` : "";
  return `${server.status}${where}${isNumber(server.since) ? ` ${span(state.now - server.since)}` : ""}`;
}

function turn(server, mode) {
  const others = state.view.servers.filter((one) => one.arm === server.arm && one.url !== server.url && one.mode === "ready" && one.status === "up");
  confirm({
    title: `${mode === "ready" ? "Ready" : mode === "drain" ? "Drain" : "Maintenance of"} ${server.url}`,
    verb: `Set to ${mode}`,
    danger: mode !== "ready" && !others.length,
    lines: () => [
      `${server.url} of ${server.arm} ${MODES[mode]}: ${server.mode} → ${mode}`,
      `${count(server.sessions)} requests are in progress there`,
      mode === "ready" ? `it shares ${server.arm} with ${others.length} others` : others.length ? `${others.length} other servers of ${server.arm} are ready and up` : `No other server of ${server.arm} is ready and up.`,
    ],
    send: write("POST", "/servers/mode", { arm: server.arm, server: server.url, mode }),
  });
}

const mode = () =>
  h("span", {},
    when((one) => canWrite() && one.arm, () => h("span.modes", { role: "group", "aria-label": (one) => `Mode of ${one.url}` },
      each((one) => Object.keys(MODES).map((name) => ({ name, one })), (it) => it.name, (now) =>
        h("button", { type: "button", "aria-pressed": (it) => String(it.one.mode === it.name), disabled: (it) => it.one.mode === it.name, onclick: () => turn(now().one, now().name) }, (it) => it.name)))),
    when(() => !canWrite(), () => h("span", {}, (one) => one.mode)));

const COLUMNS = [
  { head: "server", cell: () => [swatch((one) => one.arm), h("span.dim", {}, (one) => `${one.arm} `), h("b", {}, (one) => one.url)] },
  { head: "status", cell: () => mark((one) => KINDS[one.status] ?? "idle", status) },
  { head: "mode", cell: mode },
  { head: "weight", kind: num, cell: () => (one) => (isNumber(one.weight) ? Number(one.weight.toFixed(2)) : "–") },
  { head: "cur", kind: num, title: "requests in progress", cell: () => (one) => count(one.sessions) },
  { head: "limit", kind: num, title: "of these, for each proxy", cell: () => (one) => count(one.limit) },
  { head: "queue", kind: num, title: "requests that wait for a place", cell: () => (one) => count(one.queue) },
  { head: "conns", kind: num, title: "open connections", cell: () => (one) => count(one.connections) },
  { head: "requests", kind: num, cell: () => (one) => count(one.requests) },
  { head: "errors", kind: num, cell: () => (one) => count(one.errors) },
  { head: "ejected", kind: num, title: "times that it was taken out", cell: () => (one) => count(one.ejections) },
  { head: "latency", kind: num, title: "the slowest proxy's mean, lately", cell: () => (one) => latency(one.latency_s) },
  { head: "checks", cell: () => h("span.dim", {}, (one) => one.checks || "by requests") },
];

export const servers = () =>
  card("servers", "Servers", table("Servers", COLUMNS, () => state.view.servers, (one) => `${one.arm} ${one.url}`));
