"""Write stored events as JSON lines."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from eventspool._envelope import EnvelopeError, open_envelope
from eventspool._operate.reading import read_payloads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventspool._backends import Backend
    from eventspool._operate.terms import Terms

__all__ = ["write_events"]


def write_events(
    backend: Backend, file: IO[bytes], ids: Iterable[str], terms: Terms | None
) -> dict[str, int]:
    """Write the events of the jobs *ids*, or those that meet *terms*, to *file*. Return how many by job that could be read."""
    written: dict[str, int] = {}
    for payloads in read_payloads(backend, ids):
        for job_id, payload in payloads.items():
            try:
                events = open_envelope(payload or b"").split()
            except EnvelopeError:
                continue
            if terms:
                events = [event for event in events if terms.are_met_by(event)]
            if events:
                file.write(b"\n".join([*events, b""]))
            written[job_id] = len(events)
    return written
