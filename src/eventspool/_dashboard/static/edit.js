// One event of a failed job, mended and sent again under the same messageId.

import { post } from "./api.js";
import { ask } from "./dialog.js";
import { h, setText, show, toast } from "./dom.js";

// *event* is as the job was read: its JSON as text. *done* is called once the job is back in the queue.
export async function editEvent({ job, index, event, done }) {
  const text = h("textarea", { id: "edit-json", rows: "16", spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", "aria-describedby": "edit-help" });
  text.value = event.json;
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const help = h("p", { id: "edit-help" }, "It is sent again under the same messageId. The trail keeps both forms.");
  const save = async () => {
    try {
      await post("edit", { job, index, event: text.value });
      return true;
    } catch (error) {
      setText(problem, error.message);
      show(problem, true);
      text.focus();
      return false;
    }
  };
  text.addEventListener("keydown", (pressed) => {
    if (pressed.key === "Enter" && (pressed.ctrlKey || pressed.metaKey)) text.form.requestSubmit();
  });
  const body = [help, h("label", { for: "edit-json" }, "The event, in JSON"), text, problem];
  const chosen = await ask({ title: `Edit ${event.name || event.type || "the event"}`, body, actions: [["save", "Save and send again", "primary"]], focus: text, isRoomy: true, before: save });
  if (!chosen) return;
  toast("Edited, and back in the queue");
  await done();
}

// Puts a button below an event's *fold*, which is there while the event is open.
export function editable(fold, about) {
  const row = h("div", { class: "row event-edit" }, h("button", { class: "small", onclick: () => editEvent(about) }, "Edit and send again …"));
  const sync = () => show(row, fold.open);
  fold.addEventListener("toggle", sync);
  sync();
  return h("div", {}, fold, row);
}
