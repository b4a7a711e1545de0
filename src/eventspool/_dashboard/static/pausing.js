// Why the queue is paused: asked of who pauses it, and told to everybody else.

import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { age } from "./format.js";

// Resolves to the reason, which may be "", or to null where the reader goes back.
export async function askReason() {
  const input = h("input", { id: "pause-reason", maxlength: "300", autocomplete: "off", placeholder: "the warehouse moves, until 14:00" });
  const body = [h("p", {}, "Workers take no more events. New ones are accepted as before."), h("label", { for: "pause-reason" }, "Why (for whoever finds it paused)"), input];
  const chosen = await ask({ title: "Pause delivery?", body, actions: [["pause", "Pause", "primary"]], focus: input });
  return chosen ? input.value.trim() : null;
}

export function tellPause(pause, now) {
  if (!pause) return "";
  const who = `Paused by ${pause.actor}, ${age(now - pause.since)} ago`;
  return pause.reason ? `${who}: ${pause.reason}` : `${who}.`;
}
