// What is typed into the search box, and what stands in the address: both say which jobs are meant. Pure.

const WORDS = { event: "event", name: "event", user: "user_id", id: "message_id", message: "message_id", reason: "reason", error: "error", older: "older_than", newer: "newer_than", text: "text" };
const SHOWN = { event: "event", user_id: "user", message_id: "id", reason: "reason", error: "error", text: "text", older_than: "older", newer_than: "newer" };
const UNITS = { s: 1, m: 60, min: 60, h: 3600, d: 86400, w: 604800 };
const CONDITIONS = Object.keys(SHOWN);

// event:"Order Completed" user:u1 older:1h and the rest is a text. What is no word of ours is a part of the text.
export function parse(typed) {
  const found = {};
  const rest = [];
  for (const [whole, word, quoted, plain] of typed.matchAll(/(?:(\w+):)?(?:"([^"]*)"?|(\S+))/g)) {
    const name = word && WORDS[word.toLowerCase()];
    const value = quoted ?? plain;
    if (!name || (isAge(name) && seconds(value) === null)) rest.push(word ? whole : value);
    else found[name] = value;
  }
  if (rest.length) found.text = found.text ? `${found.text} ${rest.join(" ")}` : rest.join(" ");
  return found;
}

// The reverse: what one would type.
export function typed(conditions) {
  const words = CONDITIONS.filter((name) => name !== "text" && conditions[name]).map((name) => `${SHOWN[name]}:${quoted(conditions[name])}`);
  if (conditions.text) words.push(/\w:|"/.test(conditions.text) ? `text:${quoted(conditions.text)}` : conditions.text);
  return words.join(" ");
}

const quoted = (value) => (/\s/.test(value) ? `"${value}"` : value);
const isAge = (name) => name === "older_than" || name === "newer_than";

function seconds(value) {
  const found = /^(\d+(?:\.\d+)?)([a-z]*)$/.exec(value.toLowerCase());
  const unit = found && (found[2] ? UNITS[found[2]] : 1);
  return unit ? Number(found[1]) * unit : null;
}

// The conditions as the endpoints take them: ages in seconds.
export function asked(conditions) {
  return Object.fromEntries(Object.entries(conditions).map(([name, value]) => [name, isAge(name) ? seconds(value) : value]));
}

export const isSearch = (conditions) => CONDITIONS.some((name) => conditions[name]);

// #/jobs?state=failed&event=Order+Completed&job=ID
export function toHash({ state, conditions, job }) {
  const parameters = new URLSearchParams({ state });
  for (const name of CONDITIONS) if (conditions[name]) parameters.set(name, conditions[name]);
  if (job) parameters.set("job", job);
  return `#/jobs?${parameters}`;
}

export function fromHash(hash) {
  const parameters = new URLSearchParams(hash.split("?")[1] ?? "");
  const conditions = {};
  for (const name of CONDITIONS) {
    const value = parameters.get(name);
    if (value && !(isAge(name) && seconds(value) === null)) conditions[name] = value;
  }
  return { state: parameters.get("state"), conditions, job: parameters.get("job") };
}
