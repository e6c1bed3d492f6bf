// @ts-check
/** Numbers, ages and times as they are read. What is no number is a dash, wherever it is. */

const NONE = "–";
const GAP = "\u202f";

/** @param {any} x @returns {x is number} */
export const isNumber = (x) => typeof x === "number" && Number.isFinite(x);

export function percent(x) {
  if (!isNumber(x)) return NONE;
  const value = x * 100;
  const digits = value === 0 || value >= 99.995 ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))}${GAP}%`;
}

export const count = (x) => (isNumber(x) ? Math.round(x).toLocaleString("en-US").replaceAll(",", GAP) : NONE);

export const rate = (x) => (isNumber(x) ? (x >= 100 ? count(x) : x.toFixed(1)) : NONE);

/** @param {any} x seconds */
export function latency(x) {
  if (!isNumber(x)) return NONE;
  if (x >= 1) return `${x.toFixed(x >= 10 ? 0 : 2)}${GAP}s`;
  const ms = x * 1000;
  return `${ms >= 100 ? ms.toFixed(0) : ms.toPrecision(2)}${GAP}ms`;
}

export const times = (x) => (isNumber(x) ? `×${GAP}${x >= 10 ? x.toFixed(0) : x.toFixed(2)}` : NONE);

/** @param {any} s seconds */
export function span(s) {
  if (!isNumber(s)) return NONE;
  const whole = Math.max(0, Math.round(s));
  if (whole < 60) return `${whole}${GAP}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}${GAP}min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}${GAP}h ${Math.floor(whole / 60) % 60}${GAP}min`;
  return `${Math.floor(whole / 86400)}${GAP}d`;
}

/** @param {any} s seconds that are left */
export function countdown(s) {
  if (!isNumber(s)) return NONE;
  const whole = Math.max(0, Math.ceil(s));
  const two = (n) => String(n).padStart(2, "0");
  const tail = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${tail}` : tail.replace(/^0/, "");
}

/** @param {any} at seconds since 1970 @param {number} now */
export const ago = (at, now) => (isNumber(at) ? `${span(now - at)} ago` : NONE);

export const clock = (at) => (isNumber(at) ? new Date(at * 1000).toLocaleTimeString("en-GB") : NONE);
