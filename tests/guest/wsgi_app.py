"""An application for gunicorn: tracks when it is loaded, and once per request."""

from __future__ import annotations

import time
from typing import Any

from guest import journal

client = journal.new_client()
journal.track(client, "Loaded")


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Track an event and answer."""
    journal.track(client, "Requested")
    time.sleep(0.002)  # leaves some requests to the other worker
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
