/**
 * Who gets requests, and how they fare: the arms, what became of their errors and latency over
 * fifteen minutes (lines as SVG, and a table that says the same), and the servers, as HAProxy has them.
 */
import { confirm, write } from "../dialog.js";
import { armIndex, card, clock, count, each, h, isNumber, latency, mark, percent, rate, span, table, when } from "../dom.js";
import { canWrite, state } from "../news.js";

const num = "num";

const share = (arm) => (arm.minute?.requests ? arm.minute.errors / arm.minute.requests : null);

const health = (arm) => (arm.panic || arm.healthy === 0 ? "bad" : arm.healthy < arm.servers ? "warn" : "good");

const bar = (arm) => (isNumber(arm.got) ? arm.got.toFixed(4) : "0");

export const swatch = (name = (one) => one.name) =>
  h("span", { class: (one) => `swatch arm${armIndex(state.view.arms, name(one))}`, "aria-hidden": "true" });

const ARMS = [
  { head: "arm", cell: () => [swatch(), h("b", (one) => one.name)] },
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
    table("Arms, the last minute", ARMS, () => state.view.arms, (one) => one.name),
    h("p.small.warn", { hidden: () => !state.view.split.mismatch }, "▲ The shares are not as asked, and chance does not explain it."));

const WIDE = 600;
const HIGH = 100;

/** A round number that is not below one. */
export function roundUp(x) {
  if (!(x > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(x));
  return unit * ([1, 2, 2.5, 5, 10].find((one) => one * unit >= x * 0.9999) ?? 10);
}

export function scale({ from, to, low, high, log = false }) {
  const turn = log ? Math.log : (x) => x;
  const x = (at) => ((at - from) / (to - from || 1)) * WIDE;
  const y = (value) => {
    const held = Math.min(high, Math.max(low, value));
    return HIGH - ((turn(held) - turn(low)) / (turn(high) - turn(low) || 1)) * HIGH;
  };
  return { x, y };
}

export function line(points, place) {
  let path = "";
  let pen = "M";
  for (const { at, y } of points) {
    if (!isNumber(y)) pen = "M";
    else {
      path += `${pen}${place.x(at).toFixed(1)} ${place.y(y).toFixed(1)}`;
      pen = "L";
    }
  }
  return path;
}

export function band(points, place, frame) {
  const known = points.filter((one) => isNumber(one.low) || isNumber(one.high));
  if (!known.length) return "";
  const edge = (value, other) => place.y(isNumber(value) ? value : other).toFixed(1);
  const there = known.map((one) => `${place.x(one.at).toFixed(1)} ${edge(one.high, frame.high)}`);
  const back = known.map((one) => `${place.x(one.at).toFixed(1)} ${edge(one.low, frame.low)}`).reverse();
  return `M${there.join("L")}L${back.join("L")}Z`;
}

/** The drawing: whatever `shapes` gives, by its key, as paths. */
export const drawing = (name, shapes) =>
  h("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": name },
    h("path", { class: "grid", d: `M0 0H${WIDE}M0 ${HIGH / 2}H${WIDE}M0 ${HIGH}H${WIDE}` }),
    each(shapes, (one) => one.key, () => h("path", { class: (one) => one.kind, d: (one) => one.d })));

const SPAN_S = 900;
const EVERY = 3;

function top(name, least) {
  let most = least;
  for (const { arms } of state.samples) for (const arm of Object.values(arms)) most = Math.max(most, arm[name] ?? 0);
  return roundUp(most);
}

function shapes(name, least) {
  const to = state.samples.at(-1)?.at ?? state.now;
  const place = scale({ from: to - SPAN_S, to, low: 0, high: top(name, least) });
  const seen = state.samples.filter((_, index) => index % EVERY === 0 || index === state.samples.length - 1);
  const marks = state.marks.filter((at) => at > to - SPAN_S).map((at) => `M${place.x(at).toFixed(1)} 0V100`);
  return [
    { key: "marks", kind: "step", d: marks.join("") },
    ...state.view.arms.map((arm) => ({
      key: `arm ${arm.name}`,
      kind: `line arm${armIndex(state.view.arms, arm.name)}`,
      d: line(seen.map(({ at, arms }) => ({ at, y: arms[arm.name]?.[name] })), place),
    })),
  ];
}

