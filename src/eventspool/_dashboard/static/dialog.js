// A question in front of the page. It resolves to the action chosen, or "" where the reader goes back (Escape).

import { h } from "./dom.js";

// *actions* are [value, text, class]; Enter in an input takes the first of them. *before* may hold the dialog open: it is
// told the value, and returns whether the dialog may close.
export function ask({ title, body = [], actions, focus, isRoomy = false, before = async () => true }) {
  const opener = document.activeElement;
  return new Promise((resolve) => {
    const go = actions.map(([value, text, name]) => h("button", { class: name, value }, text));
    const back = h("button", { type: "button", onclick: () => dialog.close() }, actions.length ? "Cancel" : "Close");
    const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), body,
      h("div", { class: "row end" }, back, go));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: isRoomy ? "roomy" : null }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!go.length) return;
      const value = (event.submitter ?? go[0]).value;
      for (const each of go) each.disabled = true;
      const isDone = await before(value);
      for (const each of go) each.disabled = false;
      if (isDone) dialog.close(value);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      opener?.focus?.();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
    (focus ?? go[0] ?? back).focus();
  });
}
