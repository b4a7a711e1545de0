"""An application for uWSGI: its client is made, and may be used, when the server loads it, and is used by each request."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import uwsgi

from e2e.programs.quiet import await_quiet
from guest import journal

client = journal.new_client(**json.loads(os.environ["GUEST_OPTIONS"]))
if os.environ["GUEST_AT_BOOT"] == "used":
    journal.track(client, "Loaded")
    assert not client.flush(until=os.environ["GUEST_UNTIL"], timeout=50.0).pending
    if (
        not uwsgi.worker_id()
    ):  # the master, which forks next; a worker's threads rest only when the others' do
        await_quiet()


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Track an event and answer with this process's id."""
    journal.track(client, "Requested")
    time.sleep(0.002)  # leaves some requests to the other worker
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
