"""
Takes the pictures of the README anew: `python tools/screenshots.py` writes docs/images/dashboard.png and demo.svg.

They show what is there: the dashboard over a queue that really works, in headless Chromium, and what `eventspool demo` really
prints. It takes a minute and a half. No test compares the two, for no run is like another.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import eventspool
from eventspool.testing import DataPlane

FOLDER = Path(__file__).parents[1] / "docs/images"
SECONDS = 75
"""How long the dashboard looks at the queue before the picture is taken: its charts show a minute."""
NAMES = ["Order Completed", "Page Viewed", "Cart Updated", "Signed Up", "Coupon Applied"]


def show_demo() -> str:
    """Return the picture of a terminal in which the demo has run."""
    from rich.console import Console
    from rich.text import Text

    environment = {**os.environ, "COLUMNS": "96"}
    command = [sys.executable, "-m", "eventspool", "demo", "--sample"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=True
    )
    shown = Text("$ eventspool demo\n" + done.stdout.rstrip())
    shown.highlight_regex(r"^\$ .*", "bold")
    shown.highlight_regex(r"(?m)^ +[\d.]+ s  SIGKILL.*$", "red")
    shown.highlight_regex(r"(?m)^(lost|changed|failed) +0", "bold green")
    shown.highlight_regex(r"Nothing lost\.", "bold green")
    shown.highlight_regex(r"(?m)^ +[\d.]+ s ", "dim")
    console = Console(record=True, width=96, file=io.StringIO())
    console.print(shown)
    svg = console.export_svg(title="eventspool demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # it would ask another host for a font
    return re.sub(r"Fira Code(, ?)?", r"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono'\1", svg)


def work(client: eventspool.Client, ended: threading.Event) -> None:
    """Track events as a shop does, now more and now fewer."""
    drawn = random.Random(1997)
    began = time.monotonic()
    while not ended.wait(0.02):
        busy = 2 + (time.monotonic() - began) % 20 / 4
        for _ in range(drawn.randrange(int(busy) + 1)):
            poisonous = drawn.random() < 0.003
            client.track(
                f"user-{drawn.randrange(900)}",
                "Order Imported" if poisonous else drawn.choice(NAMES),
                {"order_id": f"o-{drawn.randrange(10_000)}", "total": round(drawn.uniform(5, 90), 2)},
            )


def show_dashboard(folder: Path) -> bytes:
    """Return the picture of the dashboard, over a queue that works while the data plane has bad moments."""
    from playwright.sync_api import sync_playwright

    url = f"sqlite:///{folder}/events.db"
    with DataPlane(None) as plane:
        plane.script(
            {"reject": "batch", "event": "Order Imported"},
            {"status": 503, "from": 30, "to": 37},
            {"status": 429, "retry_after": 1, "p": 0.05},
            {"latency": [0.01, 0.12]},
        )
        queue = {"url": url, "is_multi_processor": True}
        client = eventspool.Client("dev", data_plane_url=plane.url, persistence=queue, flush_interval=0.5)
        client.track("user-1", "Signed Up")
        client.flush(timeout=30)
        ended = threading.Event()
        worker = threading.Thread(target=work, args=(client, ended))
        worker.start()
        command = [sys.executable, "-m", "eventspool", "dashboard", "--queue", url, "--dataplane", plane.url]
        served = subprocess.Popen([*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True)
        try:
            assert served.stdout is not None
            address = json.loads(served.stdout.readline())["url"]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                context = browser.new_context(viewport={"width": 1180, "height": 860}, color_scheme="light")
                page = context.new_page()
                page.goto(address)
                page.wait_for_timeout(SECONDS * 1000)
                picture = page.screenshot()
                browser.close()
        finally:
            ended.set()
            worker.join()
            served.terminate()
            served.wait()
            served.stdout.close()
            client.close()
    return picture


def shrink(picture: bytes) -> bytes:
    """Return a PNG of 96 colours."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(96).save(small, "PNG", optimize=True)
    return small.getvalue()


def main() -> None:
    """Take both pictures."""
    if "dashboard" not in sys.argv:
        (FOLDER / "demo.svg").write_text(show_demo(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (FOLDER / "dashboard.png").write_bytes(shrink(show_dashboard(Path(folder))))


if __name__ == "__main__":
    main()
