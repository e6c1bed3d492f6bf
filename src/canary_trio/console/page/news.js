/**
 * What the proxy says (responses, and news by server-sent events while they come), and what the
 * page knows of it: one object, drawn at the next frame after whatever came. What grows with time
 * is bounded: a sample a second for fifteen minutes, fifty events.
 *
 * Every failure of the stream looks the same from here: nothing comes. A balancer that buffers,
 * a proxy that restarts, a cable, a laptop that slept: after some silence what is known is asked
 * for, and a stream is tried meanwhile.
 * Only bytes that came are a sign of life, comments too. A page that nobody sees asks nothing.
 */
const BASE = "../api/v1";
const SILENCE_S = 3.5;
const LIST_SILENCE_S = 6.5;
const POLL_S = 2;
const RETRY_S = [0.3, 1, 2, 5, 10];
const SLEPT_S = 5;
const HIDDEN_S = 20;

const SAMPLES = 900;
const EVENTS = 50;
const OLD_S = 3.5;

const seconds = () => Date.now() / 1000;

/** What was refused: the status, 0 for no response, and what the proxy says of it. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.error || (status ? `The proxy answered with status ${status}.` : "The proxy does not answer."));
    this.status = status;
    this.body = body ?? {};
  }
}

async function reach(path, options) {
  const response = await fetch(`${BASE}/${path}`, options).catch(() => { throw new Refused(0); });
  if (response.status === 401 && path !== "session") learn().catch(() => null);
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
  return response;
}

/** Learn who asks now. */
export const learn = async () => { state.session = await ask("GET", "session"); changed(); };

/** Ask the proxy, or write over a revision. */
export async function ask(method, path, body, over) {
  const headers = { "X-Canary-Console": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (over !== undefined) headers["If-Match"] = `"${over ?? 0}"`;
  const signal = AbortSignal.timeout(15_000);
  const response = await reach(path, { method, headers, body: body && JSON.stringify(body), signal });
  return response.json().catch(() => null);
}

export const of = (service, rest) => `services/${encodeURIComponent(service)}${rest}`;

export class News {
  service; take; tell; mode = "opening"; tries = 0; polled = 0; retryAt = 0; hiddenAt = 0; polls = false;

  /** Follow a service, or all of them (null). Told are: live, polling, lost, refused. */
  constructor(service, take, tell) {
    Object.assign(this, { service, take, tell });
    this.heard = this.looked = this.begun = seconds();
    this.stream = null;
    this.lastId = "";
    this.timer = setInterval(() => this.look(), 500);
    this.wake = () => this.look(true);
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.open();
  }

  end() {
    clearInterval(this.timer);
    this.timer = 0;
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.close();
  }

  /** See whether all is as it should be. */
  look(woken = false) {
    if (!this.timer) return;
    const now = seconds();
    const slept = now - this.looked > SLEPT_S;
    this.looked = now;
    this.hiddenAt = document.hidden ? this.hiddenAt || now : 0;
    if (this.hiddenAt && now - this.hiddenAt > HIDDEN_S) this.close();
    if (this.hiddenAt) return;
    if (slept || (woken && now - this.heard > 1.5)) {
      this.close();
      this.tries = this.retryAt = 0;
    }
    const silence = this.service === null ? LIST_SILENCE_S : SILENCE_S;
    if (this.stream && now - Math.max(this.heard, this.begun) > silence) {
      this.close();
      this.failed("The stream says nothing: something holds it back.");
    }
    if (!this.stream && now >= this.retryAt) this.open();
    const asks = this.mode !== "live" && this.mode !== "refused" && now - this.heard > POLL_S;
    if (asks && now - this.polled >= POLL_S) this.poll();
  }

  close() {
    this.stream?.abort();
    this.stream = null;
  }

  be(mode, why = "") {
    this.mode = mode;
    this.tell(mode, why, this.heard);
  }

  failed(why) {
    this.retryAt = seconds() + RETRY_S[Math.min(this.tries++, RETRY_S.length - 1)];
    if (this.mode === "live") this.be("polling", why);
    this.poll();
  }

  refused(refusal) {
    if (![401, 403, 404].includes(refusal.status)) return false;
    this.retryAt = seconds() + 10;
    this.be("refused", refusal.message);
    return true;
  }

  async open() {
    const control = (this.stream = new AbortController());
    const asked = this.service === null ? "" : `?service=${encodeURIComponent(this.service)}`;
    const headers = { Accept: "text/event-stream", ...(this.lastId && { "Last-Event-ID": this.lastId }) };
    this.begun = seconds();
    try {
      const response = await reach(`stream${asked}`, { headers, signal: control.signal, cache: "no-store" });
      if (this.tries) learn().catch(() => null);
      await this.read(response.body, control);
      throw new Error("The stream ended.");
    } catch (exc) {
      if (control !== this.stream) return;
      this.stream = null;
      if (!this.refused(exc)) this.failed(exc.message);
    }
  }

  async read(body, control) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let kept = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || control !== this.stream) return;
      const parts = (kept + value).split(/\r?\n\r?\n/);
      kept = parts.pop();
      this.heard = seconds();
      this.tries = 0;
      if (this.mode !== "refused") this.be("live");
      for (const part of parts) this.event(part);
    }
  }

  event(text) {
    const fields = { data: "" };
    for (const line of text.split(/\r?\n/)) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      fields[name] = name === "data" ? fields.data + value : value;
    }
    if (fields.id !== undefined) this.lastId = fields.id;
    if (!fields.data) return;
    const data = JSON.parse(fields.data);
    if (fields.event === "gone") this.be("refused", data.error);
    else this.take(fields.event, data);
  }

  async poll() {
    if (this.polls || !this.timer) return;
    this.polls = true;
    this.polled = seconds();
    try {
      const found = await ask("GET", this.service === null ? "services" : of(this.service, ""));
      if (!this.timer) return;
      this.heard = seconds();
      this.take(this.service === null ? "services" : "view", found);
      if (this.mode !== "live") this.be("polling", "The stream is away; the proxy is asked every 2 s.");
    } catch (exc) {
      if (this.timer && !this.refused(exc) && this.mode !== "live") this.be("lost", exc.message);
    } finally {
      this.polls = false;
    }
  }
}

