// Failures: what failed for good and why, what is being retried and when; and what to do about it. The file is as long as it is
// because list, selection, opened job and buttons change one state together; what each shows stands in files of its own.

import { askAgain, tryFirst } from "./again.js";
import { exportLink, get, inTurn, portions, post, save } from "./api.js";
import { confirmTyped, copy, h, icon, keyed, setClass, setText, show, toast } from "./dom.js";
import { age, bytes, count, counted } from "./format.js";
import { groupCards } from "./groups.js";
import { showJob } from "./job.js";
import { asked, fromHash, isSearch, parse, toHash, typed } from "./search.js";
import { groupTable, progressLine, searcher } from "./searching.js";

const TABS = [
  ["failed", "Failed"],
  ["delayed", "Retrying"],
  ["waiting", "Waiting"],
  ["leased", "In flight"],
  ["all", "All"],
];
const EMPTY = {
  failed: ["Nothing failed", "Events that the data plane refuses, or that were tried too often, end up here. They stay until you retry, export or purge them."],
  delayed: ["Nothing is being retried", "A batch whose attempt failed waits here for its next one, a little longer each time."],
  waiting: ["Nothing waits", "Accepted events stand here until a processor takes them. Track some and they show up."],
  leased: ["Nothing is in flight", "Batches that a processor is sending right now."],
  all: ["The queue is empty", "What is accepted and not yet delivered, and what failed, stands here."],
};
const FILTERED = "Only this reason is shown, and no job has it now. Others failed for other reasons.";
const UNFOUND = "Only this reason is shown, and none of the jobs looked through so far has it. “Show more” looks on.";
const NOT_FOUND = "None of the jobs looked through matches. A whole name, user or id is compared exactly, any other text wherever it stands.";
const JOBS_EVERY = 2000;

