// The frame: which page is shown, the one look a second, and the keyboard.

import { get, inTurn } from "./api.js";
import { h, icon, setClass, setText, show } from "./dom.js";
import { compact, count, counted } from "./format.js";
import { eventsPage } from "./events.js";
import { failuresPage } from "./failures.js";
import { overviewPage } from "./overview.js";
import { switcher } from "./switcher.js";
import { trailPage } from "./trail.js";

const LOOK_EVERY = 1000;
const KEPT = 300;

// What every page may read. A page has: root, update(state), and optionally enter(state), leave(), key(event).
const state = { overview: null, samples: [], error: null, skew: 0 };

const pages = [
  { id: "overview", hash: "#/", title: "Overview", make: overviewPage },
  { id: "failures", hash: "#/failures", title: "Failures", make: failuresPage },
  { id: "events", hash: "#/events", title: "Events", make: eventsPage },
  { id: "trail", hash: "#/trail", title: "Trail", make: trailPage },
];
const main = document.getElementById("main");
const links = new Map();
let current = null;
let timer = 0;
const begin = inTurn();

function buildNav() {
  const nav = document.getElementById("nav");
  for (const page of pages) {
    const badge = h("span", { class: "badge", hidden: true });
    const link = h("a", { href: page.hash }, icon(page.id), h("span", { class: "label" }, page.title), badge);
    links.set(page.id, { link, badge });
    nav.append(link);
  }
}

const toQueues = h("a", { href: "../../", hidden: true }, icon("queues"), h("span", { class: "label" }, "Queues"));
const others = switcher();

const foot = {
  dot: h("span", { class: "dot" }),
  link: h("span", {}, "Connecting"),
  queue: h("div", { class: "queue-name" }),
  readOnly: h("span", { class: "tag", hidden: true }, "Read-only"),
};

function route() {
  const path = location.hash.split("?")[0].replace("#/jobs", "#/failures");
  const page = pages.find((each) => each.hash === path) ?? pages[0];
  if (current?.id === page.id) {
    current.view.go?.();
    return;
  }
  current?.view.leave?.();
  page.view ??= page.make({ refresh: look });
  current = page;
  for (const [id, { link }] of links) {
    if (id === page.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren(page.view.root);
  document.title = `${page.title} · eventspool`;
  window.scrollTo(0, 0);
  page.view.enter?.(state);
  if (state.overview) page.view.update(state);
}

async function look() {
  clearTimeout(timer);
  const isLatest = begin();
  try {
    const since = state.samples.at(-1)?.at ?? 0;
    const overview = await get("overview", { since });
    if (!isLatest()) return;
    const samples = overview.samples.filter((sample) => sample.at > since);
    state.samples = [...state.samples, ...samples].slice(-KEPT);
    state.overview = overview;
    state.skew = Date.now() / 1000 - overview.now;
    state.error = null;
  } catch (error) {
    if (!isLatest()) return;
    state.error = error;
  }
  drawFrame();
  if (state.overview || state.error) current.view.update(state);
  holdChanges();
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, LOOK_EVERY);
}

// While the queue or the dashboard is away, the figures are old: nothing is changed on their account.
const CHANGES = /^(Retry|Purge|Edit|Send|Resend|Pause|Resume|Apply)\b/;

function holdChanges() {
  for (const button of main.querySelectorAll("button")) {
    if (state.error && !button.disabled && CHANGES.test(button.textContent.trim())) {
      button.disabled = true;
      button.dataset.held = "";
    } else if (!state.error && "held" in button.dataset) {
      button.disabled = false;
      delete button.dataset.held;
    }
  }
}

function drawFrame() {
  const { overview, error } = state;
  setClass(foot.dot, `dot ${error ? "bad" : "good"}`);
  setText(foot.link, error ? (error.status === 503 ? "Queue not reachable" : "Not connected") : "Live");
  if (!overview) return;
  setText(foot.queue, overview.queue);
  foot.queue.title = overview.queue;
  show(foot.queue, !overview.several);
  show(toQueues, overview.several);
  others.update(overview);
  show(foot.readOnly, overview.read_only);
  const { badge } = links.get("failures");
  const failed = overview.stats.failed.events;
  show(badge, failed > 0);
  setText(badge, compact(failed));
  badge.setAttribute("aria-label", `${count(failed)} failed`);
  badge.title = counted(failed, "failed event");
}

function shortcuts() {
  const rows = [
    ["1 2 3 4", "go to a page"],
    ...(state.overview?.several ? [["0", "all queues"]] : []),
    ["j k", "next, previous in a list"],
    ["Enter", "open"],
    ["r", "retry what is open"],
    ["/", "search"],
    ["Esc", "close"],
    ["?", "this list"],
  ];
  const dialog = h(
    "dialog",
    { class: "keys", "aria-label": "Keyboard" },
    h("form", { method: "dialog" }, h("h2", {}, "Keyboard"),
      h("dl", {}, rows.map(([keys, what]) => [h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, what)])),
      h("div", { class: "row end" }, h("button", {}, "Close"))),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// j and k move the focus among the elements marked data-row.
function step(direction) {
  const rows = [...main.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + direction))]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    document.activeElement?.blur?.();
    current.view.key?.(event);
    return;
  }
  if (event.target.closest?.("input, textarea, select")) return;
  if (/^[1234]$/.test(event.key)) location.hash = pages[Number(event.key) - 1].hash;
  else if (event.key === "0" && state.overview?.several) location.href = "../../";
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "?") shortcuts();
  else {
    current.view.key?.(event);
    return;
  }
  event.preventDefault();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
window.addEventListener("hashchange", route);
buildNav();
document.getElementById("nav").prepend(toQueues);
document.getElementById("foot").append(
  foot.queue,
  others.root,
  h("div", { class: "row" }, foot.dot, foot.link, foot.readOnly),
  h("button", { class: "quiet keys-button", onclick: shortcuts }, "Keyboard ", h("kbd", {}, "?")),
);
main.replaceChildren();
route();
look();
