// Events: what arrives at the local data plane, the life of each event, and faults on demand.

import { get, inTurn, post } from "./api.js";
import { copy, h, icon, keyed, setClass, setText, show, toast } from "./dom.js";
import { count, counted, latency, moment, statusLevel } from "./format.js";
import { jsonView } from "./json.js";

const FAULTS = [
  ["Healthy", "", "Takes everything"],
  ["Down", "status=503", "Answers 503 to all"],
  ["Flaky", "status=503,p=0.3", "Answers 503 to three in ten"],
  ["Busy", "status=429,retry_after=5", "Answers 429, come back in 5 s"],
  ["Slow", "latency=1..3", "Answers 1 to 3 s late"],
  ["Ambiguous", "drop=after,record,p=0.3", "Takes it, but breaks the connection"],
  ["Key refused", "status=401", "Answers 401: the write key is wrong"],
  ["Outage", "outage,to=20", "Nothing listens for 20 s"],
];
const LOOK_EVERY = 1000;

function emptyWithout() {
  return h("div", { class: "page" }, h("h1", {}, "Events"),
    h("div", { class: "card empty tall" }, h("b", {}, "See every event as it arrives"),
      h("p", {}, "This page needs a local data plane: one that takes your events, keeps them on this machine, and fails on demand."),
      h("ol", {}, h("li", {}, "Start one: ", h("code", {}, "eventspool dataplane")),
        h("li", {}, "Point your client at it: ", h("code", {}, 'data_plane_url="http://127.0.0.1:8123"')),
        h("li", {}, "Show it here: ", h("code", {}, "eventspool dashboard --dataplane http://127.0.0.1:8123"))),
      h("p", {}, "To develop an application, ", h("code", {}, "eventspool dev"), " runs both at once.")));
}

