// @ts-check
/**
 * News from the proxy: server-sent events while they come, polling while they do not.
 *
 * Every failure looks the same from here: nothing comes. A balancer that buffers, a proxy that
 * restarts, a cable, a laptop that slept: after some silence what is known is asked for, so
 * that the page is never further behind than it says, and a stream is tried again meanwhile.
 * Only bytes that came count as a sign of life, comments among them. A page that nobody sees
 * asks for nothing.
 */
import { BASE, Refused, ask, of } from "./api.js";

const SILENCE_S = 4;
const POLL_S = 2;
const RETRY_S = [0.3, 1, 2, 5, 10];
const SLEPT_S = 5;
const HIDDEN_S = 20;

const seconds = () => Date.now() / 1000;

export class News {
  /**
   * @param {string | null} service null for the list of all
   * @param {(kind: string, data: any) => void} take
   * @param {(mode: string, why: string) => void} tell how it comes: live, polling, lost, refused
   */
  constructor(service, take, tell) {
    this.service = service;
    this.take = take;
    this.tell = tell;
    this.mode = "opening";
    this.heard = this.looked = this.begun = seconds();
    this.polled = 0;
    this.tries = 0;
    this.retryAt = 0;
    this.hiddenAt = 0;
    this.lastId = "";
    /** @type {AbortController | null} */
    this.stream = null;
    this.polls = false;
    this.timer = setInterval(() => this.look(), 500);
    this.wake = () => this.look(true);
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.open();
  }

  end() {
    clearInterval(this.timer);
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.timer = undefined;
    this.close();
  }

  /** Look whether all is as it should be. */
  look(woken = false) {
    if (this.timer === undefined) return;
    const now = seconds();
    const slept = now - this.looked > SLEPT_S;
    this.looked = now;
    this.hiddenAt = document.hidden ? this.hiddenAt || now : 0;
    if (this.hiddenAt) {
      if (now - this.hiddenAt > HIDDEN_S) this.close();
      return;
    }
    if (slept || (woken && now - this.heard > 1.5)) {
      this.close();
      this.tries = 0;
      this.retryAt = 0;
    }
    if (this.stream && now - Math.max(this.heard, this.begun) > SILENCE_S - 0.5) {
      this.close();
      this.failed("The stream says nothing; something on the way may hold it back.");
    }
    if (!this.stream && now >= this.retryAt) this.open();
    const asks = this.mode !== "live" && this.mode !== "refused";
    if (asks && now - this.heard > POLL_S && now - this.polled >= POLL_S) this.poll();
  }

  close() {
    this.stream?.abort();
    this.stream = null;
  }

  /** @param {string} why */
  failed(why) {
    this.retryAt = seconds() + RETRY_S[Math.min(this.tries, RETRY_S.length - 1)];
    this.tries += 1;
    if (this.mode === "live" || this.mode === "opening") this.be(this.mode === "live" ? "polling" : this.mode, why);
    this.poll();
  }

  /** @param {string} mode @param {string} [why] */
  be(mode, why = "") {
    this.mode = mode;
    this.tell(mode, why);
  }

  async open() {
    const control = (this.stream = new AbortController());
    this.begun = seconds();
    const asked = this.service === null ? "" : `?service=${encodeURIComponent(this.service)}`;
    try {
      const headers = /** @type {any} */ ({ Accept: "text/event-stream" });
      if (this.lastId) headers["Last-Event-ID"] = this.lastId;
      const response = await fetch(`${BASE}/stream${asked}`, { headers, signal: control.signal, cache: "no-store" });
      if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
      await this.read(/** @type {ReadableStream<Uint8Array>} */ (response.body), control);
      throw new Error("The stream ended.");
    } catch (exc) {
      if (control !== this.stream) return;
      this.stream = null;
      const why = exc instanceof Refused || /ended/.test(String(exc)) ? /** @type {Error} */ (exc).message : "The proxy does not answer.";
      if (exc instanceof Refused && [401, 403, 404].includes(exc.status)) this.refused(exc);
      else this.failed(why);
    }
  }

  /** @param {ReadableStream<Uint8Array>} body @param {AbortController} control */
  async read(body, control) {
    const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
    let kept = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || control !== this.stream) return;
      this.heard = seconds();
      const parts = (kept + value).split(/\r?\n\r?\n/);
      kept = parts.pop() ?? "";
      if (this.mode !== "live") this.be("live");
      this.tell("live", "");
      for (const part of parts) this.event(part);
      this.tries = 0;
    }
  }

  /** @param {string} text one event */
  event(text) {
    let kind = "message";
    let data = "";
    for (const line of text.split(/\r?\n/)) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === "event") kind = value;
      else if (name === "data") data += value;
      else if (name === "id") this.lastId = value;
    }
    if (data && kind === "gone") this.be("refused", JSON.parse(data).error);
    else if (data) this.take(kind, JSON.parse(data));
  }

  async poll() {
    if (this.polls || this.timer === undefined) return;
    this.polls = true;
    this.polled = seconds();
    try {
      const found = await ask("GET", this.service === null ? "services" : of(this.service, ""));
      if (this.timer === undefined) return;
      this.heard = seconds();
      this.take(this.service === null ? "services" : "view", found);
      if (this.mode !== "live") this.be("polling", "The stream is away; the proxy is asked every 2 s.");
    } catch (exc) {
      const refusal = /** @type {Refused} */ (exc);
      if ([401, 403, 404].includes(refusal.status)) this.refused(refusal);
      else if (this.mode !== "live") this.be("lost", refusal.message);
    } finally {
      this.polls = false;
    }
  }

  /** @param {Refused} refusal */
  refused(refusal) {
    this.retryAt = seconds() + 10;
    this.be("refused", refusal.message);
  }
}
