"""
Draws the diagrams of the pages: `python tools/pictures.py` writes docs/images/*.svg.

They are plain SVG, so that a page shows them without a script and without a network, on GitHub as on the site, light and dark.
A test draws them again and compares. Lengths are in SVG units, some of which are a pixel.
"""

from __future__ import annotations

from html import escape
from math import log10
from pathlib import Path

from eventspool._operate.capacity import Limit, Load, find_limits, make_plan

FOLDER = Path(__file__).parents[1] / "docs/images"

STYLE = """
  text { font: 14px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #1f2933; text-anchor: middle }
  .ground { fill: #fff }
  .group { fill: #f1f5f4; stroke: #cbd5d1 }
  .box { fill: #fff; stroke: #5b6b66; stroke-width: 1.5 }
  .store { fill: #e0f2ef; stroke: #00796b; stroke-width: 1.5 }
  .good { fill: #e3f4e4; stroke: #2e7d32; stroke-width: 1.5 }
  .bad { fill: #fdeceb; stroke: #c62828; stroke-width: 1.5 }
  .way { fill: none; stroke: #5b6b66; stroke-width: 1.5 }
  .grid { fill: none; stroke: #cbd5d1 }
  .seldom { stroke-dasharray: 5 4 }
  .head { fill: #5b6b66 }
  .name { font-weight: 600 }
  .small { font-size: 12px; fill: #52605b }
  .left { text-anchor: start }
  .right { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e9e7 }
    .ground { fill: #1c2327 }
    .group { fill: #242d31; stroke: #3c494d }
    .box { fill: #2b363a; stroke: #9fb0aa }
    .store { fill: #12403b; stroke: #4db6ac }
    .good { fill: #1d3d20; stroke: #81c784 }
    .bad { fill: #4a2020; stroke: #ef9a9a }
    .way { stroke: #9fb0aa }
    .grid { stroke: #3c494d }
    .head { fill: #9fb0aa }
    .small { fill: #a9b8b3 }
  }
"""

HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path class="head" d="M0 0L8 4L0 8z"/></marker>'
)
"""The head of an arrow."""


