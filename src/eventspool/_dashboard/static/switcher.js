// The list of the other queues, in the frame of a queue's page. To choose one is to leave the page: what it is doing ends with it.

import { h, show } from "./dom.js";
import { counted } from "./format.js";

const EVERY = 10_000;

export function switcher() {
  const select = h("select", { class: "switcher", "aria-label": "Queue", hidden: true, onchange: go });
  let askedAt = -Infinity;

  function go() {
    location.href = `../${encodeURIComponent(select.value)}/${location.hash}`;
  }

  function draw(queues) {
    const here = decodeURIComponent(location.pathname.split("/").at(-2));
    if (document.activeElement === select) return; // perhaps it is open
    select.replaceChildren(...queues.map(({ key, name, failed, error }) => {
      const state = error ? " – not reachable" : failed ? ` – ${counted(failed, "event")} failed` : "";
      return h("option", { value: key, selected: key === here }, `${name}${state}`);
    }));
    select.title = queues.find(({ key }) => key === here)?.name ?? "";
    select.value = here;
  }

  return {
    root: select,
    async update({ several, queue }) {
      show(select, several);
      if (!several || Date.now() - askedAt < EVERY) return;
      askedAt = Date.now();
      if (!select.children.length) {
        select.append(h("option", {}, queue));
        select.title = queue;
      }
      try {
        const answer = await fetch("../../api/queues", { credentials: "same-origin", cache: "no-store" });
        if (answer.ok) draw((await answer.json()).queues);
      } catch {
        // The frame says by itself that the dashboard does not answer.
      }
    },
  };
}
