// The endpoints. Every address is relative, so that the dashboard works wherever it is mounted.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new ApiError("The dashboard does not answer. Is it still running?", 0);
  }
  if (response.status === 401) {
    location.reload(); // which shows the form for the token
    throw new ApiError("The token is no longer right.", 401);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(body?.error ?? `The dashboard answered ${response.status}.`, response.status);
}

const json = async (path, options) => (await ask(path, options)).json();
const posted = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export const get = (path, parameters = {}) => json(query(path, parameters));

export const post = (path, body = {}) => json(path, posted(body));

// For looks that may overlap. Each begins with a call, and asks what that returned whether no later one has begun since:
// an older answer may arrive after a newer one, and drawing it would show what is no longer so.
export function inTurn() {
  let latest = 0;
  return () => {
    const mine = (latest += 1);
    return () => mine === latest;
  };
}

export function exportLink({ state, reason, ids, conditions }) {
  const parameters = new URLSearchParams({ state, ...conditions });
  if (reason !== undefined) parameters.append("reason", reason);
  for (const id of ids ?? []) parameters.append("id", id);
  return `api/export?${parameters}`;
}

// So many ids fit into one request.
export function* portions(ids) {
  for (let start = 0; start < ids.length; start += 5000) yield ids.slice(start, start + 5000);
}

// Saves the events of exactly these jobs, and fails before anything is saved where not all can be read.
export async function save(state, ids, events) {
  const parts = [];
  let lines = 0;
  for (const some of portions(ids)) {
    const response = await ask("export", posted({ state, ids: some }));
    lines += Number(response.headers.get("Eventspool-Events"));
    parts.push(await response.blob());
  }
  if (lines !== events) throw new ApiError(`Only ${lines} of ${events} events can be exported, so nothing was purged: the rest is damaged or has moved on.`, 409);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: "application/x-ndjson" }));
  link.download = `${state}-${new Date().toISOString().replace(/[-:]|\..*/g, "").replace("T", "-")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
