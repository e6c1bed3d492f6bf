/**
 * What the page knows: one object, and who is told when it changes.
 *
 * Whatever is heard goes in here, and is drawn at the next frame, however much came. What
 * grows with time is bounded: a sample a second for fifteen minutes, fifty events.
 */

const SAMPLES = 900;
const EVENTS = 50;
const OLD_S = 3.5;

export const state = {
  session: null,
  list: null,
  view: null,
  service: null,
  history: null,
  link: { mode: "opening", heard: 0, why: "" },
  said: "",
  skew: 0,
  now: 0,
  samples: [],
  judged: {},
  marks: [],
};

const draws = [];
let due = false;

export const follow = (draw) => draws.push(draw);

/** Draw at the next frame what is known by then. */
export function changed() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    state.now = Date.now() / 1000 + state.skew;
    for (const draw of draws) draw();
  });
}

export const canWrite = () => state.session?.role === "write" && !state.view?.read_only;

/** Whether what is shown may be past. */
export const isOld = () =>
  state.link.mode !== "opening" && Date.now() / 1000 - state.link.heard > OLD_S;

export function show(service) {
  Object.assign(state, { service, view: null, list: null, history: null, samples: [], judged: {}, marks: [] });
  state.link = { mode: "opening", heard: Date.now() / 1000, why: "" };
  changed();
}

export function take(kind, data) {
  if (typeof data?.now === "number") state.skew = data.now - Date.now() / 1000;
  if (kind === "services") state.list = data;
  else if (data?.service !== state.service && kind !== "event") return;
  else if (kind === "view") takeView(data);
  else if (kind === "traffic" && state.view) {
    Object.assign(state.view, data);
    sample(data);
  } else if (kind === "event" && state.view) {
    const others = state.view.events.filter((one) => one.number !== data.number);
    state.view.events = [data, ...others].slice(0, EVENTS);
  }
  changed();
}

function takeView(view) {
  const before = state.view?.rollout;
  const { rollout } = view;
  if (rollout && before && (before.ratio !== rollout.ratio || before.phase !== rollout.phase)) {
    state.marks.push({ at: view.at, label: `${rollout.arm} ${rollout.phase}` });
    state.marks.splice(0, state.marks.length - 50);
  }
  view.events = view.events.slice(0, EVENTS);
  state.view = view;
  sample(view);
  if (!rollout || before?.id !== rollout.id || before?.step !== rollout.step) state.judged = {};
  for (const tile of rollout?.tiles ?? []) {
    const line = (state.judged[tile.metric] ??= []);
    const point = { at: rollout.judged_at ?? view.at, low: tile.low, high: tile.high, ratio: tile.ratio };
    if (line.at(-1)?.at === point.at) line.pop();
    line.push(point);
    if (line.length > SAMPLES) line.shift();
  }
}

function sample(data) {
  const { samples } = state;
  if (samples.length && data.at - samples[samples.length - 1].at < 0.9) return;
  const arms = {};
  for (const arm of data.arms) {
    const { requests, errors, p99_s } = arm.minute ?? {};
    arms[arm.name] = { errors: requests ? errors / requests : null, p99: p99_s ?? null };
  }
  samples.push({ at: data.at, arms });
  if (samples.length > SAMPLES) samples.shift();
}