/** Who asks, what is looked at, what is known of it and since when; series for the charts. */
export const state = { session: null, service: null, list: null, view: null, history: null, asked: "", link: { mode: "opening", heard: 0, why: "" }, said: "", skew: 0, now: 0, samples: [], judged: {}, marks: [] };

const draws = [];
let due = false;

export const follow = (draw) => draws.push(draw);

/** Draw at the next frame what is known by then. */
export function changed() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    state.now = seconds() + state.skew;
    for (const draw of draws) draw();
  });
}

export const canWrite = () => state.session?.role === "write" && !state.view?.read_only;

/** Whether what is shown may be past. */
export const age = () => seconds() - state.link.heard;
export const isOld = () => state.link.mode !== "opening" && age() > OLD_S;

export function show(service) {
  const link = { mode: "opening", heard: seconds(), why: "" };
  Object.assign(state, { service, link, view: null, list: null, history: null, asked: "", samples: [], judged: {}, marks: [] });
  changed();
}

export function take(kind, data) {
  if (typeof data?.now === "number") state.skew = data.now - seconds();
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
    state.marks = [...state.marks, view.at].slice(-EVENTS);
  }
  view.events = view.events.slice(0, EVENTS);
  state.view = view;
  sample(view);
  if (!rollout || before?.id !== rollout.id || before?.step !== rollout.step) state.judged = {};
  for (const tile of rollout?.tiles ?? []) {
    const at = rollout.judged_at ?? view.at;
    const line = (state.judged[tile.metric] ??= []).filter((one) => one.at !== at);
    state.judged[tile.metric] = [...line, { ...tile, at }].slice(-SAMPLES);
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
