// @ts-check
/** Lines over time as SVG: a band, a threshold, marks. The table beside says the same. */
import { each, h } from "./dom.js";
import { isNumber } from "./format.js";

const WIDE = 600;
const HIGH = 100;

/** A round number that is not below one. @param {number} x */
export function roundUp(x) {
  if (!(x > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(x));
  return unit * ([1, 2, 2.5, 5, 10].find((one) => one * unit >= x * 0.9999) ?? 10);
}

/**
 * @typedef {{at: number, y: any}} Point
 * @typedef {{from: number, to: number, low: number, high: number, log?: boolean}} Frame
 * @param {Frame} frame
 */
export function scale({ from, to, low, high, log }) {
  const turn = log ? Math.log : (x) => x;
  const x = (at) => ((at - from) / (to - from || 1)) * WIDE;
  const y = (value) => {
    const held = Math.min(high, Math.max(low, value));
    return HIGH - ((turn(held) - turn(low)) / (turn(high) - turn(low) || 1)) * HIGH;
  };
  return { x, y };
}

/** @param {Point[]} points @param {ReturnType<typeof scale>} place */
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

/** @param {{at: number, low: any, high: any}[]} points @param {ReturnType<typeof scale>} place @param {Frame} frame */
export function band(points, place, frame) {
  const known = points.filter((one) => isNumber(one.low) || isNumber(one.high));
  if (!known.length) return "";
  const edge = (value, other) => place.y(isNumber(value) ? value : other).toFixed(1);
  const there = known.map((one) => `${place.x(one.at).toFixed(1)} ${edge(one.high, frame.high)}`);
  const back = known.map((one) => `${place.x(one.at).toFixed(1)} ${edge(one.low, frame.low)}`).reverse();
  return `M${there.join("L")}L${back.join("L")}Z`;
}

/**
 * The drawing: whatever `shapes` gives, by its key, as paths.
 * @param {string} name
 * @param {(state: any) => {key: string, kind: string, d: string}[]} shapes
 */
export const drawing = (name, shapes) =>
  h("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": name },
    h("path", { class: "grid", d: `M0 0H${WIDE}M0 ${HIGH / 2}H${WIDE}M0 ${HIGH}H${WIDE}` }),
    each(shapes, (one) => one.key, () => h("path", { class: (one) => one.kind, d: (one) => one.d })));