class Drawing:
    """Boxes, and ways between them."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<defs>{HEAD}</defs>",
            f'<rect class="ground" width="{width}" height="{height}" rx="10"/>',
        ]

    def group(self, x: int, y: int, width: int, height: int, title: str) -> None:
        """Draw what holds several boxes."""
        self._parts.append(f'<rect class="group" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>')
        self.text(x + 12, y + 20, title, "small left")

    def box(self, x: int, y: int, width: int, height: int, name: str, *lines: str, kind: str = "box") -> None:
        """Draw a box, with its name and what is said of it in the middle."""
        self._parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        first = y + height / 2 + 5 - 8.5 * len(lines)
        self.text(x + width / 2, first, name, "name")
        for number, line in enumerate(lines, 1):
            self.text(x + width / 2, first + 17 * number, line, "small")

    def way(self, path: str, *, seldom: bool = False) -> None:
        """Draw an arrow along *path*, in the words of SVG."""
        self._parts.append(
            f'<path class="way{" seldom" if seldom else ""}" d="{path}" marker-end="url(#head)"/>'
        )

    def text(self, x: float, y: float, text: str, kind: str = "small") -> None:
        """Write a line of text, by default around *x*."""
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Draw a length that means something."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:.0f}" height="{height:g}" rx="2"/>'
        )

    def rule(self, x: float, y: float, end: float) -> None:
        """Draw a thin line downwards."""
        self._parts.append(f'<path class="grid" d="M{x:.0f} {y:g}V{end:g}"/>')

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def draw_life() -> Drawing:
    """From a call to the data plane, and what happens where something is in the way."""
    drawn = Drawing("The life of an event: from track() over memory and queue to the data plane", 1000, 330)
    drawn.group(16, 16, 350, 206, "your process")
    drawn.group(576, 16, 226, 206, "a thread of yours, or a worker")
    drawn.box(36, 66, 120, 70, "track()", "microseconds")
    drawn.box(222, 66, 124, 70, "memory", "20 events or 20 s")
    drawn.box(400, 66, 142, 70, "queue", "Redis or SQLite", kind="store")
    drawn.box(606, 66, 166, 70, "delivery", "batches, tried again")
    drawn.box(856, 66, 128, 70, "data plane", "answers 2xx", kind="good")
    drawn.box(400, 244, 142, 62, "spill file", "while Redis is away", kind="store")
    drawn.box(606, 244, 166, 62, "failed queue", "look, mend, retry", kind="bad")
    for path in ("M156 101H220", "M346 101H398", "M542 101H604", "M772 101H854", "M650 136V242"):
        drawn.way(path)
    for path in ("M284 136V275H398", "M471 244V138", "M728 244V138"):
        drawn.way(path, seldom=True)
    drawn.text(188, 92, "event")
    drawn.text(829, 92, "HTTPS")
    for x, y, state, meaning in (
        (96, 160, "accepted:", "it has a messageId"),
        (471, 30, "stored:", "survives SIGKILL"),
        (920, 30, "delivered:", "the callback hears it"),
    ):
        drawn.text(x, y, state, "small name")
        drawn.text(x, y + 17, meaning)
    drawn.text(620, 194, "refused")
    drawn.text(746, 194, "retry")
    return drawn


def draw_states() -> Drawing:
    """What becomes of a job."""
    drawn = Drawing("The states of a job: waiting, leased, delayed, delivered, failed", 920, 340)
    drawn.box(30, 130, 170, 64, "waiting", "any processor may take it", kind="store")
    drawn.box(400, 130, 156, 64, "leased", "one processor sends it", kind="store")
    drawn.box(216, 256, 156, 64, "delayed", "waits for its next try", kind="store")
    drawn.box(730, 50, 150, 64, "delivered", "gone from the queue", kind="good")
    drawn.box(730, 220, 150, 64, "failed", "kept, with a reason", kind="bad")
    drawn.way("M200 152H398")
    drawn.text(300, 143, "claimed, for 60 s at a time")
    drawn.way("M400 176H202", seldom=True)
    drawn.text(300, 197, "put back; or its holder died")
    drawn.way("M556 146C640 146 640 82 728 82")
    drawn.text(606, 96, "answered 2xx")
    drawn.way("M556 178C640 178 640 252 728 252")
    drawn.text(706, 182, "refused, or tried 10 times")
    drawn.way("M478 194V288H374")
    drawn.text(490, 276, "5xx, 429, or no answer", "small left")
    drawn.way("M216 288H115V196")
    drawn.text(158, 308, "its time comes")
    drawn.way("M880 252H900V22H115V128", seldom=True)
    drawn.text(400, 42, "an operator retries it: eventspool queue retry")
    return drawn


def draw_architecture() -> Drawing:
    """Which file does which step."""
    drawn = Drawing("An event's way through the files of src/eventspool", 1000, 560)
    drawn.group(16, 16, 640, 112, "the host's thread")
    drawn.box(36, 48, 180, 60, "track()", "_events/methods.py")
    drawn.box(246, 48, 180, 60, "bytes", "_events/event.py")
    drawn.box(456, 48, 180, 60, "put", "_buffering/buffer.py")
    drawn.group(16, 152, 640, 112, "the flusher's thread")
    drawn.box(456, 184, 180, 60, "batches", "_buffering/flusher.py")
    drawn.box(246, 184, 180, 60, "seal", "_envelope.py")
    drawn.box(36, 184, 180, 60, "commit", "_buffering/place.py")
    drawn.box(36, 300, 180, 66, "queue", "_backends: memory,", "sqlite/, redis/", kind="store")
    drawn.box(246, 300, 180, 66, "spill file", "_buffering/spill.py", kind="store")
    drawn.group(16, 396, 430, 148, "")
    drawn.text(434, 416, "the processor's thread", "small right")
    drawn.box(36, 446, 180, 60, "claim", "_delivery/dispatcher.py")
    drawn.box(246, 446, 180, 60, "settle", "_settling/settler.py")
    drawn.group(486, 288, 250, 256, "the senders' threads")
    drawn.box(516, 446, 190, 60, "plan, verdict", "_delivery/attempt.py")
    drawn.box(516, 326, 190, 60, "POST", "_delivery/transport.py")
    drawn.box(786, 326, 130, 60, "data plane", kind="good")
    drawn.box(786, 446, 190, 60, "who waits?", "_settling/ledger.py")
    drawn.box(786, 184, 190, 66, "callbacks, on_error", "_settling/reporting.py", kind="good")
    for path in (
        "M216 78H244",
        "M426 78H454",
        "M456 214H428",
        "M246 214H218",
        "M110 244V298",
        "M110 366V444",
    ):
        drawn.way(path)
    drawn.way("M546 108V182", seldom=True)
    drawn.text(586, 146, "wakes")
    drawn.way("M190 244V280H336V298", seldom=True)
    drawn.text(390, 285, "Redis is away")
    drawn.way("M246 333H218", seldom=True)
    drawn.way("M126 506V530H611V508")
    drawn.way("M611 446V388")
    drawn.way("M706 356H784")
    drawn.way("M516 476H428")
    drawn.text(471, 466, "outcome")
    drawn.way("M266 446V384H170V368")
    drawn.text(320, 389, "ack, retry, fail")
    drawn.way("M400 506V518H881V508")
    drawn.way("M946 446V252")
    return drawn


def draw_limits() -> Drawing:
    """How many events a second one of each thing carries, from the capacity model."""
    found: dict[str, dict[int, Limit]] = {}
    for size in (20, 500):
        plan = make_plan(Load(events_per_second=1000.0, events_per_batch=size, producers=1))
        for limit in find_limits(plan):
            found.setdefault(limit.name, {})[size] = limit
    rows = sorted(found.values(), key=lambda row: row[20].events_per_second)
    left, right, top, step = 300, 900, 86, 40
    decades = range(2, 8)
    drawn = Drawing(
        "What ends first: events a second that one of each carries, for an outage of an hour",
        1000,
        top + step * len(rows) + 34,
    )
    width = (right - left) / (decades[-1] - decades[0])

    def place(events: float) -> float:
        return left + (log10(events) - decades[0]) * width

    drawn.text(left, 30, "events a second, with an outage of one hour", "small left name")
    drawn.bar(left, 44, 26, 10, "box")
    drawn.text(left + 34, 53, "20 events a batch", "small left")
    drawn.bar(left + 190, 44, 26, 10, "store")
    drawn.text(left + 224, 53, "500 events a batch", "small left")
    end = top + step * len(rows)
    for decade in decades:
        drawn.rule(place(10**decade), top - 8, end)
        drawn.text(place(10**decade), end + 20, f"{10**decade:,}")
    for number, row in enumerate(rows):
        y = top + number * step
        drawn.text(left - 12, y + 18, row[20].meaning, "right")
        for shift, size, kind in ((0, 20, "box"), (15, 500, "store")):
            x = place(row[size].events_per_second)
            drawn.bar(left, y + shift, x - left, 12, kind)
            drawn.text(x + 8, y + shift + 10, f"{_two_digits(row[size].events_per_second):,}", "small left")
    return drawn


def _two_digits(number: float) -> int:
    """Return *number* with the two digits that count."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return round(number / step) * step


PICTURES = {
    "life-of-an-event": draw_life,
    "states-of-a-job": draw_states,
    "architecture": draw_architecture,
    "what-ends-first": draw_limits,
}
"""Name of a file -> what draws it."""

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(str(draw()), encoding="utf-8")
