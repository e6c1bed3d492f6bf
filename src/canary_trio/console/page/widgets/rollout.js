/** The rollout: the rail of its steps, what may be told to it, and a tile for each metric that is judged. */
import { confirm, write } from "../dialog.js";
import { card, count, countdown, each, h, isNumber, mark, percent, sign, span, times, when } from "../dom.js";
import { canWrite, state } from "../news.js";
import { band, drawing, line, scale } from "./traffic.js";
import { deed } from "./head.js";
import { assignment } from "./document.js";

const rollout = () => state.view?.rollout;

/** The step that a promotion begins; past the last one there is none. */
function nextStep() {
  const { steps, step } = rollout();
  return steps[step === null ? 0 : step + 1];
}

/** What each action is called, and which ratio it leads to where that is known. */
const ACTIONS = {
  promote: { label: () => (nextStep() ? `Promote to ${percent(nextStep().ratio)}` : "Promote"), title: "Begin the next step now", to: () => nextStep()?.ratio ?? rollout().steps.at(-1)?.ratio, strong: true },
  resume: { label: () => "Resume", title: "Go on with the rollout", strong: true },
  retry: { label: () => "Retry", title: "Begin the rollout again", to: () => rollout().steps[0]?.ratio, strong: true },
  finish: { label: () => "Finish", title: "Make its servers stable's", strong: true },
  pause: { label: () => "Pause", title: "Pause the rollout" },
  "promote-full": { label: () => "Promote full", title: "Go to the last step now", to: () => rollout().steps.at(-1)?.ratio, danger: true },
  "skip-gate": { label: () => "Skip gates", title: "Wait for gates no more" },
  undo: { label: () => "Undo", title: "Go back to before the rollout", danger: true },
  abort: { label: () => "Abort", title: "Give the arm no traffic", to: () => 0, danger: true },
};

/** The same as numbers. */
function effect(name) {
  const { arm, ratio, gates, steps } = rollout();
  const total = state.view.arms.reduce((sum, one) => sum + (one.rate || 0), 0);
  const to = ACTIONS[name].to?.();
  if (isNumber(to)) {
    return [
      `${arm}: ${percent(ratio)} → ${percent(to)} of traffic`,
      total > 0 && `about ${count(ratio * total)} → ${count(to * total)} requests/s`,
      name === "promote-full" && `${steps.filter((one) => one.state === "future").length} steps, their holds and their gates are skipped`,
    ];
  }
  if (name === "pause") return [`${arm} stays at ${percent(ratio)}; no step begins.`];
  if (name === "resume") return [`${arm} goes on from ${percent(ratio)}; hold and judge begin anew.`];
  if (name === "skip-gate") return [`No more waiting for: ${gates.join(", ")}.`];
  if (name === "finish") return [`The ${count(state.view.servers.filter((one) => one.arm === arm).length)} servers of ${arm} become stable's, and its ratio 0.`];
  return ["The document from before the rollout is written again."];
}

function act(name) {
  const action = ACTIONS[name];
  const to = action.to?.();
  confirm({
    title: action.title,
    verb: action.label(),
    danger: action.danger,
    lines: () => effect(name).filter(Boolean),
    proposal: isNumber(to) && name !== "retry" ? { assignments: [assignment(rollout().arm, to)] } : undefined,
    send: write("POST", `/rollout/${name}`),
  });
}

const SIGNS = { past: "✓", present: "●", future: "○" };

/** What a step asks for. */
function terms(step) {
  const hold = step.hold_s === null ? "until promoted" : step.hold_s ? span(step.hold_s) : "";
  return [hold, step.requests ? `≥ ${count(step.requests)} req` : "", ...step.gates.map((one) => `gate ${one}`)].filter(Boolean).join(" · ");
}

/** How much of the hold is over. */
function part(step) {
  if (step.state === "past") return 1;
  const { since, countdown_at } = rollout();
  if (step.state === "future" || !since || !countdown_at) return 0;
  return Math.min(1, Math.max(0, (state.now - since) / (countdown_at - since || 1)));
}

