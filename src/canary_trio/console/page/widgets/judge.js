/** What the judge knows, a tile for each metric: the ratio in its bounds, over the step. */
import { each, h, when } from "../dom.js";
import { card, count, isNumber, mark, span, times } from "../shown.js";
import { state } from "../store.js";
import { band, drawing, line, scale } from "./charts.js";

const rollout = () => state.view?.rollout;
const LOW = 0.25;
const HIGH = 4;

function kind(tile) {
  if (tile.e_value >= tile.needed) return "bad";
  if (tile.e_value >= Math.sqrt(tile.needed)) return "warn";
  if (isNumber(tile.high) && tile.high <= tile.threshold) return "good";
  return tile.verdict.startsWith("not worse") ? "good" : "idle";
}

function shapes(tile) {
  const points = state.judged[tile.metric] ?? [];
  const to = Math.max(state.now, points.at(-1)?.at ?? 0);
  const from = Math.min(points[0]?.at ?? to - 60, to - 60);
  const last = points.at(-1);
  const all = last ? [...points, { ...last, at: to }] : [];
  const frame = { from, to, low: LOW, high: HIGH, log: true };
  const place = scale(frame);
  const flat = (y) => `M0 ${place.y(y).toFixed(1)}H600`;
  return [
    { key: "band", kind: "band", d: band(all, place, frame) },
    { key: "one", kind: "grid", d: flat(1) },
    { key: "threshold", kind: "threshold", d: flat(tile.threshold) },
    { key: "line", kind: "line", d: line(all.map((one) => ({ at: one.at, y: one.ratio })), place) },
  ];
}

const bounds = (tile) =>
  isNumber(tile.low) || isNumber(tile.high) ? `${isNumber(tile.low) ? tile.low.toFixed(2) : "0"} to ${isNumber(tile.high) ? tile.high.toFixed(2) : "∞"}` : "no bounds yet";

/** How far the evidence has come, by its logarithm. */
const evidence = (tile) => Math.min(1, Math.max(0, Math.log(tile.e_value || 1) / Math.log(tile.needed || 100)));

const tile = () =>
  h("li.tile", { class: (one) => `tile ${kind(one)}` },
    h("header", {}, h("h3", {}, (one) => one.metric), mark(kind, (one) => one.verdict)),
    h("p.ratio", {}, h("b", {}, (one) => times(one.ratio)), h("span.dim", {}, (one) => ` ${bounds(one)} · threshold ${times(one.threshold)}`)),
    drawing("The ratio with its bounds, and the threshold", shapes),
    h("p.dim.small", {}, (one) => one.words),
    h("p.small", {}, (one) => `${count(one.requests[0])} and ${count(one.requests[1])} requests`,
      (one) => (one.failures ? `, ${count(one.failures[0])} and ${count(one.failures[1])} counted` : "")),
    h("div.meter", { "--part": (one) => evidence(one).toFixed(3) }),
    h("p.small", {}, (one) => `evidence ${isNumber(one.e_value) ? Number(one.e_value.toPrecision(2)).toLocaleString("en-US") : "–"} of ${count(one.needed)}`));

export const judge = () =>
  h("div", {}, when(() => rollout()?.tiles.length, () =>
    card("judge", "Judge",
      h("p.about", { class: () => (state.now - (rollout().judged_at ?? state.now) > 5 ? "about old" : "about") },
        h("b", {}, () => rollout().finding ?? "nothing yet"), h("span.dim", {}, () => ` ${rollout().arm} against ${rollout().against}`),
        h("span.dim", {}, () => (isNumber(rollout().judged_at) ? `, ${span(state.now - rollout().judged_at)} old` : ""))),
      h("ul.tiles", {}, each(() => rollout().tiles, (one) => one.metric, tile)))));
