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
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(body?.error ?? `The dashboard answered ${response.status}.`, response.status);
  return body;
}

function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export const get = (path, parameters = {}) => ask(query(path, parameters));

export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export function exportLink({ state, reason, ids }) {
  const parameters = new URLSearchParams({ state });
  if (reason !== undefined) parameters.append("reason", reason);
  for (const id of ids ?? []) parameters.append("id", id);
  return `api/export?${parameters}`;
}
