// @ts-check
/** Errors and latency of each arm over the last fifteen minutes. */
import { drawing, line, roundUp, scale } from "../chart.js";
import { each, h } from "../dom.js";
import { clock, isNumber, latency, percent } from "../format.js";
import { armIndex, card } from "../parts.js";
import { state } from "../store.js";
import { swatch } from "./arms.js";

const SPAN_S = 900;
const EVERY = 3;

/** @param {"errors" | "p99"} name @param {number} least of the axis */
function top(name, least) {
  let most = least;
  for (const { arms } of state.samples) for (const arm of Object.values(arms)) most = Math.max(most, arm[name] ?? 0);
  return roundUp(most);
}

/** @param {"errors" | "p99"} name @param {number} least */
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

/** A row for each minute, for who cannot see the lines. @param {"errors" | "p99"} name @param {(x: any) => string} show */
function minutes(name, show) {
  const rows = state.samples.filter((_, place) => (state.samples.length - 1 - place) % 60 === 0).reverse();
  return rows.map(({ at, arms }) => ({ at, cells: state.view.arms.map((arm) => ({ name: arm.name, text: show(arms[arm.name]?.[name]) })) }));
}

/**
 * @param {string} id @param {string} title @param {"errors" | "p99"} name
 * @param {(x: any) => string} show @param {number} least
 */
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
