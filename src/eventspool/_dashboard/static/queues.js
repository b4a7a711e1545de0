// Queues: how each of them stands, the worst first. A row leads into its queue.

import { get } from "./api.js";
import { h, icon, keyed, setClass, setText, show } from "./dom.js";
import { age, count, counted, latency, moment, rate } from "./format.js";

const LOOK_EVERY = 2000;
const MANY = 8;
const COLUMNS = [["Queue", ""], ["In the queue", "number"], ["Oldest", "number wide"], ["In /s", "number wide"], ["Out /s", "number wide"], ["Lag, 95 %", "number wide"], ["Failed", "number"], ["Full", "number wide"], ["Processors", "number wide"]];
const UNKNOWN = { level: "bad", title: "Cannot be reached", detail: "" };

const title = h("h1", { id: "verdict" }, "Connecting …");
const detail = h("p", { class: "detail-line" });
const banner = h("section", { class: "verdict", "aria-live": "polite" }, h("span", { class: "pulse" }), h("div", { class: "grow" }, title, detail));
const search = h("input", { id: "search", type: "search", placeholder: "Find a queue by its name", autocomplete: "off", spellcheck: "false", oninput: () => draw() });
const searchBox = h("div", { class: "search", hidden: true }, icon("search"), h("label", { class: "offscreen", for: "search" }, "Find a queue"), search);
const body = h("tbody", {});
const head = h("tr", {}, COLUMNS.map(([text, name]) => h("th", { scope: "col", class: name || null }, text)));
const table = h("section", { class: "card" }, h("table", { class: "plain queues" }, h("thead", {}, head), body));
const none = h("p", { class: "empty-note", hidden: true }, "No queue has that in its name.");
const page = h("div", { class: "page" }, banner, searchBox, table, none);
const dot = h("span", { class: "dot" });
const link = h("span", {}, "Connecting");
const readOnly = h("span", { class: "tag", hidden: true }, "Read-only");
let seen = null;
let error = null;
let timer = 0;

function makeRow({ key }) {
  const parts = {
    dot: h("i", { class: "dot" }), link: h("a", { href: `q/${key}/`, "data-row": true }), state: h("span", { class: "tag" }), why: h("div", { class: "why" }),
    pending: h("td", { class: "number" }), oldest: h("td", { class: "number wide" }), into: h("td", { class: "number wide" }), out: h("td", { class: "number wide" }),
    lag: h("td", { class: "number wide" }), failed: h("td", { class: "number" }), full: h("td", { class: "number wide" }), processors: h("td", { class: "number wide" }),
  };
  const cells = [parts.pending, parts.oldest, parts.into, parts.out, parts.lag, parts.failed, parts.full, parts.processors];
  return { root: h("tr", {}, h("th", { scope: "row" }, parts.dot, parts.link, " ", parts.state, parts.why), cells), ...parts };
}

function drawRow(row, queue) {
  const verdict = queue.verdict ?? { ...UNKNOWN, detail: queue.error };
  const known = (text) => (queue.verdict ? text : "–");
  setClass(row.root, `level-${verdict.level}`);
  setClass(row.dot, `dot ${{ ok: "good", idle: "" }[verdict.level] ?? verdict.level}`);
  setText(row.link, queue.name);
  row.link.title = queue.name;
  show(row.state, queue.paused === true);
  setText(row.state, "paused");
  setText(row.why, queue.verdict ? verdict.title : queue.error);
  setText(row.pending, known(count(queue.pending ?? 0)));
  setText(row.oldest, known(queue.oldest_age ? age(queue.oldest_age) : "–"));
  setText(row.into, known(rate(queue.into)));
  setText(row.out, known(rate(queue.out)));
  setText(row.lag, known(latency(queue.lag_p95)));
  const soon = queue.full_in !== null && queue.full_in !== undefined && queue.full_in < 31 * 86400 ? `, full in ${age(queue.full_in)}` : "";
  setText(row.full, queue.fill === null || queue.fill === undefined ? "–" : `${Math.round(queue.fill * 100)} %${soon}`);
  setText(row.failed, known(count(queue.failed ?? 0)));
  setClass(row.failed, queue.failed ? "number alarm" : "number");
  setText(row.processors, known(count(queue.processors ?? 0)));
}

function draw() {
  setClass(page, error && seen ? "page stale" : "page");
  setClass(dot, `dot ${error ? "bad" : "good"}`);
  setText(link, error ? "Not connected" : "Live");
  if (seen) {
    const wanted = search.value.trim().toLowerCase();
    const shown = seen.queues.filter(({ name }) => name.toLowerCase().includes(wanted));
    keyed(body, shown, ({ key }) => key, makeRow, drawRow);
    show(searchBox, seen.queues.length > MANY || wanted !== "");
    show(table, shown.length > 0);
    show(none, shown.length === 0);
    show(readOnly, seen.read_only);
  }
  if (error) {
    setClass(banner, "verdict bad");
    setText(title, "The dashboard is not connected");
    setText(detail, `${error.message}${seen ? ` Below is what was seen at ${moment(seen.now)}.` : ""}`);
    return;
  }
  if (!seen) return;
  const bad = seen.queues.filter(({ verdict }) => !verdict || verdict.level === "bad").length;
  const warned = seen.queues.filter(({ verdict }) => verdict?.level === "warn").length;
  const all = counted(seen.queues.length, "queue");
  setClass(banner, `verdict ${bad ? "bad" : warned ? "warn" : "ok"}`);
  setText(title, bad + warned ? `${count(bad + warned)} of ${all} ${bad + warned === 1 ? "needs" : "need"} a look` : `${all}, and all is well`);
  const sum = (name) => seen.queues.reduce((total, each) => total + (each[name] ?? 0), 0);
  setText(detail, `${counted(sum("pending"), "event")} in the queues, ${count(sum("failed"))} failed.`);
}

async function look() {
  clearTimeout(timer);
  try {
    seen = await get("queues");
    error = null;
  } catch (problem) {
    error = problem;
  }
  draw();
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, Math.max(LOOK_EVERY, (seen?.queues.length ?? 0) * 100));
}

function step(direction) {
  const rows = [...body.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + direction))]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    search.value = "";
    document.activeElement?.blur?.();
    draw();
  } else if (event.target.closest?.("input")) return;
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/" && !searchBox.hidden) {
    search.focus();
    event.preventDefault();
  }
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
document.getElementById("nav").append(h("a", { href: "#main", "aria-current": "page" }, icon("queues"), h("span", { class: "label" }, "Queues")));
document.getElementById("foot").append(h("div", { class: "row" }, dot, link, readOnly));
document.getElementById("main").replaceChildren(page);
look();
