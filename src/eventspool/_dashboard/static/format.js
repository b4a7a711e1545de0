// Numbers and times as people read them. Pure.

const grouped = new Intl.NumberFormat("en-US");
const UNITS = [
  [86400, "d", 3600, "h"],
  [3600, "h", 60, "min"],
  [60, "min", 1, "s"],
];

export function count(number) {
  return grouped.format(number);
}

export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function rate(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0 || number >= 100) return count(Math.round(number));
  return number.toFixed(number < 10 ? 1 : 0);
}

export function compact(number) {
  if (number < 1000) return String(Math.round(number * 10) / 10);
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) return `${Math.round((number / size) * 10) / 10}${unit}`;
  }
  return String(number);
}

export function bytes(size) {
  for (const unit of ["B", "KB", "MB"]) {
    if (size < 1000) return unit === "B" ? `${size} B` : `${size.toFixed(1)} ${unit}`;
    size /= 1000;
  }
  return `${size.toFixed(1)} GB`;
}

// A duration in its two largest units: "3 s", "4 min 5 s", "2 d 3 h".
export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, name, small, smallName] of UNITS) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / small);
      return rest ? `${Math.floor(whole / size)} ${name} ${rest} ${smallName}` : `${Math.floor(whole / size)} ${name}`;
    }
  }
  return `${whole} s`;
}

export function latency(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return seconds < 100 ? `${seconds.toFixed(seconds < 10 ? 1 : 0)} s` : age(seconds);
}

export function moment(seconds) {
  if (!Number.isFinite(seconds) || !seconds) return "–";
  const date = new Date(seconds * 1000);
  const day = date.toDateString() === new Date().toDateString() ? {} : { month: "short", day: "numeric" };
  return date.toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// What an HTTP status (or "timeout") means for the events.
export function statusLevel(status) {
  if (/^2/.test(status)) return "good";
  if (/^(408|425|429|3)/.test(status)) return "warn";
  return "bad";
}
