// What is known of one job and of its events.

import { copy, h } from "./dom.js";
import { age, counted, moment } from "./format.js";
import { jsonView } from "./json.js";

export function jobFacts(job) {
  return h("dl", { class: "facts" }, [
    ["Job", h("code", {}, job.title)],
    ["Holds", `${counted(job.events, "event")}, ${job.bytes.toLocaleString("en-US")} bytes`],
  ].map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

// From the acceptance to what comes next, as far as the queue knows it.
export function jobLife(job, now) {
  const since = (at) => `${moment(at)}, ${age(now - at)} ago`;
  const steps = [["good", "Accepted by the queue", job.created_at ? since(job.created_at) : "when is not known"]];
  if (job.attempts) steps.push(["bad", counted(job.attempts, "failed attempt"), job.state === "failed" ? "" : "the data plane did not take it yet"]);
  if (job.state === "failed") steps.push(["bad", `Failed for good: ${job.reason}`, job.failed_at ? since(job.failed_at) : ""]);
  else if (job.state === "leased") steps.push(["", "Being sent", "a processor holds it"]);
  else if (job.state === "delayed") steps.push(["", "Next attempt", job.next_attempt_at > now ? `in ${age(Math.ceil(job.next_attempt_at - now))}` : "due now"]);
  else steps.push(["", "Waits for a processor", job.attempts ? "tried before" : "not tried yet"]);
  return h("ol", { class: "life" }, steps.map(([level, what, when]) => h("li", { class: level }, h("b", {}, what), h("span", { class: "dim" }, when))));
}

// One event, folded to a line; its JSON is built when it is opened. *actions* are buttons below the line.
export function eventFold(event, isOpen, ...actions) {
  const fold = h("details", { open: isOpen }, h("summary", {}, h("span", { class: "tag" }, event.type || "event"), h("b", {}, event.name || event.message_id), h("span", { class: "dim" }, event.user)));
  const fill = () => {
    if (!fold.open || fold.childElementCount !== 1) return;
    const copies = [h("button", { class: "small", onclick: () => copy(event.curl, "as curl") }, "Copy as curl"), h("button", { class: "small", onclick: () => copy(event.json, "the JSON") }, "Copy JSON")];
    const tracked = event.timestamp && h("span", { class: "dim" }, `Tracked ${event.timestamp}`);
    fold.append(h("div", { class: "row event-actions" }, copies, actions, tracked), jsonView(event.json));
  };
  fold.addEventListener("toggle", fill);
  fill();
  return fold;
}
