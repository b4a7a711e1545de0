// What the queue has noted of itself once a minute, for a day: charts begin with it, and not with the first look.

import { get } from "./api.js";
import { h } from "./dom.js";

const EVERY = 30_000;
const SPANS = [[300, "5 min"], [3600, "1 h"], [86_400, "24 h"]];

export function pastOf() {
  const known = new Map(); // the points, by the seconds that they span
  const askedAt = new Map();

  async function ask(seconds) {
    if (Date.now() - (askedAt.get(seconds) ?? -Infinity) < EVERY) return;
    askedAt.set(seconds, Date.now());
    try {
      known.set(seconds, (await get("history", { span: seconds })).points);
    } catch {
      // The next look at the queue says what is wrong.
    }
  }

  return {
    look: () => ask(3600),
    lag: () => known.get(3600)?.findLast((point) => point.lag_p50 !== null),
    // The live samples, behind what was before the first of them.
    joined(samples, now, seconds) {
      if (seconds > 3600) ask(seconds);
      const first = samples.find((sample) => sample.into !== null)?.at ?? now;
      const until = seconds > 300 ? now : first;
      const before = (known.get(Math.max(seconds, 3600)) ?? []).filter(({ at }) => at < until && at > now - seconds);
      const last = samples.at(-1);
      if (seconds <= 300) return [...before, ...samples.filter(({ at }) => at >= first)];
      return last && last.into !== null ? [...before, last] : before;
    },
  };
}

export function spans() {
  let chosen = SPANS[0][0];
  const buttons = SPANS.map(([seconds, text]) => h("button", { class: "small", "aria-pressed": String(seconds === chosen), onclick: () => choose(seconds) }, text));
  function choose(seconds) {
    chosen = seconds;
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(SPANS[index][0] === seconds)));
  }
  return { root: h("div", { class: "row spans", role: "group", "aria-label": "Time shown" }, buttons), seconds: () => chosen };
}
