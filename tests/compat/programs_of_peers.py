"""
The programs in ``programs`` as a process: by an SDK, or with the import changed; and what arrived at a data plane.

``python tests/compat/programs_of_peers.py PYTHON``, from the root of the project, writes ``recorded`` anew. PYTHON is an
interpreter with the SDKs, such as that of ``.venv-bench-peers``, which ``./run bench`` makes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from eventspool.testing import DataPlane

HERE = Path(__file__).parent
MODULES = {
    "segment": "segment.analytics",
    "rudder": "rudderstack.analytics",
    "htevents": "hightouch.htevents",
}
"""The SDKs: the face's name, and the module that is imported."""
PACKAGES = {
    "segment": "segment-analytics-python",
    "rudder": "rudder-sdk-python",
    "htevents": "events-sdk-python",
    "posthog": "posthog",
}
RUNS = [(sdk, program) for sdk in MODULES for program in (f"{sdk}_module", f"{sdk}_client", "family_values")]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_RECENT = timedelta(minutes=10)


class Run(NamedTuple):
    """What one run of a program gave: the events that arrived, in order, and what it printed."""

    events: list[dict[str, Any]]
    printed: list[str]


def run_program(python: str | Path, sdk: str, program: str, *, changes_import: bool) -> Run:
    """Run *program* as one of *sdk*: with its import as it is, or changed to that of the face here."""
    code = (HERE / "programs" / f"{program}.py").read_text(encoding="utf-8")
    module = f"eventspool.compat.{sdk}" if changes_import else MODULES[sdk]
    for each in MODULES.values():
        code = code.replace(f"import {each}", f"import {module}").replace(f"from {each}", f"from {module}")
    with DataPlane(None) as plane:
        env = {**os.environ, "DATA_PLANE": plane.url, "TZ": "America/New_York"}
        done = subprocess.run(
            [python, "-c", code], check=True, capture_output=True, text=True, timeout=120, env=env
        )
        return Run([with_random_parts_named(event) for event in plane.events], done.stdout.splitlines())


def with_random_parts_named(event: dict[str, Any]) -> dict[str, Any]:
    """Return *event* with words in the place of a random id, and of moments that are about now."""
    named = dict(event)
    if _UUID.fullmatch(str(event["messageId"])):
        named["messageId"] = "a random UUID"
    for name in ("timestamp", "originalTimestamp"):
        if name in event and abs(datetime.now(UTC) - datetime.fromisoformat(event[name])) < _RECENT:
            named[name] = "now"
    return named


def recorded(sdk: str, program: str) -> Run:
    """Return what a run by the SDK itself gave."""
    found = json.loads((HERE / "recorded" / f"{sdk}-{program}.json").read_text(encoding="utf-8"))
    return Run(found["events"], found["printed"])


_ASK_FOR_OPTIONS = """
import importlib, inspect, json
module = importlib.import_module({module!r})
options = list(inspect.signature(module.Client).parameters)
print(json.dumps([name for name in options if not name.startswith("_")]))
"""


def main(python: str) -> None:
    options = {}
    for sdk in PACKAGES:
        code = _ASK_FOR_OPTIONS.format(module=MODULES.get(sdk, sdk))
        done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
        options[sdk] = json.loads(done.stdout)
    (HERE / "recorded" / "options.json").write_text(json.dumps(options, indent=1) + "\n", encoding="utf-8")
    for sdk, program in RUNS:
        code = f"from importlib.metadata import version; print(version({PACKAGES[sdk]!r}))"
        version = subprocess.run(
            [python, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        run = run_program(python, sdk, program, changes_import=False)
        content = {"by": f"{PACKAGES[sdk]} {version}", **run._asdict()}
        path = HERE / "recorded" / f"{sdk}-{program}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name}: {len(run.events)} events")


if __name__ == "__main__":
    main(sys.argv[1])
