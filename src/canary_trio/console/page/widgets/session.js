/** Who asks: login by a token, and its end. The token is posted once and kept nowhere here. */
import { modal } from "../dialog.js";
import { h, update, when } from "../dom.js";
import { ask } from "../news.js";
import { state } from "../store.js";

/** Learn who asks; a login that holds once is taken out of the address and used. */
export async function readSession() {
  const once = /^#login=(.+)$/.exec(location.hash);
  if (once) {
    history.replaceState(null, "", location.pathname);
    const made = await ask("POST", "session", { login: decodeURIComponent(once[1]) }).catch((exc) => { state.said = exc.message; });
    if (made) return (state.session = made);
  }
  return (state.session = await ask("GET", "session"));
}

export function login(after) {
  let error = "";
  const token = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const body = [
    h("p.dim", {}, "With the secret of a token, as `canary admin-token` printed it. It is not kept in this page."),
    h("label", { for: "token" }, "Token"), token,
    when(() => error, () => h("p.note.bad", { role: "alert" }, () => error))];
  const dialog = modal({ id: "login-title", title: "Log in", verb: "Log in", body, send });

  async function send() {
    try {
      state.session = await ask("POST", "session", { token: token.value });
      dialog.close();
      after();
    } catch (exc) {
      error = exc.message;
    }
    token.value = "";
    update(dialog, state);
  }
}

async function logout(after) {
  await ask("DELETE", "session").catch(() => null);
  await readSession();
  after();
}

const named = () => (state.session?.name ? `${state.session.name} · ${state.session.role}` : state.session?.role ? "read only" : "not logged in");

export const session = (after) =>
  h("div.session", {}, h("span", {}, named),
    when(() => state.session?.by === "session", () => h("button.quiet", { type: "button", id: "logout", onclick: () => logout(after) }, "Log out")),
    when(() => state.session && state.session.role !== "write", () => h("button.quiet", { type: "button", id: "login", onclick: () => login(after) }, "Log in")));
