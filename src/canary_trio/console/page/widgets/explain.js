// @ts-check
/** Which arm a request would get, and why, without sending it. */
import { ask, of } from "../api.js";
import { each, h, update, when } from "../dom.js";
import { percent } from "../format.js";
import { card, lines } from "../parts.js";
import { state } from "../store.js";

export function explain() {
  const said = { words: /** @type {string[]} */ ([]), error: "", shares: /** @type {any[]} */ ([]), verdict: "" };
  const method = h("input", { id: "x-method", value: "GET", autocomplete: "off" });
  const target = h("input", { id: "x-target", value: "/", autocomplete: "off" });
  const client = h("input", { id: "x-client", placeholder: "203.0.113.7", autocomplete: "off" });
  const headers = h("textarea", { id: "x-headers", rows: 3, spellcheck: "false", placeholder: "Cookie: canary-web=…\nX-Canary: always" });
  const fields = (text) => text.split("\n").filter((one) => one.trim()).map((one) => { const at = one.indexOf(":"); return [one.slice(0, at).trim(), one.slice(at + 1).trim()]; });

  async function send(event) {
    event.preventDefault();
    const request = { method: method.value, target: target.value, headers: fields(headers.value), ...(client.value && { client: client.value }) };
    try {
      const found = await ask("POST", of(state.service ?? "", "/explain"), { request });
      Object.assign(said, { error: "", words: found.words, verdict: found.arm ?? (found.refused ? "refused" : "by chance"), shares: Object.entries(found.shares ?? {}) });
    } catch (exc) {
      const refusal = /** @type {any} */ (exc);
      Object.assign(said, { words: (refusal.body?.problems ?? []).map((one) => `${one.path}: found ${one.found}, expected ${one.expected}`), verdict: "", shares: [], error: refusal.message });
    }
    update(result, state);
  }

  const result = h("div.result", { role: "region", "aria-label": "Explanation" },
    when(() => said.error, () => h("p.bad", {}, () => said.error)),
    when(() => said.verdict, () => h("p", {}, "It gets ", h("b", {}, () => said.verdict))),
    h("ul.lines", {}, each(() => said.shares, (one) => one[0], () => h("li", {}, (one) => `${one[0]}: ${percent(one[1])}`)), lines(() => said.words)));
  return card("explain", "Explain a request",
    h("form.fields", { onsubmit: send },
      h("label", { for: "x-method" }, "Method"), method, h("label", { for: "x-target" }, "Path or URL"), target,
      h("label", { for: "x-client" }, "Client's address"), client, h("label", { for: "x-headers" }, "Header fields"), headers,
      h("button", { type: "submit" }, "Explain")), result);
}