/** A row for each minute, for who cannot see the lines. */
function minutes(name, show) {
  const rows = state.samples.filter((_, place) => (state.samples.length - 1 - place) % 60 === 0).reverse();
  return rows.map(({ at, arms }) => ({ at, cells: state.view.arms.map((arm) => ({ name: arm.name, text: show(arms[arm.name]?.[name]) })) }));
}

function chart(id, title, name, show, least) {
  const details = h("details", h("summary", "As a table"),
    h("div.scroll", { tabindex: "0", role: "region", "aria-label": `${title} as a table` }, h("table", h("caption.unseen", `${title}, by minute`),
      h("thead", h("tr", h("th", { scope: "col" }, "time"), each(() => state.view.arms, (one) => one.name, () => h("th.num", { scope: "col" }, (one) => one.name)))),
      h("tbody", each(() => (details.open ? minutes(name, show) : []), (one) => one.at, () =>
        h("tr", h("th", { scope: "row" }, (one) => clock(one.at)),
          each((one) => one.cells, (cell) => cell.name, () => h("td.num", (cell) => cell.text))))))));
  return card(id, title,
    h("figure",
      h("div.plot", h("span.axis.high", () => show(top(name, least))), h("span.axis.low", "0"), drawing(`${title} of each arm, 15 minutes`, () => shapes(name, least))),
      h("figcaption", each(() => state.view.arms, (one) => one.name, () =>
        h("span.key", swatch(), (one) => `${one.name} `, h("b", (one) => show(state.samples.at(-1)?.arms[one.name]?.[name])))),
        h("span.dim", "15 min")),
      details));
}

export const charts = () =>
  h("div.pair",
    chart("errors", "Error share", "errors", (x) => (isNumber(x) ? percent(x) : "–"), 0.01),
    chart("latency", "Latency p99", "p99", latency, 0.01));

const KINDS = { up: "good", down: "bad", ejected: "bad", partly: "warn" };
const MODES = { ready: "takes requests again", drain: "takes no new users", maintenance: "takes nothing" };

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
  h("span",
    when((one) => canWrite() && one.arm, () => h("span.modes", { role: "group", "aria-label": (one) => `Mode of ${one.url}` },
      each((one) => Object.keys(MODES).map((name) => ({ name, one })), (it) => it.name, (now) =>
        h("button", { type: "button", title: (it) => it.name, "aria-pressed": (it) => String(it.one.mode === it.name), disabled: (it) => it.one.mode === it.name, onclick: () => turn(now().one, now().name) }, (it) => it.name.slice(0, 5))))),
    when(() => !canWrite(), () => h("span", (one) => one.mode)));

const SERVERS = [
  { head: "server", cell: () => [swatch((one) => one.arm), h("span.dim", (one) => `${one.arm} `), h("b", { title: (one) => one.url }, (one) => one.url.replace("http://", ""))] },
  { head: "status", cell: () => mark((one) => KINDS[one.status] ?? "idle", status) },
  { head: "mode", cell: mode },
  { head: "weight", kind: num, cell: () => (one) => (isNumber(one.weight) ? Number(one.weight.toFixed(2)) : "–") },
  { head: "cur", kind: num, title: "requests in progress", cell: () => (one) => count(one.sessions) },
  { head: "max", kind: num, title: "most at once in one proxy", cell: () => (one) => count(one.sessions_max) },
  { head: "limit", kind: num, title: "of these, for each proxy", cell: () => (one) => count(one.limit) },
  { head: "queue", kind: num, title: "requests that wait for a place", cell: () => (one) => count(one.queue) },
  { head: "conns", kind: num, title: "open connections", cell: () => (one) => count(one.connections) },
  { head: "requests", kind: num, cell: () => (one) => count(one.requests) },
  { head: "errors", kind: num, cell: () => (one) => count(one.errors) },
  { head: "ejected", kind: num, title: "times that it was taken out", cell: () => (one) => count(one.ejections) },
  { head: "latency", kind: num, title: "the slowest proxy's mean, lately", cell: () => (one) => latency(one.latency_s) },
  { head: "checks", cell: () => h("span.dim", (one) => one.checks || "by requests") },
];

export const servers = () =>
  card("servers", "Servers", table("Servers", SERVERS, () => state.view.servers, (one) => `${one.arm} ${one.url}`));
