// Formatted JSON in colours. Tokens become text nodes; what is long is folded, whatever is in it.

import { h } from "./dom.js";
import { bytes } from "./format.js";

const LONGEST_STRING = 300;
const MOST_TOKENS = 4000;
const WORD = /[\w.+-]+/y;

// Cuts JSON text into [kind, text]. It was formatted by the server, so only strings need care.
function* tokens(text, start) {
  let at = start;
  let plain = at;
  while (at < text.length) {
    const c = text[at];
    if (c === '"') {
      if (plain < at) yield ["plain", plain, at];
      let end = at + 1;
      for (;;) {
        end = text.indexOf('"', end);
        if (end < 0) end = text.length - 1;
        let slashes = 0;
        while (text[end - 1 - slashes] === "\\") slashes += 1;
        if (slashes % 2 === 0 || end >= text.length - 1) break;
        end += 1;
      }
      end += 1;
      yield [text[end] === ":" ? "key" : "string", at, end];
      at = plain = end;
    } else if (/[\w-]/.test(c)) {
      if (plain < at) yield ["plain", plain, at];
      WORD.lastIndex = at;
      const end = at + (WORD.exec(text)?.[0].length ?? 1);
      yield [/[\d-]/.test(c) ? "number" : "word", at, end];
      at = plain = end;
    } else {
      at += 1;
    }
  }
  if (plain < at) yield ["plain", plain, at];
}

function folded(text, kind) {
  const rest = h("button", { class: "more", type: "button" }, `… ${bytes(text.length - LONGEST_STRING)} more`);
  const span = h("span", { class: `j-${kind}` }, text.slice(0, LONGEST_STRING), rest);
  rest.addEventListener("click", () => span.replaceChildren(text));
  return span;
}

function fill(element, text, start) {
  let made = 0;
  for (const [kind, from, to] of tokens(text, start)) {
    if (made === MOST_TOKENS) {
      const rest = h("button", { class: "more", type: "button" }, `… ${bytes(text.length - from)} more`);
      rest.addEventListener("click", () => {
        rest.remove();
        fill(element, text, from);
      });
      element.append(rest);
      return;
    }
    made += 1;
    const part = text.slice(from, to);
    if (kind === "plain") element.append(part);
    else element.append(part.length > LONGEST_STRING ? folded(part, kind) : h("span", { class: `j-${kind}` }, part));
  }
}

export function jsonView(text) {
  const code = h("code", {});
  fill(code, text, 0);
  return h("pre", { class: "json", tabindex: "0", "aria-label": "The event as JSON" }, code);
}
