// A search that runs: it asks again and again with the cursor of the last answer, and tells how far it has looked.

import { get } from "./api.js";
import { h, keyed, setText, show } from "./dom.js";
import { age, count, counted, moment } from "./format.js";

const ENOUGH = 50;

// draw() is called with each answer. A search ends where enough is found, all is looked through, or another one begins.
export function searcher(draw) {
  let turn = 0;
  let asked = {};
  const view = { jobs: [], groups: [], found: 0, lookedAt: 0, of: 0, unreadable: 0, next: null, running: false, error: null, now: 0 };

  async function run(enough) {
    const mine = (turn += 1);
    Object.assign(view, { running: true, error: null });
    draw();
    do {
      let answer;
      try {
        answer = await get("search", { ...asked, cursor: view.next });
      } catch (error) {
        if (mine === turn) Object.assign(view, { error, running: false });
        break;
      }
      if (mine !== turn) return;
      add(answer);
      view.running = view.next !== null && view.jobs.length < enough && !document.hidden;
      draw();
    } while (view.running);
    if (mine === turn) draw();
  }

  function add(answer) {
    const known = new Set(view.jobs.map((job) => job.id)); // a job that moved on meanwhile comes twice
    view.jobs.push(...answer.jobs.filter((job) => !known.has(job.id)));
    for (const group of answer.groups) {
      const same = view.groups.find((each) => keyOf(each) === keyOf(group));
      if (same) Object.assign(same, { jobs: same.jobs + group.jobs, events: same.events + group.events, first: Math.min(same.first, group.first), last: Math.max(same.last, group.last) });
      else view.groups.push(group);
    }
    view.found += answer.found;
    view.lookedAt += answer.looked_at;
    view.unreadable += answer.unreadable;
    Object.assign(view, { of: Math.max(answer.of, view.lookedAt), next: answer.next, now: answer.now });
  }

  return {
    view,
    start(parameters) {
      asked = parameters;
      Object.assign(view, { jobs: [], groups: [], found: 0, lookedAt: 0, of: 0, unreadable: 0, next: null });
      return run(ENOUGH);
    },
    lookOn: () => run(view.jobs.length + ENOUGH),
    stop() {
      turn += 1;
      view.running = false;
      draw();
    },
  };
}

// "Looked at 12,000 of 1,000,000 jobs, found 120" and the button that stops the search or looks on.
export function progressLine(search) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "How far the search has looked" });
  const text = h("span", { role: "status" });
  const stop = h("button", { class: "small", onclick: () => (search().view.running ? search().stop() : search().lookOn()) });
  const root = h("div", { class: "how-far row" }, bar, h("span", { class: "grow" }, text), stop);
  return {
    root,
    update(view) {
      bar.max = Math.max(view.of, 1);
      bar.value = view.next === null ? bar.max : view.lookedAt;
      const unreadable = view.unreadable ? `, ${count(view.unreadable)} not readable (encrypted, or damaged)` : "";
      const all = view.next === null && !view.running ? `all ${counted(view.of, "job")}` : `${count(view.lookedAt)} of ${counted(view.of, "job")}`;
      setText(text, view.error ? view.error.message : `Looked at ${all}, found ${count(view.found)}${unreadable}`);
      show(stop, view.running || view.next !== null);
      setText(stop, view.running ? "Stop" : "Look on");
    },
  };
}

const keyOf = (group) => JSON.stringify([group.state, group.reason, group.error_text, group.event, group.event_text]);

// What failed by reason, error and name of the event, with the first and the last time: the most first.
export function groupTable(pick) {
  const body = h("tbody", {});
  const root = h("table", { class: "plain causes" },
    h("thead", {}, h("tr", {}, ["Event", "Why", "Events", "First seen", "Last seen"].map((name) => h("th", { scope: "col", class: name === "Events" ? "number" : null }, name)))), body);
  const make = (group) => {
    const parts = { events: h("td", { class: "number" }), first: h("td", {}), last: h("td", {}) };
    const name = h("button", { class: "link", "data-row": true, onclick: () => pick(group) }, group.event || "no name");
    const why = h("td", { class: "why" }, h("span", { class: "tag bad" }, group.reason || group.state), " ", group.error);
    return { root: h("tr", {}, h("th", { scope: "row" }, name), why, parts.events, parts.first, parts.last), ...parts };
  };
  return {
    root,
    update(view) {
      const groups = [...view.groups].sort((a, b) => b.events - a.events).slice(0, 100);
      keyed(body, groups, keyOf, make, (row, group) => {
        setText(row.events, count(group.events));
        setText(row.first, `${age(view.now - group.first)} ago`);
        setText(row.last, `${age(view.now - group.last)} ago`);
        row.first.title = moment(group.first);
        row.last.title = moment(group.last);
      });
    },
  };
}
