// @ts-check
/** Who asks: login by a token, and its end. The token is posted once and kept nowhere here. */
import { ask } from "../api.js";
import { h, update, when } from "../dom.js";
import { changed, state } from "../store.js";

export async function readSession() {
  const once = /^#login=(.+)$/.exec(location.hash);
  if (once) {
    window.history.replaceState(null, "", location.pathname);
    try {
      state.session = await ask("POST", "session", { login: decodeURIComponent(once[1]) });
      return;
    } catch (exc) {
      state.said = /** @type {Error} */ (exc).message;
    }
  }
  state.session = await ask("GET", "session");
}

/** @param {() => void} after */
export function login(after) {
  const it = { error: "", busy: false };
  const token = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const dialog = h("dialog", { "aria-labelledby": "login-title" },
    h("form", { method: "dialog", onsubmit: send },
      h("h2", { id: "login-title" }, "Log in"),
      h("p.dim", {}, "With the secret of a token, as `canary admin-token` printed it. It is not kept in this page."),
      h("label", { for: "token" }, "Token"), token,
      when(() => it.error, () => h("p.note.bad", { role: "alert" }, () => it.error)),
      h("footer", {}, h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button.strong", { type: "submit", disabled: () => it.busy }, "Log in"))));

  /** @param {Event} event */
  async function send(event) {
    event.preventDefault();
    it.busy = true;
    update(dialog, it);
    try {
      state.session = await ask("POST", "session", { token: token.value });
      dialog.close();
      after();
    } catch (exc) {
      it.error = /** @type {Error} */ (exc).message;
    }
    token.value = "";
    it.busy = false;
    update(dialog, it);
    changed();
  }

  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  update(dialog, it);
  dialog.showModal();
}

/** @param {() => void} after */
export const session = (after) =>
  h("div.session", {},
    h("span", {}, () => (state.session?.name ? `${state.session.name} · ${state.session.role}` : state.session?.role ? "read only" : "not logged in")),
    when(() => state.session?.by === "session", () =>
      h("button.quiet", { type: "button", id: "logout", onclick: async () => { await ask("DELETE", "session").catch(() => null); await readSession(); after(); } }, "Log out")),
    when(() => state.session && state.session.role !== "write", () => h("button.quiet", { type: "button", id: "login", onclick: () => login(after) }, "Log in")));
