/** The shares by hand: a slider for each arm, which says who moves before it is let go. */
import { ask, of } from "../news.js";
import { confirm, write } from "../dialog.js";
import { each, h, when } from "../dom.js";
import { card, percent } from "../shown.js";
import { canWrite, changed, state } from "../store.js";
import { swatch } from "./arms.js";

const ASK_MS = 120;

export const assignment = (arm, share) =>
  `${/^[A-Za-z_$][\w-]*$/.test(arm) ? `ratio.${arm}` : `ratio[${JSON.stringify(arm)}]`}=${Number(share.toFixed(4))}`;

function row(arm) {
  let drawn = null;
  let moves = "";
  let timer = 0;
  const shown = (one) => drawn ?? one.asked;

  async function tell(share) {
    try {
      const found = await ask("POST", of(state.service, "/preview"), { assignments: [assignment(arm().name, share)] });
      if (drawn === share) moves = found.valid ? found.moves?.words ?? "" : found.problems.map((one) => `${one.path}: ${one.expected}`).join("; ");
    } catch (exc) {
      moves = exc.message;
    }
    changed();
  }

  function draw(text) {
    const share = Number(text) / 100;
    if (!(share >= 0 && share <= 1)) return;
    drawn = share;
    moves = `moves ${percent(Math.abs(share - arm().asked))} of users`;
    clearTimeout(timer);
    timer = setTimeout(tell, ASK_MS, share);
    changed();
  }

  async function let_go() {
    if (drawn === null || Math.abs(drawn - arm().asked) < 0.00005) return end();
    const share = drawn;
    await confirm({
      title: `Set ${arm().name} to ${percent(share)}`,
      verb: `Set to ${percent(share)}`,
      keeps: true,
      danger: share > arm().asked + 0.2,
      lines: () => [`${arm().name}: ${percent(arm().asked)} → ${percent(share)} of traffic`],
      proposal: { assignments: [assignment(arm().name, share)] },
      send: write("PATCH", "/document", { assignments: [assignment(arm().name, share)] }),
    });
    end();
  }

  function end() {
    drawn = null;
    moves = "";
    clearTimeout(timer);
    changed();
  }

  const field = (type) =>
    h("input", { type, min: 0, max: 100, step: type === "range" ? 0.5 : 0.01, "aria-label": (one) => `Share of ${one.name} in percent${type === "range" ? ", slider" : ""}`,
      value: (one) => Number((shown(one) * 100).toFixed(2)),
      oninput: (event) => draw(event.target.value), onchange: let_go });
  return h("div.share", {},
    h("span", {}, swatch(), h("b", {}, (one) => one.name)),
    field("range"), field("number"), h("span.unit", { "aria-hidden": "true" }, "%"),
    h("output", {}, () => moves));
}

export const split = () =>
  h("div", {}, when(() => canWrite() && state.view.arms.length > 1, () =>
    card("split", "Shares", each(() => state.view.arms.filter((one) => one.name !== "stable"), (one) => one.name, row))));
