// Charts as inline SVG, built node by node.

import { h, setText, svg } from "./dom.js";
import { compact, moment, rate } from "./format.js";

// The path through *points* ([x, y]); a null breaks the line.
function path(points) {
  let text = "";
  let open = false;
  for (const point of points) {
    if (point === null) {
      open = false;
      continue;
    }
    text += `${open ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    open = true;
  }
  return text;
}

// The same, closed down to *floor*, for each unbroken run.
function area(points, floor) {
  let text = "";
  let run = [];
  for (const point of [...points, null]) {
    if (point !== null) {
      run.push(point);
      continue;
    }
    if (run.length > 1) {
      text += `${path(run)}L${run.at(-1)[0].toFixed(1)} ${floor}L${run[0][0].toFixed(1)} ${floor}Z`;
    }
    run = [];
  }
  return text;
}

// The next round number: 1, 2, 5, 10, 20 ...
export function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((each) => each * power >= value);
  return step * power;
}

export function sparkline(level) {
  const width = 120;
  const height = 32;
  const fill = svg("path", { class: "spark-fill" });
  const stroke = svg("path", { class: "spark-line" });
  const root = svg(
    "svg",
    { class: `spark ${level}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    fill,
    stroke,
  );
  return {
    root,
    update(values) {
      const last = values.slice(-60);
      const most = Math.max(...last.map((value) => value ?? 0), 0) || 1;
      const step = width / 59;
      root.style.visibility = last.some((value) => value) ? "visible" : "hidden";
      const points = last.map((value, index) =>
        value === null ? null : [width - (last.length - 1 - index) * step, height - 2 - (value / most) * (height - 6)],
      );
      stroke.setAttribute("d", path(points));
      fill.setAttribute("d", area(points, height));
    },
  };
}

const MARGIN = { top: 10, right: 8, bottom: 22, left: 40 };
const HEIGHT = 200;
const SHORTEST = 60;
export const LIVE = 300;

// Events in and out per second over the last minutes, with a reading at the pointer.
export function throughputChart() {
  const grid = svg("g", { class: "grid" });
  const out = svg("path", { class: "area out" });
  const outLine = svg("path", { class: "line out" });
  const into = svg("path", { class: "line into" });
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  const root = svg("svg", { class: "chart", role: "img" }, grid, out, outLine, into, cursor);
  const reading = h("div", { class: "reading", hidden: true });
  const box = h("div", { class: "chart-box" }, root, reading);
  let samples = [];
  let now = 0;
  let longest = LIVE;
  let pointer = null;
  let scale = { span: SHORTEST, width: 600 };

  const xOf = (at) => scale.width - MARGIN.right - ((now - at) / scale.span) * (scale.width - MARGIN.left - MARGIN.right);

  function draw() {
    const width = box.clientWidth || 600;
    const first = samples.length ? now - samples[0].at : 0;
    scale = { width, span: longest > LIVE ? longest : Math.min(longest, Math.max(SHORTEST, Math.ceil(first / 60) * 60)) };
    root.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    root.setAttribute("width", width);
    root.setAttribute("height", HEIGHT);
    const seen = samples.filter((sample) => sample.at >= now - scale.span);
    const most = ceiling(Math.max(1, ...seen.map((sample) => Math.max(sample.into ?? 0, sample.out ?? 0))));
    const floor = HEIGHT - MARGIN.bottom;
    const yOf = (value) => floor - (value / most) * (floor - MARGIN.top);
    const points = (name) => seen.map((sample) => (sample[name] === null ? null : [xOf(sample.at), yOf(sample[name])]));
    out.setAttribute("d", area(points("out"), floor));
    outLine.setAttribute("d", path(points("out")));
    into.setAttribute("d", path(points("into")));
    grid.replaceChildren();
    for (const part of [0, 0.5, 1]) {
      const y = yOf(most * part);
      grid.append(
        svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
        svg("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, compact(most * part)),
      );
    }
    const marks = width < 480 ? 2 : 4;
    for (let mark = 0; mark <= marks; mark += 1) {
      const back = (scale.span * mark) / marks;
      const anchor = mark === 0 ? "end" : mark === marks ? "start" : "middle";
      const label = mark === 0 ? "now" : back % 60 ? `−${Math.round(back)} s` : back % 3600 ? `−${back / 60} min` : `−${back / 3600} h`;
      grid.append(svg("text", { x: xOf(now - back), y: HEIGHT - 5, "text-anchor": anchor }, label));
    }
    drawReading();
  }

  // What the pointer is on moves on with every sample, also while the pointer rests.
  function drawReading() {
    let best = null;
    const x = pointer;
    for (const sample of samples) {
      if (sample.into !== null && (best === null || Math.abs(xOf(sample.at) - x) < Math.abs(xOf(best.at) - x))) best = sample;
    }
    cursor.setAttribute("visibility", x === null || best === null ? "hidden" : "visible");
    reading.hidden = x === null || best === null;
    if (reading.hidden) return;
    const at = xOf(best.at);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    setText(reading, `${moment(best.at)}   in ${rate(best.into)}/s   out ${rate(best.out)}/s`);
    reading.style.left = `${Math.min(Math.max(at, 110), scale.width - 110)}px`;
  }

  box.addEventListener("pointermove", (event) => {
    pointer = event.clientX - box.getBoundingClientRect().left;
    drawReading();
  });
  box.addEventListener("pointerleave", () => {
    pointer = null;
    drawReading();
  });
  new ResizeObserver(draw).observe(box);
  return {
    root: box,
    update(given, at, span = LIVE) {
      samples = given;
      longest = span;
      now = at;
      const last = samples.at(-1);
      root.setAttribute("aria-label", `Throughput: ${rate(last?.into)} events in and ${rate(last?.out)} out per second`);
      draw();
    },
  };
}
