// Builds the page. Text becomes text nodes and nothing else; there is no way in here to parse HTML or to set a handler
// from a string, and the content security policy (trusted types) would refuse it.

const SVG = "http://www.w3.org/2000/svg";
const LINK = /^(#|api\/export\?|\.\.\/\.\.\/$|q\/[\w.-]+\/(#|$))/;

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// h("button", {class: "primary", onclick: act, disabled: true}, "Text", child)
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      if (typeof value !== "function") throw new TypeError(`${name} must be a function`);
      element.addEventListener(name.slice(2), value);
    } else if (name === "href") {
      if (!LINK.test(value)) throw new TypeError("links stay in this dashboard");
      element.setAttribute("href", value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, String(value));
  append(element, children);
  return element;
}

// Sets the text only where it differs, so that a selection and a screen reader are left in peace.
export function setText(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

export function show(element, visible) {
  element.hidden = !visible;
}

// Makes the children of *parent* those of *items*, in order; an item that stays keeps its element, focus included.
export function keyed(parent, items, keyOf, make, update) {
  const known = parent.keyedChildren ?? (parent.keyedChildren = new Map());
  const wanted = new Map();
  let position = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    if (wanted.has(key)) continue;
    const entry = known.get(key) ?? make(item);
    update(entry, item);
    wanted.set(key, entry);
    if (entry.root === position) position = position.nextSibling;
    else parent.insertBefore(entry.root, position);
  }
  for (const [key, entry] of known) if (!wanted.has(key)) entry.root.remove();
  parent.keyedChildren = wanted;
}

const ICONS = {
  queues: "M4 5h16v5H4zM4 14h16v5H4zM8 7.5v.01M8 16.5v.01",
  overview: "M3 13h4l3-8 4 14 3-8h4",
  failures: "M12 8v5m0 3.5v.01M10.3 4.2 2.9 17a2 2 0 0 0 1.7 3h14.8a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  events: "M4 6h16M4 12h16M4 18h9",
  trail: "M12 7v5l3 2M3.5 12a8.5 8.5 0 1 0 2.6-6.1M3.5 4v4h4",
  pause: "M9 5v14M15 5v14",
  resume: "M7 4.5v15l12-7.5Z",
  close: "M6 6l12 12M18 6 6 18",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 4.5 4.5",
};

export function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, path);
}

export function toast(text, level = "") {
  const element = h("div", { class: `toast ${level}` }, text);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), level === "bad" ? 8000 : 4000);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`Copied ${what}`);
}

// Asks before something is gone for good: the word must be typed. Resolves to the action chosen, or "". Enter takes the first.
// *about* is a promise of the title and the detail. The dialog is there before, so that what is typed is typed into it.
export function confirmTyped({ about, word, actions }) {
  const opener = document.activeElement;
  return new Promise((resolve) => {
    const title = h("h2", { id: "confirm-title" }, "Counting …");
    const detail = h("p", {});
    const input = h("input", { id: "confirm-word", autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
    const go = actions.map(([value, text, name]) => h("button", { class: name, value, disabled: true }, text));
    const dialog = h(
      "dialog",
      { "aria-labelledby": "confirm-title" },
      h(
        "form",
        { method: "dialog" },
        title,
        detail,
        h("label", { for: "confirm-word" }, "Type ", h("b", {}, word), " to confirm"),
        input,
        h("div", { class: "row end" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), go),
      ),
    );
    let known = false;
    const weigh = () => go.forEach((each) => (each.disabled = !known || input.value.trim() !== word));
    input.addEventListener("input", weigh);
    about.then((texts) => {
      setText(title, texts.title);
      setText(detail, texts.detail);
      known = true;
      weigh();
    }, () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      opener?.focus?.();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
