// Retry all: with a question where that would repeat what was just refused, and with a few jobs first.

import { get, post } from "./api.js";
import { ask } from "./dialog.js";
import { h, setText, toast } from "./dom.js";
import { age, count, counted } from "./format.js";

const FIRST = 10;
const LOOK_EVERY = 500;
const PATIENCE = 120_000;

// Resolves to "all", "first" or "" once the reader has decided; there is no question where nothing was refused of late.
// With *ids*, it is about these jobs.
export async function askAgain({ reason, ids, now }) {
  const found = await get("repeated", { reason, named: ids ? "1" : undefined });
  const { at, actor } = found;
  const [jobs, more] = ids ? [among(found.ids, ids), false] : [found.jobs, found.more];
  if (!jobs) return "all";
  const again = h("p", {}, `${count(jobs)}${more ? " or more" : ""} of these failed since ${actor || "somebody"} retried them ${age(now - at)} ago. Unless the cause is mended, they will be refused again.`);
  const first = ids && ids.length <= FIRST ? [] : [["first", `Try ${FIRST} first`, "primary"]];
  return ask({ title: "Retry all once more?", body: [again], actions: [...first, ["all", "Retry all", ""]] });
}

function among(some, all) {
  const known = new Set(all);
  return some.filter((each) => known.has(each)).length;
}

// Retries ten jobs, shows what becomes of them, and retries the rest where all were delivered. Resolves to the jobs retried.
export async function tryFirst({ reason, all, ids: chosen }) {
  const line = h("p", { "aria-live": "polite" }, "Choosing …");
  const bar = h("progress", { max: String(FIRST), value: "0", "aria-label": "Delivered" });
  let isOver = false;
  let retried = 0;
  const waiting = ask({ title: `Try ${FIRST} first`, body: [line, bar], actions: [] }).then(() => (isOver = true));
  const end = (text) => setText(line, text);
  try {
    const found = chosen ?? (await get("jobs", { state: "failed", reason, limit: FIRST })).jobs.map((job) => job.id);
    const ids = found.slice(0, FIRST); // with a reason, an answer may hold more
    if (ids.length) retried = (await post("retry", { state: "failed", ids })).retried;
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const fates = ids.length ? await get(`fates?${new URLSearchParams(ids.map((id) => ["id", id]))}`) : { delivered: 0, unfinished: 0, refused: [] };
      bar.max = Math.max(ids.length, 1);
      bar.value = fates.delivered;
      end(`${count(fates.delivered)} of ${counted(ids.length, "job")} delivered, ${count(fates.unfinished)} to go.`);
      if (fates.refused.length) {
        const why = fates.refused.map((each) => `${counted(each.jobs, "job")} refused again, as ${each.reason}: ${each.error}`).join(" ");
        end(`${why} The rest was not retried.`);
        break;
      }
      if (isOver || Date.now() > deadline) {
        end("Not all of them are delivered yet, so the rest was not retried.");
        break;
      }
      if (!fates.unfinished) {
        retried += (await post("retry", { state: "failed", ...(chosen ? { ids: chosen } : all ? { all } : { reason }) })).retried;
        end(`All ${count(ids.length)} were delivered, and the rest is back in the queue.`);
        toast(`${counted(retried, "job")} back in the queue`);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    }
  } catch (error) {
    end(error.message);
  }
  await waiting;
  return retried;
}
