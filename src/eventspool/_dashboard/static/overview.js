// Overview: do events flow, and if not, why.

import { post } from "./api.js";
import { sparkline, throughputChart } from "./chart.js";
import { pastOf, spans } from "./past.js";
import { h, icon, keyed, setClass, setText, show, toast } from "./dom.js";
import { age, bytes, count, counted, latency, moment, rate, statusLevel } from "./format.js";
import { askReason, tellPause } from "./pausing.js";

function tile(label, level, href = null) {
  const value = h("div", { class: "value" }, "–");
  const note = h("div", { class: "note" });
  const spark = sparkline(level);
  const root = h(href ? "a" : "div", { class: "card tile", href }, h("div", { class: "label" }, label), value, note, spark.root);
  return {
    root,
    update(text, unit, below, values) {
      value.replaceChildren(text, unit ? h("small", {}, ` ${unit}`) : "");
      setText(note, below);
      spark.update(values);
    },
  };
}

function answersCard() {
  const p50 = h("b", {}, "–");
  const p99 = h("b", {}, "–");
  const lag = h("b", {}, "–");
  const bar = h("div", { class: "stack", role: "img" });
  const list = h("ul", { class: "legend" });
  const empty = h("p", { class: "empty-note" }, "No request in the last seconds.");
  const root = h(
    "section",
    { class: "card" },
    h("div", { class: "row between" }, h("h2", {}, "Data plane"), h("span", { class: "dim" }, "last seconds")),
    h("div", { class: "figures" }, h("div", {}, h("span", {}, "Latency, median"), p50), h("div", {}, h("span", {}, "99th percentile"), p99),
      h("div", { title: "From the making of a batch to its delivery, in the last minute that the queue has noted: half of the batches, and 95 of a hundred" }, h("span", {}, "Accepted to delivered"), lag)),
    bar,
    list,
    empty,
  );
  return {
    root,
    update(answers, processors, past) {
      setText(lag, past ? `${latency(past.lag_p50)}, ${latency(past.lag_p95)}` : "–");
      const worst = (name) => processors.reduce((most, each) => (each[name] === null ? most : Math.max(most ?? 0, each[name])), null);
      setText(p50, latency(worst("latency_p50")));
      setText(p99, latency(worst("latency_p99")));
      const rows = Object.entries(answers).sort((one, other) => other[1] - one[1]);
      const total = rows.reduce((sum, [, number]) => sum + number, 0);
      show(empty, total === 0);
      show(bar, total > 0);
      bar.setAttribute("aria-label", rows.map(([status, number]) => `${status}: ${number}`).join(", "));
      const make = ([status]) => {
        const part = h("span", { class: statusLevel(status) });
        return { root: part, part };
      };
      keyed(bar, rows, ([status]) => status, make, ({ part }, [, number]) => {
        part.style.flexGrow = String(number);
      });
      keyed(
        list,
        rows,
        ([status]) => status,
        ([status]) => {
          const number = h("b", {});
          return { root: h("li", {}, h("i", { class: `dot ${statusLevel(status)}` }), h("span", {}, status), number), number };
        },
        ({ number: text }, [, number]) => setText(text, `${count(number)}  ${String(Math.round((number / total) * 100)).padStart(3, "\u2007")} %`),
      );
    },
  };
}

const STATES = [
  ["waiting", "Waiting", "due now"],
  ["delayed", "Retrying", "due after a pause"],
  ["leased", "In flight", "being sent"],
  ["failed", "Failed", "until somebody decides"],
];

function queueCard() {
  const rows = new Map();
  const body = h("tbody", {});
  for (const [name, title, meaning] of STATES) {
    const cells = { events: h("td", { class: "number" }), jobs: h("td", { class: "number wide" }), size: h("td", { class: "number wide" }) };
    rows.set(name, cells);
    body.append(h("tr", {}, h("th", { scope: "row" }, h("i", { class: `dot state-${name}` }), title, h("small", {}, meaning)), cells.events, cells.jobs, cells.size));
  }
  const head = ["", "Events", "Jobs", "Size"].map((text, index) => h("th", { scope: "col", class: index > 1 ? "number wide" : index ? "number" : null }, text));
  const root = h("section", { class: "card" }, h("h2", {}, "Queue"), h("table", { class: "plain" }, h("thead", {}, h("tr", {}, head)), body));
  return {
    root,
    update(stats) {
      for (const [name, cells] of rows) {
        const depth = stats[name];
        setText(cells.events, count(depth.events));
        setText(cells.jobs, count(depth.jobs));
        setText(cells.size, depth.bytes ? bytes(depth.bytes) : "–");
      }
    },
  };
}

