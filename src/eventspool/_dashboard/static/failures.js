// Failures: what failed for good and why, what is being retried and when; and what to do about it.

import { askAgain, tryFirst } from "./again.js";
import { exportLink, get, inTurn, portions, post, save } from "./api.js";
import { confirmTyped, h, icon, keyed, setClass, setText, show, toast } from "./dom.js";
import { editable } from "./edit.js";
import { age, bytes, count, counted, moment } from "./format.js";
import { jsonView } from "./json.js";

const TABS = [
  ["failed", "Failed"],
  ["delayed", "Retrying"],
  ["waiting", "Waiting"],
  ["leased", "In flight"],
];
const EMPTY = {
  failed: ["Nothing failed", "Events that the data plane refuses, or that were tried too often, end up here. They stay until you retry, export or purge them."],
  delayed: ["Nothing is being retried", "A batch whose attempt failed waits here for its next one, a little longer each time."],
  waiting: ["Nothing waits", "Accepted events stand here until a processor takes them. Track some and they show up."],
  leased: ["Nothing is in flight", "Batches that a processor is sending right now."],
};
const FILTERED = "Only this reason is shown, and no job has it now. Others failed for other reasons.";
const UNFOUND = "Only this reason is shown, and none of the jobs looked through so far has it. “Show more” looks on.";
const JOBS_EVERY = 2000;

