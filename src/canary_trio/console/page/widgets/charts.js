/**
 * Lines over time as SVG: a band, a threshold, marks; and the two charts of the arms, errors and
 * latency over fifteen minutes. A table says the same to who does not see them.
 */
import { each, h } from "../dom.js";
import { armIndex, card, clock, isNumber, latency, percent } from "../shown.js";
import { state } from "../store.js";
import { swatch } from "./arms.js";

const WIDE = 600;
const HIGH = 100;

/** A round number that is not below one. */
export function roundUp(x) {
  if (!(x > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(x));
  return unit * ([1, 2, 2.5, 5, 10].find((one) => one * unit >= x * 0.9999) ?? 10);
}

export function scale({ from, to, low, high, log }) {
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
  const marks = state.marks.filter((one) => one.at > to - SPAN_S).map((one) => `M${place.x(one.at).toFixed(1)} 0V100`);
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
  const details = h("details", {}, h("summary", {}, "As a table"),
    h("div.scroll", { tabindex: "0", role: "region", "aria-label": `${title} as a table` }, h("table", {}, h("caption.unseen", {}, `${title}, by minute`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "time"), each(() => state.view.arms, (one) => one.name, () => h("th.num", { scope: "col" }, (one) => one.name)))),
      h("tbody", {}, each(() => (details.open ? minutes(name, show) : []), (one) => one.at, () =>
        h("tr", {}, h("th", { scope: "row" }, (one) => clock(one.at)),
          each((one) => one.cells, (cell) => cell.name, () => h("td.num", {}, (cell) => cell.text))))))));
  return card(id, title,
    h("figure", {},
      h("div.plot", {}, h("span.axis.top", {}, () => show(top(name, least))), h("span.axis.low", {}, "0"), drawing(`${title} of each arm, 15 minutes`, () => shapes(name, least))),
      h("figcaption", {}, each(() => state.view.arms, (one) => one.name, () =>
        h("span.key", {}, swatch(), (one) => `${one.name} `, h("b", {}, (one) => show(state.samples.at(-1)?.arms[one.name]?.[name])))),
        h("span.dim", {}, "15 min")),
      details));
}

export const charts = () =>
  h("div.pair", {},
    chart("errors", "Error share", "errors", (x) => (isNumber(x) ? percent(x) : "–"), 0.01),
    chart("latency", "Latency p99", "p99", latency, 0.01));