export function failuresPage({ refresh }) {
  const view = { tab: "failed", reason: null, selected: new Set(), open: null, jobs: [], titles: new Map(), limit: 50, pages: 1, skew: 0, readOnly: true, conditions: {} };
  const begin = inTurn();
  const found = searcher(drawFound);
  const causes = searcher(() => (causesLine.update(causes.view), causesTable.update(causes.view)));
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
  const box = h("input", { type: "search", id: "search", placeholder: "Search events, users, ids, any text …", "aria-label": "Search jobs", "aria-describedby": "search-help", autocomplete: "off", spellcheck: "false" });
  const help = h("p", { class: "dim search-help", id: "search-help" }, ["event:", "user:", "id:", "reason:", "error:", "older:1h"].map((word) => [h("code", {}, word), " "]), "or any text; ", h("kbd", {}, "Enter"), " looks");
  const form = h("form", { class: "toolbar", role: "search", onsubmit: (event) => (event.preventDefault(), find(parse(box.value))) }, h("div", { class: "search grow" }, icon("search"), box), help);
  box.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault()); // which would empty the box
  box.addEventListener("search", () => box.value === "" && isSearch(view.conditions) && find({})); // the cross in the box
  const groups = groupCards({ pick: pickReason, retryAll, tryTen, purge });
  const causesTable = groupTable((group) => (choose(group.state), find({ reason: group.reason, error: group.error_text, event: group.event_text })));
  const causesLine = progressLine(() => causes);
  const byCause = h("details", { class: "by-cause" }, h("summary", {}, "By event and error, with first and last seen"), causesLine.root, h("div", { class: "scroll" }, causesTable.root));
  byCause.addEventListener("toggle", () => (byCause.open ? group() : causes.stop()));
  const foundLine = progressLine(() => found);
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
  const root = h("div", { class: "page" }, h("h1", {}, "Failures and retries"), form, tabs, problem, groups.root, byCause, foundLine.root,
    h("div", { class: "split" }, h("section", { class: "card list-card" }, bar, list, empty, more), detail));

  // Only a reason is asked for: that is a group of the list, and the list stays live. All else is looked for once.
  const isSearching = () => view.tab === "all" || (isSearch(view.conditions) && view.reason === null);

  // Jobs of several states are changed one by one, and those that are being sent not at all.
  const isChangeable = () => view.tab !== "leased" && view.tab !== "all";

  const choice = () => {
    if (view.selected.size) return { ids: [...view.selected] };
    if (isSearching()) return { ids: view.jobs.map((job) => job.id) };
    return view.reason === null ? { all: true } : { reason: view.reason };
  };

  // A reason is somebody else's text, too: as the server shows it, with nothing hidden in it.
  const titleOf = (reason) => view.titles.get(reason) || "no reason";

  function choose(tab) {
    const conditions = view.reason === null ? view.conditions : {};
    return go({ state: tab, conditions });
  }

  const find = (conditions) => go({ state: view.tab, conditions });

  // Shows what an address names: the jobs, and the one that is open.
  function go({ state, conditions, job }) {
    const names = Object.keys(conditions);
    const reason = names.length === 1 && state === "failed" ? (conditions.reason ?? null) : null;
    Object.assign(view, { tab: state, conditions, reason, jobs: [], limit: 50, pages: 1 });
    view.selected.clear();
    close();
    list.replaceChildren();
    list.keyedChildren = new Map();
    if (byCause.open) group();
    drawTabs();
    if (job) openLinked(job);
    return load();
  }

  // The address says what is shown, so that it can be pasted into a chat.
  function writeAddress() {
    if (!active) return;
    const hash = toHash({ state: view.tab, conditions: view.conditions, job: view.open });
    if (location.hash !== hash) history.replaceState(null, "", hash);
    const text = typed(view.conditions);
    if (document.activeElement !== box || parse(box.value) !== view.conditions) box.value = text;
  }

  function group() {
    return causes.start({ state: view.tab, ...asked(view.conditions), grouped: 1 });
  }

  function drawFound() {
    if (!isSearching()) return;
    const { view: now } = found;
    view.jobs = now.jobs;
    if (now.now) view.skew = Date.now() / 1000 - now.now;
    foundLine.update(now);
    show(more, false);
    drawJobs();
  }

  async function openLinked(id) {
    view.open = id;
    try {
      let answer = { next: undefined, jobs: [] };
      do answer = await get("search", { state: "all", job: id, cursor: answer.next });
      while (answer.next && !answer.jobs.length && view.open === id);
      if (view.open !== id) return;
      if (answer.jobs.length) await open(answer.jobs[0]);
      else {
        view.open = null;
        writeAddress();
        toast("The job of this link is no longer here: it was delivered or purged.");
      }
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  function showMore() {
    view.limit += 100;
    view.pages += 1;
    load();
  }

  async function load() {
    clearTimeout(timer);
    const isLatest = begin();
    writeAddress();
    show(foundLine.root, isSearching());
    if (isSearching()) {
      show(problem, false);
      groups.draw([], view);
      await found.start({ state: view.tab, ...asked(view.conditions) });
      return;
    }
    found.stop();
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

  const retried = (answer) => `${counted(answer.retried, "job")} back in the queue`;
  const retry = (what) => act("retry", what, retried);

  // Where such jobs were just retried and refused again, the reader is asked first.
  async function retryAll(what) {
    if (view.tab !== "failed") return retry(what);
    try {
      const chosen = await askAgain({ reason: what.reason, ids: what.ids, now: Date.now() / 1000 - view.skew });
      if (chosen === "all") await retry(what);
      if (chosen === "first") await tryTen(what);
    } catch (error) {
      toast(error.message, "bad");
    }
    return undefined;
  }

  function tryTen(what) {
    return tryFirst(what).then(() => changed(what));
  }

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

  async function purge(what, state = view.tab) {
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
    groups.draw(view.tab === "failed" ? reasons : [], view);
  }

  function pickReason(reason) {
    const picked = view.reason === reason ? null : reason;
    Object.assign(view, { reason: picked, conditions: picked === null ? {} : { reason: picked }, limit: 50, pages: 1 });
    view.selected.clear();
    return load();
  }

  function makeRow(job) {
    const box = h("input", { type: "checkbox", "aria-label": `Select job ${job.title}`, onchange: () => toggle(job.id, box.checked) });
    const parts = { title: h("span", { class: "job-title" }), why: h("span", { class: "job-why" }), size: h("span", { class: "job-size" }), when: h("span", { class: "job-when" }) };
    const button = h("button", { class: "job", "data-row": true, onclick: () => open(row.job) }, parts.title, parts.when, parts.why, parts.size);
    const row = { root: h("li", {}, box, button), job, box, button, ...parts };
    return row;
  }

  function drawJobs() {
    keyed(list, view.jobs, (job) => job.id, makeRow, (row, job) => {
      row.job = job;
      show(row.box, isChangeable());
      row.box.checked = view.selected.has(job.id);
      const failed = job.state === "failed";
      const which = job.matching && job.matching < job.events ? `${count(job.matching)} of ${counted(job.events, "event")}` : counted(job.events, "event");
      const attempts = job.attempts ? counted(job.attempts, "failed attempt") : "not tried yet";
      const title = (failed && (job.error || job.reason)) || which;
      setText(row.title, job.first ? [job.first.name || job.first.type, job.first.user].filter(Boolean).join(" · ") : title);
      const why = failed ? [job.reason, which] : [which === title && !job.first ? null : which, attempts];
      setText(row.why, [job.first && failed ? job.error : null, view.tab === "all" && !failed ? job.state : null, ...why].filter(Boolean).join(" · "));
      setText(row.size, bytes(job.bytes));
      setClass(row.root, view.open === job.id ? "open" : "");
      row.button.setAttribute("aria-expanded", String(view.open === job.id));
    });
    const none = view.jobs.length === 0;
    show(empty, none && !(isSearching() && found.view.running));
    show(bar, !none && isChangeable());
    if (none && isSearching() && isSearch(view.conditions)) {
      setText(emptyTitle, "Nothing found");
      setText(emptyText, NOT_FOUND);
      show(showAll, false);
    } else if (none) {
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
      const text = job.state === "delayed" ? (due > 0 ? `in ${age(Math.ceil(due))}` : "now") : `${age(now - job.created_at)} old`;
      setText(row.when, text);
    }
  }

  function drawBar() {
    const shown = view.jobs.length;
    selectAll.checked = shown > 0 && view.selected.size === shown;
    selectAll.indeterminate = view.selected.size > 0 && view.selected.size < shown;
    setText(chosenText, view.selected.size ? `${count(view.selected.size)} selected` : isSearching() ? "Select" : view.reason === null ? "Select" : `Only “${titleOf(view.reason)}”`);
    const all = view.selected.size ? "" : isSearching() ? ` the ${count(shown)} found` : " all";
    const retries = view.tab === "failed" || view.tab === "delayed";
    show(retryChosen, retries && !view.readOnly && (view.tab === "failed" || view.reason === null));
    show(purgeChosen, !view.readOnly);
    setText(retryChosen, view.tab === "delayed" ? `Retry${all} now` : `Retry${all}`);
    setText(exportChosen, `Export${all}`);
    setText(purgeChosen, `Purge${all} …`);
    const { ids, reason } = choice();
    const isAllFound = isSearching() && !view.selected.size; // also what is not looked at yet
    if (isChangeable()) exportChosen.setAttribute("href", exportLink(isAllFound ? { state: view.tab, conditions: asked(view.conditions) } : { state: view.tab, ids, reason }));
    if (isAllFound) setText(exportChosen, "Export all that match");
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

  async function open(job) {
    const { id, state } = job;
    view.open = id;
    drawJobs();
    writeAddress();
    const link = location.href;
    const mayRetry = !view.readOnly && (state === "failed" || state === "delayed");
    // What can be done with the job that is open stands here, one button behind the other.
    const actions = [
      mayRetry && h("button", { class: "primary", id: "retry-open", onclick: () => act("retry", { state, ids: [id] }, retried) }, state === "failed" ? "Retry" : "Retry now"),
      h("a", { class: "button", href: exportLink({ state, ids: [id] }), download: true }, "Export"),
      h("button", { onclick: () => copy(link, "the link") }, "Copy link"),
      !view.readOnly && state !== "leased" && h("button", { class: "danger-text", onclick: () => purge({ ids: [id], events: job.events }, state) }, "Purge …"),
    ];
    const edited = state === "failed" && !view.readOnly ? () => changed({ ids: [id] }) : null;
    await showJob(detail, job, { now: Date.now() / 1000 - view.skew, actions, close, edited, isOpen: () => view.open === id });
  }

  function close() {
    const was = view.open;
    view.open = null;
    show(detail, false);
    writeAddress();
    document.body.classList.remove("has-detail");
    const row = list.keyedChildren?.get(was);
    if (row) {
      setClass(row.root, "");
      row.button.setAttribute("aria-expanded", "false");
      row.button.focus();
    }
  }

  // An address without a state (the link of the navigation) shows the page as it was left, or as it begins.
  function follow() {
    const { state, conditions, job } = fromHash(location.hash);
    const known = TABS.some(([name]) => name === state);
    return go(known ? { state, conditions, job } : { state: view.tab, conditions: view.conditions });
  }

  return {
    root,
    enter() {
      active = true;
      follow();
    },
    go: follow,
    leave() {
      active = false;
      clearTimeout(timer);
      found.stop();
      causes.stop();
      close();
    },
    update({ overview }) {
      if (!overview) return;
      view.readOnly = overview.read_only;
      const jobs = (name) => overview.stats[name].jobs;
      for (const [name, { number }] of tabParts) setText(number, count(name === "all" ? TABS.slice(0, -1).reduce((sum, [each]) => sum + jobs(each), 0) : jobs(name)));
      drawTimes();
      drawBar();
    },
    key(event) {
      if (event.key === "Escape" && view.open) close();
      if (event.key === "/") {
        event.preventDefault();
        box.focus();
        box.select();
      }
      if (event.key === "r" && view.open) document.getElementById("retry-open")?.click();
    },
  };
}
