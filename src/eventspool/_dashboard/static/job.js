// What is known of one job and of its events.

import { get } from "./api.js";
import { copy, h, icon, show } from "./dom.js";
import { editable } from "./edit.js";
import { age, count, counted, moment } from "./format.js";
import { jsonView } from "./json.js";

// Fills *detail* with the job that is open. *edited* is called after one of its events was; null where none may be.
export async function showJob(detail, job, { now, actions, close, edited, isOpen }) {
  const events = h("div", { class: "event-list" }, h("p", { class: "dim" }, "Reading …"));
  const parts = [
    h("div", { class: "row between" }, h("h2", {}, counted(job.events, "event")), h("button", { class: "quiet square", "aria-label": "Close", onclick: close }, icon("close"))),
    job.error && h("p", { class: "problem" }, job.error),
    h("div", { class: "row" }, actions),
    h("h3", {}, "Events"),
    events,
    h("h3", {}, "Life"),
    jobLife(job, now),
    jobFacts(job),
  ];
  detail.replaceChildren(...parts.filter(Boolean));
  show(detail, true);
  document.body.classList.add("has-detail");
  // Beside a list that begins low on the page, the job would open below the fold.
  if (detail.getBoundingClientRect().top > window.innerHeight / 3) detail.parentElement.scrollIntoView({ block: "start" });
  await readEvents(job, events, 0, { edited, isOpen });
}

async function readEvents(job, into, from, about) {
  try {
    const answer = await get(`jobs/${encodeURIComponent(job.id)}`, { from });
    if (!about.isOpen()) return;
    const fold = (event, index) => eventFold(event, index === 0);
    const change = (event, index) => editable(fold(event, index), { job: job.id, index, event, done: about.edited });
    const made = answer.events.map((event, place) => (about.edited ? change : fold)(event, from + place));
    const next = from + answer.events.length;
    const rest = next < answer.total && h("button", { class: "quiet", onclick: (click) => (click.target.remove(), readEvents(job, into, next, about)) }, `Show more of ${count(answer.total)}`);
    if (from === 0) into.replaceChildren();
    into.append(...made, ...(rest ? [rest] : []));
  } catch (error) {
    into.replaceChildren(h("p", { class: "problem" }, error.message));
  }
}

function jobFacts(job) {
  return h("dl", { class: "facts" }, [
    ["Job", h("code", {}, job.title)],
    ["Holds", `${counted(job.events, "event")}, ${job.bytes.toLocaleString("en-US")} bytes`],
  ].map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

// From the acceptance to what comes next, as far as the queue knows it.
function jobLife(job, now) {
  const since = (at) => `${moment(at)}, ${age(now - at)} ago`;
  const steps = [["good", "Accepted by the queue", job.created_at ? since(job.created_at) : "when is not known"]];
  if (job.attempts) steps.push(["bad", counted(job.attempts, "failed attempt"), job.state === "failed" ? "" : "the data plane did not take it yet"]);
  if (job.state === "failed") steps.push(["bad", `Failed for good: ${job.reason}`, job.failed_at ? since(job.failed_at) : ""]);
  else if (job.state === "leased") steps.push(["", "Being sent", "a processor holds it"]);
  else if (job.state === "delayed") steps.push(["", "Next attempt", job.next_attempt_at > now ? `in ${age(Math.ceil(job.next_attempt_at - now))}` : "due now"]);
  else steps.push(["", "Waits for a processor", job.attempts ? "tried before" : "not tried yet"]);
  return h("ol", { class: "life" }, steps.map(([level, what, when]) => h("li", { class: level }, h("b", {}, what), h("span", { class: "dim" }, when))));
}

// One event, folded to a line; its JSON is built when it is opened.
function eventFold(event, isOpen) {
  const fold = h("details", { open: isOpen }, h("summary", {}, h("span", { class: "tag" }, event.type || "event"), h("b", {}, event.name || event.message_id), h("span", { class: "dim" }, event.user)));
  const fill = () => {
    if (!fold.open || fold.childElementCount !== 1) return;
    const copies = [h("button", { class: "small", onclick: () => copy(event.curl, "as curl") }, "Copy as curl"), h("button", { class: "small", onclick: () => copy(event.json, "the JSON") }, "Copy JSON")];
    const tracked = event.timestamp && h("span", { class: "dim" }, `Tracked ${event.timestamp}`);
    fold.append(h("div", { class: "row event-actions" }, copies, tracked), jsonView(event.json));
  };
  fold.addEventListener("toggle", fill);
  fill();
  return fold;
}
