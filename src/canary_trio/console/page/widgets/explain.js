/** Which arm a request would get, and why, without sending it. */
import { each, h, update, when } from "../dom.js";
import { ask, of } from "../news.js";
import { card, fault, lines, percent } from "../shown.js";
import { state } from "../store.js";

const FIELD = /^\s*([^:]+?)\s*:\s*(.*?)\s*$/;

export function explain() {
  const said = { words: [], error: "", shares: [], verdict: "" };
  const input = (id, label, props) => [h("label", { for: id }, label), h("input", { id, autocomplete: "off", ...props })];
  const [method, target, client] = [
    input("x-method", "Method", { value: "GET" }), input("x-target", "Path or URL", { value: "/" }), input("x-client", "Client's address", { placeholder: "203.0.113.7" })];
  const headers = h("textarea", { id: "x-headers", rows: 3, spellcheck: "false", placeholder: "Cookie: canary-web=…\nX-Canary: always" });

  async function send(event) {
    event.preventDefault();
    const fields = headers.value.split("\n").map((one) => FIELD.exec(one)).filter(Boolean).map(([, name, value]) => [name, value]);
    const request = { method: method[1].value, target: target[1].value, headers: fields, ...(client[1].value && { client: client[1].value }) };
    try {
      const { arm, refused, shares, words } = await ask("POST", of(state.service, "/explain"), { request });
      Object.assign(said, { error: "", words, verdict: arm ?? (refused ? "refused" : "by chance"), shares: Object.entries(shares ?? {}) });
    } catch (exc) {
      Object.assign(said, { error: exc.message, words: (exc.body?.problems ?? []).map(fault), verdict: "", shares: [] });
    }
    update(el, state);
  }

  const el = card("explain", "Explain a request",
    h("form.fields", { onsubmit: send }, method, target, client, h("label", { for: "x-headers" }, "Header fields"), headers, h("button", { type: "submit" }, "Explain")),
    h("div.result", { role: "region", "aria-label": "Explanation" },
      when(() => said.error, () => h("p.bad", {}, () => said.error)),
      when(() => said.verdict, () => h("p", {}, "It gets ", h("b", {}, () => said.verdict))),
      h("ul.lines", {}, each(() => said.shares, (one) => one[0], () => h("li", {}, (one) => `${one[0]}: ${percent(one[1])}`)), lines(() => said.words))));
  return el;
}
