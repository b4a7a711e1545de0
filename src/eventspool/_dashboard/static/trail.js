// The trail: who did what to the queue, and when.

import { get, inTurn } from "./api.js";
import { h, setText, show } from "./dom.js";
import { age, counted, moment } from "./format.js";
import { jsonView } from "./json.js";

const LOOK_EVERY = 5000;
const WORDS = {
  retry: "Retried", purge: "Purged", erase: "Erased a user", export: "Exported", edit: "Edited", pause: "Paused", resume: "Resumed", move: "Moved",
  resize: "Resized", import: "Imported", "token added": "Token added", "token revoked": "Token revoked", unreadable: "An entry that cannot be read here",
};
const LEVELS = { purge: "bad", erase: "bad", pause: "warn", edit: "accent" };

export function trailPage() {
  const view = { actions: [], next: null, skew: 0 };
  const begin = inTurn();
  let timer = 0;
  let active = false;
  const list = h("ol", { class: "trail" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const emptyTitle = h("b", {}, "Nobody did anything yet");
  const emptyText = h("p", {}, "Who retries, purges, exports, edits, pauses or moves something stands here, also from a terminal or a program.");
  const empty = h("div", { class: "empty", hidden: true }, emptyTitle, emptyText);
  const more = h("button", { class: "quiet", hidden: true, onclick: showMore }, "Show more");
  const root = h("div", { class: "page" }, h("h1", {}, "Trail"), problem, h("section", { class: "card list-card" }, list, empty, more));

  async function load() {
    clearTimeout(timer);
    const isLatest = begin();
    try {
      const answer = await get("trail");
      if (!isLatest()) return;
      // What was opened, and pages behind the first, stay as they are while nothing is new.
      if (answer.actions[0]?.position !== view.actions[0]?.position || !view.actions.length) draw(answer);
      if (answer.absent) {
        setText(emptyTitle, "No trail");
        setText(emptyText, `${answer.absent}.`);
      }
      show(problem, false);
    } catch (error) {
      if (!isLatest()) return;
      setText(problem, error.message);
      show(problem, true);
    }
    clearTimeout(timer);
    if (active && !document.hidden) timer = setTimeout(load, LOOK_EVERY);
  }

  function draw({ actions, next }) {
    Object.assign(view, { actions, next });
    list.replaceChildren(...actions.map(row));
    show(empty, actions.length === 0);
    show(more, next !== null);
  }

  async function showMore() {
    try {
      const { actions, next } = await get("trail", { before: view.next });
      Object.assign(view, { actions: [...view.actions, ...actions], next });
      list.append(...actions.map(row));
      show(more, next !== null);
    } catch (error) {
      setText(problem, error.message);
      show(problem, true);
    }
  }

  return {
    root,
    enter() {
      active = true;
      load();
    },
    leave() {
      active = false;
      clearTimeout(timer);
    },
    update() {},
  };
}

function row(action) {
  const counts = [action.jobs === null ? null : counted(action.jobs, "job"), action.events === null || action.action === "edit" ? null : counted(action.events, "event")];
  const what = [WORDS[action.action] ?? action.action, counts.filter(Boolean).join(", ")].join(" ").trim();
  const when = h("time", { class: "dim", datetime: new Date(action.at * 1000).toISOString(), title: `${age(Date.now() / 1000 - action.at)} ago` }, moment(action.at));
  const parts = [h("div", { class: "trail-line" }, h("span", { class: `dot ${LEVELS[action.action] ?? ""}` }), h("b", {}, what), h("span", { class: "who" }, action.actor || "unknown"), when)];
  if (action.note) parts.push(h("p", { class: "trail-note" }, action.note));
  if (action.selection) parts.push(h("p", { class: "trail-note dim" }, action.selection));
  if (action.edited) parts.push(change(action.position));
  return h("li", { "data-row": true, tabindex: "-1" }, parts);
}

// An edit, folded: the event before and after it, read when it is opened.
function change(position) {
  const fold = h("details", {}, h("summary", {}, h("b", {}, "Before and after")));
  fold.addEventListener("toggle", async () => {
    if (!fold.open || fold.childElementCount > 1) return;
    const into = h("div", { class: "two" });
    fold.append(into);
    try {
      const { before, after } = await get("trail", { position });
      into.append(h("div", {}, h("h3", {}, "Before"), jsonView(before)), h("div", {}, h("h3", {}, "After"), jsonView(after)));
    } catch (error) {
      into.append(h("p", { class: "problem" }, error.message));
    }
  });
  return fold;
}