function processorRow() {
  const parts = {
    dot: h("i", { class: "dot" }), name: h("b", {}), version: h("small", {}), state: h("span", { class: "tag" }),
    beat: h("td", { class: "number" }), flight: h("td", { class: "number wide" }), sent: h("td", { class: "number" }),
    retried: h("td", { class: "number wide" }), latency: h("td", { class: "number wide" }), error: h("div", { class: "error-line" }),
  };
  const root = h("tr", {}, h("th", { scope: "row" }, parts.dot, parts.name, parts.version, " ", parts.state, parts.error),
    parts.beat, parts.flight, parts.sent, parts.retried, parts.latency);
  return { root, ...parts };
}

function processorsCard() {
  const body = h("tbody", {});
  const columns = [["Processor", ""], ["Heartbeat", "number"], ["In flight", "number wide"], ["Jobs sent", "number"], ["Retried", "number wide"], ["Median", "number wide"]];
  const table = h("table", { class: "plain processors" }, h("thead", {}, h("tr", {}, columns.map(([text, name]) => h("th", { scope: "col", class: name || null }, text)))), body);
  const empty = h("div", { class: "empty" }, h("b", {}, "No processor is running"),
    h("p", {}, "Processors deliver what is in the queue. A client with persistence runs one by itself; elsewhere start"), h("code", {}, "eventspool worker"));
  const root = h("section", { class: "card" }, h("h2", {}, "Processors"), table, empty);
  return {
    root,
    update(processors, now) {
      show(table, processors.length > 0);
      show(empty, processors.length === 0);
      keyed(body, processors, (each) => each.token, processorRow, (row, each) => {
        const silent = now - each.seen_at;
        const level = each.paused ? "bad" : silent > 10 ? "warn" : "good";
        setClass(row.dot, `dot ${level}`);
        setText(row.name, each.host ? `${each.host} · ${each.pid}` : each.token.slice(0, 8));
        setText(row.version, each.version ? ` ${each.version}` : "");
        show(row.state, each.paused);
        setText(row.state, "only probes");
        setClass(row.state, "tag bad");
        setText(row.beat, silent < 3 ? "now" : `${age(silent)} ago`);
        setText(row.flight, count(each.in_flight));
        setText(row.sent, count(each.sent));
        setText(row.retried, count(each.retried));
        setText(row.latency, latency(each.latency_p50));
        setText(row.error, each.last_error);
        show(row.error, each.last_error !== "" && (each.paused || Object.keys(each.statuses).some((status) => !/^2/.test(status))));
      });
    },
  };
}