export function failuresPage({ refresh }) {
  const view = { tab: "failed", reason: null, selected: new Set(), open: null, jobs: [], titles: new Map(), limit: 50, pages: 1, skew: 0, readOnly: true };
  const begin = inTurn();
  let timer = 0;
  let active = false;

  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Jobs by state" });
  const tabParts = new Map();
  for (const [name, title] of TABS) {
    const number = h("span", { class: "count" });
    const button = h("button", { role: "tab", id: `tab-${name}`, onclick: () => choose(name) }, title, number);
    tabParts.set(name, { button, number });
    tabs.append(button);
  }
  tabs.addEventListener("keydown", (event) => {
    const shift = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!shift) return;
    const at = TABS.findIndex(([name]) => name === view.tab);
    const [next] = TABS[(at + shift + TABS.length) % TABS.length];
    choose(next);
    tabParts.get(next).button.focus();
  });
  const groups = h("div", { class: "groups" });
  const selectAll = h("input", { type: "checkbox", "aria-label": "Select all that are shown", onchange: toggleAll });
  const chosenText = h("span", { class: "dim" });
  const retryChosen = h("button", { onclick: () => retryAll(choice()) }, "Retry");
  const exportChosen = h("a", { class: "button", href: "#/failures", download: true }, "Export");
  const purgeChosen = h("button", { class: "danger-text", onclick: () => purge(choice()) }, "Purge …");
  const bar = h("div", { class: "bar" }, h("label", { class: "check" }, selectAll, chosenText), h("div", { class: "row end grow" }, retryChosen, exportChosen, purgeChosen));
  const list = h("ul", { class: "jobs" });
  const emptyTitle = h("b", {});
  const emptyText = h("p", {});
  const showAll = h("button", { onclick: () => pickReason(null) }, "Show all reasons");
  const empty = h("div", { class: "empty" }, emptyTitle, emptyText, showAll);
  const more = h("button", { class: "quiet", hidden: true, onclick: showMore }, "Show more");
  const detail = h("aside", { class: "detail", hidden: true, "aria-label": "The job that is open" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const root = h("div", { class: "page" }, h("h1", {}, "Failures and retries"), tabs, problem, groups,
    h("div", { class: "split" }, h("section", { class: "card list-card" }, bar, list, empty, more), detail));

  const choice = () => {
    if (view.selected.size) return { ids: [...view.selected] };
    return view.reason === null ? { all: true } : { reason: view.reason };
  };

  // A reason is somebody else's text, too: as the server shows it, with nothing hidden in it.
  const titleOf = (reason) => view.titles.get(reason) || "no reason";

  function choose(tab) {
    Object.assign(view, { tab, reason: null, jobs: [], limit: 50, pages: 1 });
    view.selected.clear();
    close();
    list.replaceChildren();
    list.keyedChildren = new Map();
    load();
    drawTabs();
  }

  function showMore() {
    view.limit += 100;
    view.pages += 1;
    load();
  }

  async function load() {
    clearTimeout(timer);
    const isLatest = begin();
    try {
      const answer = await get("jobs", { state: view.tab, reason: view.reason, limit: view.limit });
      // With a reason, one answer may have looked through many jobs and found few: "Show more" goes on from there.
      for (let page = 1; page < view.pages && answer.next !== null && answer.jobs.length < view.limit; page += 1) {
        const rest = { limit: view.limit - answer.jobs.length, after: answer.next };
        const found = await get("jobs", { state: view.tab, reason: view.reason, ...rest });
        answer.jobs.push(...found.jobs);
        answer.next = found.next;
      }
      if (!isLatest()) return;
      // Its group is gone, and with it the button that would show the others again.
      if (view.reason !== null && !answer.reasons.some((group) => group.reason === view.reason)) {
        await pickReason(null);
        return;
      }
      view.jobs = answer.jobs;
      view.skew = Date.now() / 1000 - answer.now;
      const there = new Set(answer.jobs.map((job) => job.id));
      for (const id of view.selected) if (!there.has(id)) view.selected.delete(id);
      show(more, answer.next !== null);
      show(problem, false);
      drawGroups(answer.reasons);
      drawJobs();
    } catch (error) {
      if (!isLatest()) return;
      setText(problem, error.message);
      show(problem, true);
    }
    clearTimeout(timer);
    if (active && !document.hidden) timer = setTimeout(load, JOBS_EVERY);
  }

  async function act(path, body, done) {
    try {
      const answer = await post(path, { state: view.tab, ...body });
      toast(done(answer));
    } catch (error) {
      toast(error.message, "bad");
      return;
    }
    await changed(body);
  }

  async function changed({ ids }) {
    view.selected.clear();
    if (!ids || ids.includes(view.open)) close();
    await Promise.all([load(), refresh()]);
  }

  // Where such jobs were just retried and refused again, the reader is asked first.
  async function retryAll(what) {
    if (what.ids || view.tab !== "failed") return retry(what);
    try {
      const chosen = await askAgain({ reason: what.reason, now: Date.now() / 1000 - view.skew });
      if (chosen === "all") await retry(what);
      if (chosen === "first") await tryTen(what);
    } catch (error) {
      toast(error.message, "bad");
    }
    return undefined;
  }

  const tryTen = (what) => tryFirst(what).then(() => changed(what));

  const retry = (what) => act("retry", what, (answer) => `${counted(answer.retried, "job")} back in the queue`);

  // What is counted is what is purged: the jobs are named as the question is asked, so that none slips in behind it.
  async function name({ ids, events, reason }) {
    if (!ids) return get("chosen", { state: view.tab, reason });
    if (events !== undefined) return { ids, events };
    const jobs = view.jobs.filter((job) => ids.includes(job.id));
    return { ids: jobs.map((job) => job.id), events: jobs.reduce((sum, job) => sum + job.events, 0) };
  }

  function describe(ids, events, reason) {
    const which = reason === undefined ? "" : ` that failed with “${titleOf(reason)}”`;
    const holds = `${ids.length === 1 ? "It holds" : "They hold"} ${counted(events, "event")}, deleted for good.`;
    return { title: `Purge ${counted(ids.length, "job")}${which}?`, detail: `${holds} What comes meanwhile stays.` };
  }

  async function purge(what) {
    const state = view.tab;
    const named = name(what);
    const about = named.then(({ ids, events }) => describe(ids, events, what.reason));
    try {
      const agreed = await confirmTyped({ about, word: "purge", actions: [["export", "Export, then purge", "primary"], ["purge", "Purge", "danger"]] });
      const { ids, events } = await named;
      if (!agreed) return;
      if (agreed === "export") await save(state, ids, events);
      let purged = 0;
      for (const some of portions(ids)) purged += (await post("purge", { state, ids: some, confirm: "purge" })).purged;
      toast(`${counted(purged, "job")} purged`);
      await changed({ ids });
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  function drawTabs() {
    for (const [name, { button }] of tabParts) {
      button.setAttribute("aria-selected", String(name === view.tab));
      button.tabIndex = name === view.tab ? 0 : -1;
    }
  }

  function drawGroups(reasons) {
    view.titles = new Map(reasons.map((group) => [group.reason, group.title]));
    show(groups, view.tab === "failed" && reasons.length > 0);
    const make = (group) => {
      const number = h("b", {});
      const events = h("span", { class: "dim" });
      const pick = h("button", { class: "group-pick", onclick: () => pickReason(group.reason) },
        h("span", { class: "row between" }, h("span", { class: "group-name" }, group.title || "no reason"), number),
        h("span", { class: "group-why" }, group.meaning), events);
      const actions = h("div", { class: "row" },
        h("button", { class: "small", onclick: () => retryAll({ reason: group.reason }) }, "Retry all"),
        h("button", { class: "small few", onclick: () => tryTen({ reason: group.reason }) }, "Try 10 first"),
        h("a", { class: "button small", href: exportLink({ state: "failed", reason: group.reason }), download: true }, "Export"),
        h("button", { class: "small danger-text", onclick: () => purge({ reason: group.reason }) }, "Purge …"));
      return { root: h("div", { class: "card group" }, pick, actions), number, events, pick, actions };
    };
    keyed(groups, reasons, (group) => group.reason, make, (entry, group) => {
      setText(entry.number, count(group.jobs));
      setText(entry.events, `${counted(group.events, "event")}, ${bytes(group.bytes)}`);
      entry.pick.setAttribute("aria-pressed", String(view.reason === group.reason));
      setClass(entry.root, `card group ${view.reason === group.reason ? "picked" : ""}`);
      for (const button of entry.actions.querySelectorAll("button")) show(button, !view.readOnly && (group.jobs > 10 || !button.classList.contains("few")));
    });
  }

  function pickReason(reason) {
    Object.assign(view, { reason: view.reason === reason ? null : reason, limit: 50, pages: 1 });
    view.selected.clear();
    return load();
  }

  function makeRow(job) {
    const box = h("input", { type: "checkbox", "aria-label": `Select job ${job.title}`, onchange: () => toggle(job.id, box.checked) });
    const parts = { title: h("span", { class: "job-title" }), why: h("span", { class: "job-why" }), size: h("span", { class: "job-size" }), when: h("span", { class: "job-when" }) };
    const button = h("button", { class: "job", "data-row": true, onclick: () => open(job.id) }, parts.title, parts.when, parts.why, parts.size);
    return { root: h("li", {}, box, button), box, button, ...parts };
  }

  function drawJobs() {
    keyed(list, view.jobs, (job) => job.id, makeRow, (row, job) => {
      row.box.checked = view.selected.has(job.id);
      const failed = view.tab === "failed";
      const attempts = job.attempts ? counted(job.attempts, "failed attempt") : "not tried yet";
      setText(row.title, (failed && (job.error || job.reason)) || counted(job.events, "event"));
      setText(row.why, failed ? `${job.reason} · ${counted(job.events, "event")}` : attempts);
      setText(row.size, bytes(job.bytes));
      setClass(row.root, view.open === job.id ? "open" : "");
      row.button.setAttribute("aria-expanded", String(view.open === job.id));
    });
    const none = view.jobs.length === 0;
    show(empty, none);
    show(bar, !none && view.tab !== "leased");
    if (none) {
      const [title, text] = view.reason === null ? EMPTY[view.tab] : [`No job with “${titleOf(view.reason)}” here`, more.hidden ? FILTERED : UNFOUND];
      setText(emptyTitle, title);
      setText(emptyText, text);
      show(showAll, view.reason !== null);
    }
    drawBar();
    drawTimes();
  }

  // What counts down, redrawn every second without asking the server.
  function drawTimes() {
    const now = Date.now() / 1000 - view.skew;
    for (const job of view.jobs) {
      const row = list.keyedChildren?.get(job.id);
      if (!row) continue;
      const due = (job.next_attempt_at ?? 0) - now;
      const text = view.tab === "delayed" ? (due > 0 ? `in ${age(Math.ceil(due))}` : "now") : `${age(now - job.created_at)} old`;
      setText(row.when, text);
    }
  }

  function drawBar() {
    const shown = view.jobs.length;
    selectAll.checked = shown > 0 && view.selected.size === shown;
    selectAll.indeterminate = view.selected.size > 0 && view.selected.size < shown;
    setText(chosenText, view.selected.size ? `${count(view.selected.size)} selected` : view.reason === null ? "Select" : `Only “${titleOf(view.reason)}”`);
    const all = view.selected.size ? "" : " all";
    const retries = view.tab === "failed" || view.tab === "delayed";
    show(retryChosen, retries && !view.readOnly && (view.tab === "failed" || view.reason === null));
    show(purgeChosen, !view.readOnly);
    setText(retryChosen, view.tab === "delayed" ? `Retry${all} now` : `Retry${all}`);
    setText(exportChosen, `Export${all}`);
    setText(purgeChosen, `Purge${all} …`);
    const { ids, reason } = choice();
    exportChosen.setAttribute("href", exportLink({ state: view.tab, ids, reason }));
  }

  function toggle(id, on) {
    if (on) view.selected.add(id);
    else view.selected.delete(id);
    drawBar();
  }

  function toggleAll() {
    view.selected = new Set(selectAll.checked ? view.jobs.map((job) => job.id) : []);
    drawJobs();
  }

  async function open(id) {
    const job = view.jobs.find((each) => each.id === id);
    if (!job) return;
    view.open = id;
    drawJobs();
    const events = h("div", { class: "event-list" }, h("p", { class: "dim" }, "Reading …"));
    const facts = [
      ["Job", h("code", {}, job.title)],
      ["Accepted", `${moment(job.created_at)}, ${age(Date.now() / 1000 - view.skew - job.created_at)} ago`],
      ["Holds", `${counted(job.events, "event")}, ${bytes(job.bytes)}`],
      ["Attempts", count(job.attempts)],
      job.reason ? ["Reason", h("span", { class: "tag bad" }, job.reason)] : null,
    ].filter(Boolean);
    const actions = h("div", { class: "row" },
      !view.readOnly && (view.tab === "failed" || view.tab === "delayed") && h("button", { class: "primary", id: "retry-open", onclick: () => retry({ ids: [id] }) }, view.tab === "failed" ? "Retry" : "Retry now"),
      h("a", { class: "button", href: exportLink({ state: view.tab, ids: [id] }), download: true }, "Export"),
      !view.readOnly && view.tab !== "leased" && h("button", { class: "danger-text", onclick: () => purge({ ids: [id], events: job.events }) }, "Purge …"));
    const parts = [
      h("div", { class: "row between" }, h("h2", {}, counted(job.events, "event")), h("button", { class: "quiet square", "aria-label": "Close", onclick: close }, icon("close"))),
      job.error && h("p", { class: "problem" }, job.error),
      actions,
      h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("h3", {}, "Events"),
      events,
    ];
    detail.replaceChildren(...parts.filter(Boolean));
    show(detail, true);
    document.body.classList.add("has-detail");
    await readEvents(id, events, 0);
  }

  async function readEvents(id, into, from) {
    try {
      const answer = await get(`jobs/${encodeURIComponent(id)}`, { from });
      if (view.open !== id) return;
      const fold = (event, index) => eventFold(event, index === 0);
      const change = (event, index) => editable(fold(event, index), { job: id, index, event, done: () => changed({ ids: [id] }) });
      const made = answer.events.map((event, place) => (view.tab === "failed" && !view.readOnly ? change : fold)(event, from + place));
      const next = from + answer.events.length;
      const rest = next < answer.total && h("button", { class: "quiet", onclick: (click) => (click.target.remove(), readEvents(id, into, next)) }, `Show more of ${count(answer.total)}`);
      if (from === 0) into.replaceChildren();
      into.append(...made, ...(rest ? [rest] : []));
    } catch (error) {
      into.replaceChildren(h("p", { class: "problem" }, error.message));
    }
  }

  function close() {
    const was = view.open;
    view.open = null;
    show(detail, false);
    document.body.classList.remove("has-detail");
    const row = list.keyedChildren?.get(was);
    if (row) {
      setClass(row.root, "");
      row.button.setAttribute("aria-expanded", "false");
      row.button.focus();
    }
  }

  return {
    root,
    enter() {
      active = true;
      drawTabs();
      load();
    },
    leave() {
      active = false;
      clearTimeout(timer);
      close();
    },
    update({ overview }) {
      if (!overview) return;
      view.readOnly = overview.read_only;
      for (const [name, { number }] of tabParts) setText(number, count(overview.stats[name].jobs));
      drawTimes();
      drawBar();
    },
    key(event) {
      if (event.key === "Escape" && view.open) close();
      if (event.key === "r" && view.open) document.getElementById("retry-open")?.click();
    },
  };
}

// One event, folded to a line; its JSON is built when it is opened.
function eventFold(event, isOpen) {
  const fold = h("details", { open: isOpen }, h("summary", {}, h("span", { class: "tag" }, event.type || "event"), h("b", {}, event.name || event.message_id), h("span", { class: "dim" }, event.user)));
  const fill = () => {
    if (fold.open && fold.childElementCount === 1) fold.append(jsonView(event.json));
  };
  fold.addEventListener("toggle", fill);
  fill();
  return fold;
}
