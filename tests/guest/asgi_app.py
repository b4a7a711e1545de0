"""An application for uvicorn, which ends a worker by a signal: so it closes its client at shutdown, or has SIGTERM do it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from eventspool import AsyncClient
from guest import journal

BY_SIGTERM = os.environ["GUEST_CLOSED_BY"] == "sigterm"
client = journal.new_client(AsyncClient, handle_sigterm=BY_SIGTERM)
journal.track(client, "Loaded")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Track an event and answer."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    journal.track(client, "Requested")
    await asyncio.sleep(0.002)  # leaves some requests to the other worker
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _live(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if not BY_SIGTERM:
        await client.close()
    await send({"type": "lifespan.shutdown.complete"})
