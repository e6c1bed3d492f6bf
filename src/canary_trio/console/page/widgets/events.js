/** What happened last. */
import { each, h } from "../dom.js";
import { card, clock, mark } from "../shown.js";
import { state } from "../store.js";

const KINDS = { info: "idle", warning: "warn", error: "bad" };

export const events = () =>
  card("events", "Events",
    h("ol.events", {}, each(() => state.view.events, (one) => one.number, () =>
      h("li", {}, h("time.dim", {}, (one) => clock(one.time)), " ",
        mark((one) => KINDS[one.level] ?? "idle", (one) => one.kind), " ", (one) => one.message))),
    h("p.dim", { hidden: () => state.view.events.length }, "Nothing yet."));
