/** The page: which service is looked at, what is heard of it, and the widgets that show it. */
import { each, find, h, sign, span, update, when } from "./dom.js";
import { age, changed, follow, isOld, News, show, state, take } from "./news.js";
import { editor, explain, split } from "./widgets/document.js";
import { header, login, readSession, routes, services, session, told } from "./widgets/head.js";
import { events, fleet, followHistory, history } from "./widgets/past.js";
import { judge, rolloutCard } from "./widgets/rollout.js";
import { arms, charts, servers } from "./widgets/traffic.js";

let news = null;
let edited = null;

const SIGNS = { opening: "○", live: "●", polling: "◐", lost: "✕", refused: "✕" };

const AWAY = { polling: "No stream", lost: "Out of touch", refused: "Not shown" };

const linked = () =>
  h("span", { class: () => `link ${state.link.mode}`, id: "link" },
    sign(() => SIGNS[state.link.mode]), " ",
    () => state.link.mode + (isOld() ? ` · ${span(age())} old` : ""));

const away = () =>
  h("p.note.bad", { id: "away" }, () => `${AWAY[state.link.mode]}: ${state.link.why}${isOld() ? ` What is shown is ${span(age())} old.` : ""}`);

/** Dark, light, or as the system has it. */
function turn() {
  const themes = ["", "dark", "light"];
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("theme", next); } catch { /* it holds until the page is left */ }
  changed();
}

const onePage = () => {
  edited = editor();
  return h("div.page", header(),
    h("div.columns",
      h("div.wide", state.view.kind === "gateway" ? routes() : [rolloutCard(), judge(), arms(), charts(), servers()]),
      h("div.side", split(), fleet(), history(), events())),
    h("div.columns", h("div.wide", edited), h("div.side", explain())));
};

const root = h("div", { class: () => (isOld() ? "old" : ""), id: "root" },
  h("header.top",
    h("nav", { "aria-label": "Console" }, h("a.brand", { href: "#/" }, "canary"),
      when(() => state.service, () => h("span", h("span.dim", { "aria-hidden": "true" }, " / "), h("span", () => state.service)))),
    linked(), h("button.quiet", { type: "button", id: "theme", onclick: turn, title: "Colours" }, () => ({ dark: "Dark", light: "Light" })[document.documentElement.dataset.theme ?? ""] ?? "System"),
    session(go)),
  told(),
  h("main",
    when(() => !["live", "opening"].includes(state.link.mode) && state.link.why, away),
    each(() => (state.service && state.view ? [state] : []), () => state.service, onePage),
    when(() => !state.service && state.list, () => services(changed)),
    when(() => !state.view && !state.list && state.link.mode === "opening", () => h("p.dim", "Asking the proxy…"))),
  h("footer.foot", h("span", () => state.said), h("span.dim", () => (state.session ? `canary-trio ${state.session.version}` : ""))));

/** What the address names; nothing, where that cannot be read. */
const named = () => { try { return decodeURIComponent(location.hash.slice(2)); } catch { return ""; } };

/** Look at what the address names. */
function go() {
  news?.end();
  news = null;
  const own = state.session?.service ?? "";
  const service = (location.hash.startsWith("#/") ? named() : own.startsWith("@") ? "" : own) || null;
  show(service);
  document.title = service ? `${service} · canary` : "canary";
  if (!state.session?.role) {
    state.link = { mode: "refused", heard: 0, why: "Nobody is logged in." };
    if (!find("dialog")) login(go);
    return changed();
  }
  news = new News(service, take, (mode, why, heard) => {
    state.link = { mode, why, heard };
    changed();
  });
}

function draw() {
  update(root, state);
  edited?.follow();
  followHistory();
  if (state.view?.rollout) document.title = `${state.service} · ${state.view.rollout.phase}`;
}

async function begin() {
  try { document.documentElement.dataset.theme = localStorage.getItem("theme") ?? ""; } catch { /* as the system has it */ }
  document.body.append(root);
  follow(draw);
  addEventListener("hashchange", go);
  setInterval(() => { if (!document.hidden) changed(); }, 1000);
  for (;;) {
    try {
      await readSession();
      break;
    } catch (exc) {
      state.link = { mode: "lost", heard: 0, why: exc.message };
      changed();
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
  go();
}

begin();