export function eventsPage() {
  const view = { events: [], open: null, live: true, readOnly: true, known: false };
  const begin = inTurn();
  let timer = 0;
  let active = false;
  const shell = h("div", {});

  const search = h("input", { type: "search", id: "search", placeholder: "Search names, users, properties …", "aria-label": "Search events", autocomplete: "off", spellcheck: "false", oninput: () => load() });
  const liveText = h("span", {}, "Live");
  const live = h("button", { "aria-pressed": "true", onclick: toggleLive }, icon("pause"), liveText);
  const list = h("ul", { class: "inbox" });
  const empty = h("div", { class: "empty" });
  const detail = h("aside", { class: "detail", hidden: true, "aria-label": "The event that is open" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const counts = h("p", { class: "dim counts" });
  const faultNow = h("span", { class: "tag" });
  const chips = FAULTS.map(([name, rule, meaning]) => ({ rule, root: h("button", { class: "chip", title: meaning, "aria-pressed": "false", onclick: () => setFault(rule ? [rule] : []) }, name) }));
  const ruleInput = h("input", { id: "rule", placeholder: "reject=events,event=Poison", autocomplete: "off", spellcheck: "false", "aria-label": "A fault rule" });
  const ruleForm = h("form", { class: "row", onsubmit: (event) => (event.preventDefault(), setFault(ruleInput.value.trim() ? [ruleInput.value.trim()] : [])) }, ruleInput, h("button", {}, "Apply"));
  const faults = h("section", { class: "card faults" }, h("div", { class: "row between" }, h("h2", {}, "Faults"), faultNow),
    h("div", { class: "chips", role: "group", "aria-label": "Faults of the local data plane" }, chips.map((chip) => chip.root)), ruleForm);
  const page = h("div", { class: "page" }, h("h1", {}, "Events"), faults, problem,
    h("div", { class: "row toolbar" }, h("div", { class: "search grow" }, icon("search"), search), live), counts,
    h("div", { class: "split" }, h("section", { class: "card list-card" }, list, empty), detail));

  async function load() {
    clearTimeout(timer);
    if (!active) return;
    const isLatest = begin();
    const asked = search.value;
    try {
      const answer = await get("inbox", { search: asked });
      if (!isLatest()) return;
      drawStats(answer.stats);
      if (view.live || asked !== view.searched) draw(answer.events, asked);
      show(problem, false);
    } catch (error) {
      if (!isLatest()) return;
      setText(problem, error.status === 502 ? "The local data plane does not answer. It may be in an outage, or not be running." : error.message);
      show(problem, true);
    }
    clearTimeout(timer);
    if (active && !document.hidden) timer = setTimeout(load, LOOK_EVERY);
  }

  function drawStats(stats) {
    setText(counts, `${counted(stats.requests, "request")}, ${counted(stats.unique, "event")}${stats.duplicates ? `, ${counted(stats.duplicates, "repeat")}` : ""}`);
    const rules = Object.entries(stats.faults);
    const text = rules.map(([rule, fired]) => `${rule} · fired ${count(fired)}×`).join("; ");
    setText(faultNow, text || "healthy");
    setClass(faultNow, `tag ${rules.length ? "bad" : "good"}`);
    const now = rules.map(([rule]) => rule).join(";");
    for (const { rule, root } of chips) root.setAttribute("aria-pressed", String(rule === now));
  }

  function draw(events, searched) {
    view.events = events;
    view.searched = searched;
    keyed(list, events, (event) => event.key, makeRow, (row, event) => {
      setText(row.when, moment(event.arrived_at));
      setText(row.tries, event.tries > 1 ? `${event.tries} tries` : "");
      show(row.tries, event.tries > 1);
      setClass(row.root, view.open === event.key ? "open" : "");
    });
    show(empty, events.length === 0);
    if (events.length === 0) {
      const title = searched ? "No event matches" : "Waiting for the first event";
      empty.replaceChildren(h("b", {}, title), h("p", {}, searched ? "The last 500 events were searched, all of their content." : "Track one, and it shows up here within a second."));
    }
  }

  function makeRow(event) {
    const parts = { when: h("span", { class: "job-when" }), tries: h("span", { class: "tag warn" }) };
    const button = h("button", { class: "job", "data-row": true, onclick: () => open(event.key) },
      h("span", { class: "job-title" }, event.name || event.type), parts.when,
      h("span", { class: "job-why" }, h("span", { class: "tag" }, event.type), " ", event.user), h("span", { class: "job-size" }, parts.tries));
    return { root: h("li", {}, button), button, ...parts };
  }

  async function open(key) {
    view.open = key;
    for (const [each, row] of list.keyedChildren ?? []) setClass(row.root, each === key ? "open" : "");
    let event;
    try {
      event = await get("event", { id: key });
    } catch (error) {
      toast(error.message, "bad");
      return;
    }
    if (view.open !== key) return;
    const tracked = Date.parse(event.life[0].moment) / 1000;
    const life = event.life.map((step) => {
      if (step.what === "tracked") {
        const text = Number.isFinite(tracked) ? moment(tracked) : step.moment;
        return h("li", { class: "good" }, h("b", {}, "Tracked"), h("span", { class: "dim" }, text));
      }
      const later = step.at - tracked;
      const took = step.recorded ? "taken" : "not taken";
      return h("li", { class: step.recorded && statusLevel(step.status) === "good" ? "good" : "bad" }, h("b", {}, `Sent: ${step.status}, ${took}`),
        h("span", { class: "dim" }, `${moment(step.at)}${later >= 0 ? `, ${latency(later)} later` : ""} · with ${counted(step.events ?? 0, "event")}${step.fault ? ` · fault ${step.fault}` : ""}`));
    });
    detail.replaceChildren(
      h("div", { class: "row between" }, h("h2", {}, event.name || event.type), h("button", { class: "quiet square", "aria-label": "Close", onclick: close }, icon("close"))),
      h("div", { class: "row" }, h("button", { onclick: () => copy(event.curl, "as curl") }, "Copy as curl"), h("button", { onclick: () => copy(event.python, "as Python") }, "Copy as Python"), h("button", { onclick: () => copy(event.json, "the JSON") }, "Copy JSON")),
      h("h3", {}, "Life"),
      h("ol", { class: "life" }, life),
      h("h3", {}, "Event"),
      jsonView(event.json),
    );
    show(detail, true);
    document.body.classList.add("has-detail");
  }

  function close() {
    const row = list.keyedChildren?.get(view.open);
    view.open = null;
    show(detail, false);
    document.body.classList.remove("has-detail");
    if (row) {
      setClass(row.root, "");
      row.button.focus();
    }
  }

  async function setFault(rules) {
    try {
      await post("faults", { rules });
      toast(rules.length ? `Fault: ${rules.join(", ")}` : "The data plane is healthy");
    } catch (error) {
      toast(error.message, "bad");
    }
    load();
  }

  function toggleLive() {
    view.live = !view.live;
    live.setAttribute("aria-pressed", String(view.live));
    setText(liveText, view.live ? "Live" : "Go on");
    live.firstChild.replaceWith(icon(view.live ? "pause" : "resume"));
  }

  return {
    root: shell,
    enter() {
      active = true;
      if (view.known) load();
    },
    leave() {
      active = false;
      clearTimeout(timer);
      close();
    },
    update({ overview }) {
      if (!overview) return;
      view.readOnly = overview.read_only;
      for (const element of faults.querySelectorAll("button, input")) element.disabled = view.readOnly;
      if (shell.childElementCount) return;
      view.known = overview.dataplane !== null;
      shell.append(view.known ? page : emptyWithout());
      if (view.known) load();
    },
    key(event) {
      if (event.key === "Escape" && view.open) close();
      if (event.key === "/" && view.known) {
        event.preventDefault();
        search.focus();
      }
    },
  };
}