const rail = () =>
  h("ol.rail", { "aria-label": "Steps" },
    each(() => rollout().steps.map((one, place) => ({ ...one, place })), (one) => one.place, () =>
      h("li", { class: (one) => one.state, "--part": (one) => part(one).toFixed(3), "aria-current": (one) => (one.state === "present" ? "step" : null) },
        sign((one) => SIGNS[one.state]),
        h("b", (one) => percent(one.ratio)),
        h("span.unseen", (one) => `, ${one.state}`),
        h("small", terms))));

const waiting = () => (rollout().over ? rollout().next : rollout().waits_for);

export const rolloutCard = () =>
  h("div", when(rollout, () =>
    card("rollout", "Rollout",
      h("div.about", h("p", h("b", () => rollout().id), () => ` raises ${rollout().arm} against ${rollout().against}`),
        h("p.dim", () => [rollout().reason, rollout().by && `by ${rollout().by}`, isNumber(rollout().since) && `${span(state.now - rollout().since)} ago`].filter(Boolean).join(" · "))),
      rail(),
      h("div.next",
        when(() => rollout().countdown_at && !rollout().over, () =>
          h("p", "Next step in ", h("time.big", { id: "countdown" }, () => countdown(rollout().countdown_at - state.now)))),
        h("p.dim", waiting),
        when(() => rollout().deadline_at && !rollout().over, () => h("p.dim", () => `It ends in ${span(rollout().deadline_at - state.now)} at the latest.`))),
      when(canWrite, () =>
        h("div.buttons",
          each(() => Object.keys(ACTIONS).filter((name) => rollout()?.actions.includes(name)), (name) => name, (now) => {
            const action = ACTIONS[now()];
            return h("button", { type: "button", id: now(), title: action.title, class: action.danger ? "danger" : action.strong ? "strong" : "", onclick: () => act(now()) }, () => rollout() && action.label());
          }),
          when(() => !state.view.freeze && !rollout()?.over, () => deed("freeze", "Freeze")))))));

function tileKind(tile) {
  if (tile.e_value >= tile.needed) return "bad";
  if (tile.e_value >= Math.sqrt(tile.needed)) return "warn";
  if (isNumber(tile.high) && tile.high <= tile.threshold) return "good";
  return tile.verdict.startsWith("not worse") ? "good" : "idle";
}

function tileShapes(tile) {
  const points = state.judged[tile.metric] ?? [];
  const to = Math.max(state.now, points.at(-1)?.at ?? 0);
  const from = Math.min(points[0]?.at ?? to - 60, to - 60);
  const last = points.at(-1);
  const all = last ? [...points, { ...last, at: to }] : [];
  const frame = { from, to, low: 0.25, high: 4, log: true };
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
  h("li.tile", { class: (one) => `tile ${tileKind(one)}` },
    h("header", h("h3", (one) => one.metric), mark(tileKind, (one) => one.verdict)),
    h("p.ratio", h("b", (one) => times(one.ratio)), h("span.dim", (one) => ` ${bounds(one)} · threshold ${times(one.threshold)}`)),
    drawing("The ratio with its bounds, and the threshold", tileShapes),
    h("p.dim.small", (one) => one.words),
    h("p.small", (one) => `${count(one.requests[0])} and ${count(one.requests[1])} requests`,
      (one) => (one.failures ? `, ${count(one.failures[0])} and ${count(one.failures[1])} counted` : "")),
    h("div.meter", { "--part": (one) => evidence(one).toFixed(3) }),
    h("p.small", (one) => `evidence ${isNumber(one.e_value) ? Number(one.e_value.toPrecision(2)).toLocaleString("en-US") : "–"} of ${count(one.needed)}`));

export const judge = () =>
  h("div", when(() => rollout()?.tiles.length, () =>
    card("judge", "Judge",
      h("p.about", { class: () => (state.now - (rollout().judged_at ?? state.now) > 5 ? "about old" : "about") },
        h("b", () => rollout().finding ?? "nothing yet"), h("span.dim", () => ` ${rollout().arm} against ${rollout().against}${isNumber(rollout().judged_at) ? `, ${span(state.now - rollout().judged_at)} old` : ""}`)),
      h("ul.tiles", each(() => rollout().tiles, (one) => one.metric, tile)))));