function partitionsCard() {
  const body = h("tbody", {});
  const columns = [["Partition", ""], ["Events", "number"], ["Jobs", "number wide"], ["Size", "number wide"], ["Failed jobs", "number"], ["Server", "number wide"]];
  const table = h("table", { class: "plain" }, h("thead", {}, h("tr", {}, columns.map(([text, name]) => h("th", { scope: "col", class: name || null }, text)))), body);
  const root = h("section", { class: "card", hidden: true }, h("h2", {}, "Partitions"), table);
  function makeRow() {
    const parts = {
      dot: h("i", { class: "dot" }), name: h("b", {}), state: h("span", { class: "tag" }), events: h("td", { class: "number" }), jobs: h("td", { class: "number wide" }),
      size: h("td", { class: "number wide" }), failed: h("td", { class: "number" }), node: h("td", { class: "number wide" }),
    };
    const cells = [parts.events, parts.jobs, parts.size, parts.failed, parts.node];
    return { root: h("tr", {}, h("th", { scope: "row" }, parts.dot, parts.name, " ", parts.state), cells), ...parts };
  }
  return {
    root,
    update(partitions) {
      show(root, partitions.length > 0);
      keyed(body, partitions, (each) => `${each.generation}.${each.number}`, makeRow, (row, each) => {
        const known = (text) => (each.away ? "–" : text);
        setClass(row.dot, `dot ${each.away ? "bad" : each.sealed ? "warn" : "good"}`);
        setText(row.name, `${each.generation}.${each.number}`);
        show(row.state, each.away || each.sealed);
        setText(row.state, each.away ? "away" : each.unfinished.jobs ? "draining" : "drained");
        setClass(row.state, `tag ${each.away ? "bad" : "warn"}`);
        setText(row.events, known(count(each.unfinished.events)));
        setText(row.jobs, known(count(each.unfinished.jobs)));
        setText(row.size, known(each.unfinished.bytes ? bytes(each.unfinished.bytes) : "–"));
        setText(row.failed, known(count(each.failed.jobs)));
        setText(row.node, each.node || "–");
      });
    },
  };
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function overviewPage({ refresh }) {
  const title = h("h1", { id: "verdict" }, "Connecting …");
  const detail = h("p", { class: "detail-line" });
  const hint = h("p", { class: "hint" });
  const others = h("ul", { class: "troubles", hidden: true });
  const pausedBy = h("p", { class: "paused-by", hidden: true });
  const dot = h("span", { class: "pulse" });
  const steerText = h("span", {}, "Pause");
  const steer = h("button", { hidden: true, onclick: pauseOrResume }, icon("pause"), steerText);
  const banner = h("section", { class: "verdict", "aria-live": "polite" }, dot, h("div", { class: "grow" }, title, detail, pausedBy, hint, others), steer);
  const tiles = { into: tile("Accepted", "accent"), out: tile("Delivered", "good"), pending: tile("In the queue", "warn"), failed: tile("Failed", "bad", "#/failures") };
  const chart = throughputChart();
  const past = pastOf();
  const span = spans();
  const answers = answersCard();
  const queue = queueCard();
  const processors = processorsCard();
  const partitions = partitionsCard();
  let paused = false;

  async function pauseOrResume() {
    steer.disabled = true;
    const wasPaused = paused; // somebody else may pause or resume it while the question stands
    try {
      const reason = wasPaused ? null : await askReason();
      if (!wasPaused && reason === null) {
        steer.disabled = false;
        return;
      }
      await post(wasPaused ? "resume" : "pause", wasPaused ? {} : { reason });
      toast(wasPaused ? "Delivery goes on" : "Delivery is paused; events are still accepted");
      await refresh();
    } catch (error) {
      toast(error.message, "bad");
    }
    steer.disabled = false;
  }

  function sayVerdict(verdict) {
    setClass(banner, `verdict ${verdict.level}`);
    setText(title, verdict.title);
    setText(detail, verdict.detail);
    setText(hint, verdict.hint);
  }

  // What is wrong besides: the verdict says the gravest alone.
  function sayOthers(troubles, told) {
    const rest = troubles.filter((each) => each.code !== told && each.severity !== "note");
    const key = JSON.stringify(rest);
    show(others, rest.length > 0);
    if (others.dataset.key === key) return;
    others.dataset.key = key;
    others.replaceChildren(...rest.map((each) => h("li", {}, h("strong", {}, `${each.title}. `), `${capital(each.cause)}. `, h("span", { class: "dim" }, `${capital(each.remedy)}.`))));
  }

  const root = h(
    "div",
    { class: "page" },
    banner,
    h("div", { class: "tiles" }, Object.values(tiles).map((each) => each.root)),
    h("section", { class: "card" }, h("div", { class: "row between" }, h("h2", {}, "Throughput"), span.root,
      h("ul", { class: "legend inline" }, h("li", {}, h("i", { class: "dot accent" }), "in"), h("li", {}, h("i", { class: "dot good" }), "out"), h("li", { class: "dim" }, "events per second"))), chart.root),
    h("div", { class: "two" }, answers.root, queue.root),
    partitions.root,
    processors.root,
  );

  return {
    root,
    update({ overview, samples, error }) {
      setClass(root, error && overview ? "page stale" : "page");
      if (error) {
        const gone = error.status === 503 ? "The queue cannot be reached" : "The dashboard is not connected";
        sayVerdict({ level: "bad", title: gone, detail: error.message, hint: `It goes on by itself when that is mended.${overview ? ` Below is what was seen at ${moment(overview.now)}.` : ""}` });
      }
      if (!overview) return;
      if (!error) sayVerdict(overview.verdict);
      sayOthers(error ? [] : overview.troubles, overview.verdict.code);
      const why = error ? "" : tellPause(overview.pause, overview.now);
      setText(pausedBy, why);
      show(pausedBy, why !== "");
      const { stats } = overview;
      paused = stats.paused;
      show(steer, !overview.read_only && !error);
      setText(steerText, paused ? "Resume" : "Pause");
      setClass(steer, paused ? "primary" : "");
      if (steer.dataset.icon !== String(paused)) {
        steer.dataset.icon = String(paused);
        steer.firstChild.replaceWith(icon(paused ? "resume" : "pause"));
      }
      const last = samples.at(-1);
      const pending = stats.waiting.events + stats.delayed.events + stats.leased.events;
      tiles.into.update(rate(last?.into), "/s", `${count(stats.accepted_events)} in all`, samples.map((each) => each.into));
      tiles.out.update(rate(last?.out), "/s", `${count(stats.delivered_events)} in all`, samples.map((each) => each.out));
      tiles.pending.update(count(pending), pending === 1 ? "event" : "events", stats.oldest_age ? `oldest ${age(stats.oldest_age)}` : "nothing waits", samples.map((each) => each.pending));
      tiles.failed.update(count(stats.failed.events), stats.failed.events === 1 ? "event" : "events", stats.failed.jobs ? `in ${counted(stats.failed.jobs, "job")}` : "nothing failed", samples.map((each) => each.failed));
      setClass(tiles.failed.root, `card tile ${stats.failed.jobs ? "alarm" : ""}`);
      past.look();
      chart.update(past.joined(samples, overview.now, span.seconds()), overview.now, span.seconds());
      answers.update(overview.answers, overview.processors, past.lag());
      queue.update(stats);
      partitions.update(overview.partitions);
      processors.update(overview.processors, overview.now);
    },
  };
}
