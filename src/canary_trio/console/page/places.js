// @ts-check
/** Where a path of a document stands in its text. */

const TOKEN = /\s*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}[\],:"]+))/gy;

/** The steps of a path: $.arms.canary.servers[0]["a.b"] @param {string} path */
export function stepsOf(path) {
  const steps = [];
  for (const [, word, place, quoted] of path.replace(/^\$/, "").matchAll(/\.?([A-Za-z_$][\w-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/g)) {
    steps.push(word ?? (place !== undefined ? Number(place) : JSON.parse(quoted)));
  }
  return steps;
}

/**
 * Give the place of a path, or of the nearest thing around it that is there.
 * @param {string} text @param {string} path
 */
export function placeOf(text, path) {
  const said = /line (\d+)/.exec(path);
  if (said) return at(text, text.split("\n", Number(said[1]) - 1).join("\n").length + 1, 1);
  const wanted = stepsOf(path);
  /** @type {(string | number)[]} */
  const here = [];
  /** @type {{list: boolean, key: string, name: boolean}[]} */
  const open = [];
  let best = { depth: -1, start: 0, length: 1 };
  TOKEN.lastIndex = 0;
  for (let found = TOKEN.exec(text); found; found = TOKEN.exec(text)) {
    const [whole, sign, quoted, word] = found;
    const start = found.index + whole.length - (sign ?? quoted ?? word).length;
    const inside = open.at(-1);
    if (quoted !== undefined && inside && !inside.list && inside.name) {
      try { here[open.length - 1] = JSON.parse(quoted); } catch { here[open.length - 1] = quoted; }
      inside.name = false;
      note(start, quoted.length);
    } else if (sign === "{" || sign === "[") {
      if (inside?.list) note(start, 1);
      open.push({ list: sign === "[", key: "", name: true });
      here[open.length - 1] = sign === "[" ? 0 : "";
    } else if (sign === "}" || sign === "]") {
      open.pop();
      here.length = open.length;
    } else if (sign === "," && inside) {
      inside.name = true;
      if (inside.list) here[open.length - 1] = Number(here[open.length - 1]) + 1;
    } else if (sign === undefined && inside?.list) note(start, (quoted ?? word).length);
  }
  return at(text, best.start, best.length);

  /** @param {number} start @param {number} length */
  function note(start, length) {
    if (here.length > wanted.length || here.length <= best.depth) return;
    if (here.every((step, place) => step === wanted[place])) best = { depth: here.length, start, length };
  }
}

/** @param {string} text @param {number} start @param {number} length */
const at = (text, start, length) => ({ start, end: start + length, line: text.slice(0, start).split("\n").length });
