// What failed by reason, as cards. Only the first ones are unfolded, so that the list below begins high on the page.

import { exportLink } from "./api.js";
import { h, keyed, setClass, setText, show } from "./dom.js";
import { bytes, count, counted } from "./format.js";

const FEW = 10; // jobs; where there are no more, trying some of them first says nothing
const narrow = window.matchMedia("(max-width: 720px)");
const unfoldedAtFirst = () => (narrow.matches ? 1 : 3);

export function groupCards({ pick, retryAll, tryTen, purge }) {
  let isUnfolded = false;
  let last = [[], {}];
  const cards = h("div", { class: "groups" });
  const unfold = h("button", { class: "quiet unfold", hidden: true, onclick: () => ((isUnfolded = !isUnfolded), draw(...last)) });
  const root = h("div", { class: "reasons" }, cards, unfold);

  function make(group) {
    const number = h("b", {});
    const events = h("span", { class: "dim" });
    const button = h("button", { class: "group-pick", onclick: () => pick(group.reason) },
      h("span", { class: "row between" }, h("span", { class: "group-name" }, group.title || "no reason"), number),
      h("span", { class: "group-why" }, group.meaning), events);
    const actions = h("div", { class: "row" },
      h("button", { class: "small", onclick: () => retryAll({ reason: group.reason }) }, "Retry all"),
      h("button", { class: "small few", onclick: () => tryTen({ reason: group.reason }) }, "Try 10 first"),
      h("a", { class: "button small", href: exportLink({ state: "failed", reason: group.reason }), download: true }, "Export"),
      h("button", { class: "small danger-text", onclick: () => purge({ reason: group.reason }) }, "Purge …"));
    return { root: h("div", { class: "card group" }, button, actions), number, events, button, actions };
  }

  // *reason* is the one that the list is narrowed to: its card is shown in any case.
  function draw(reasons, { reason, readOnly }) {
    last = [reasons, { reason, readOnly }];
    const folded = reasons.length - unfoldedAtFirst();
    show(root, reasons.length > 0);
    show(unfold, folded > 0);
    setText(unfold, isUnfolded ? "Fold the reasons" : `Show ${counted(folded, "more reason")}`);
    unfold.setAttribute("aria-expanded", String(isUnfolded));
    const shown = isUnfolded ? reasons : reasons.filter((each, place) => place < unfoldedAtFirst() || each.reason === reason);
    keyed(cards, shown, (group) => group.reason, make, (entry, group) => {
      setText(entry.number, count(group.jobs));
      setText(entry.events, `${counted(group.events, "event")}, ${bytes(group.bytes)}`);
      entry.button.setAttribute("aria-pressed", String(reason === group.reason));
      setClass(entry.root, `card group ${reason === group.reason ? "picked" : ""}`);
      for (const button of entry.actions.querySelectorAll("button")) show(button, !readOnly && (group.jobs > FEW || !button.classList.contains("few")));
    });
  }

  return { root, draw };
}
