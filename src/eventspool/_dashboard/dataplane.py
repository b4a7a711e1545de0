"""
The local data plane as the *Events* page shows it: the events that arrived, the requests that carried them, and the faults.

All of it is read from the control endpoints, so the data plane may run in another process. It answers only this machine.
"""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eventspool._config import DEFAULT_PATH
from eventspool._dashboard.reading import as_curl, as_python, line, pretty, search_text
from eventspool._dashboard.security import is_loopback
from eventspool._events.decoding import decode_event
from eventspool._exceptions import ConfigError, EventSpoolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DataPlaneError", "LocalDataPlane"]

_TIMEOUT_SECONDS = 2.0
_EVENTS = 500
_SHOWN = 100
_REQUESTS = 1000


class DataPlaneError(EventSpoolError):
    """The local data plane did not answer, or refused the request."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The last events, newest first, each once; and the last requests, oldest first."""

    key: tuple[int, int]
    events: Sequence[Mapping[str, Any]] = ()
    requests: Sequence[Mapping[str, Any]] = ()


class LocalDataPlane:
    """
    Args:
        url: Where ``eventspool dataplane`` listens, such as ``http://127.0.0.1:8123``.
        public_url: Where clients reach it, where that is elsewhere.
        path: Where they post batches.

    Raises:
        ConfigError: The URL is not one of this machine.
    """

    def __init__(self, url: str, *, public_url: str | None = None, path: str = DEFAULT_PATH) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port or 80
        except ValueError:
            port = 0
        if parts.scheme != "http" or not port or not is_loopback(parts.hostname or ""):
            raise ConfigError(
                f"dataplane must be the http:// URL of one on this machine, such as http://127.0.0.1:8123, not {url!r}"
            )
        self.url = public_url or f"http://{parts.netloc}"
        self._path = path
        self._address = (parts.hostname or "", port)
        self._lock = threading.Lock()
        self._snapshot = _Snapshot(key=(-1, -1))

    @property
    def batches(self) -> str:
        """Return where clients post batches."""
        return f"{self.url}{self._path}"

    def stats(self) -> dict[str, Any]:
        """Return the data plane's counts since it was started."""
        answer = self._ask("GET", "/__stats")
        return {
            name: answer.get(name)
            for name in ("requests", "statuses", "events", "unique", "duplicates", "faults")
        }

    def inbox(self, search: str) -> list[dict[str, Any]]:
        """Return the last events that arrived, newest first, as lines: those that hold *search* anywhere."""
        snapshot = self._look()
        tries: dict[str, list[float]] = {}
        for request in snapshot.requests:
            for message_id in request["message_ids"]:
                tries.setdefault(message_id, []).append(request["time"])
        wanted = search.casefold().strip()
        lines: list[dict[str, Any]] = []
        for event in snapshot.events:
            if len(lines) == _SHOWN:
                break
            if wanted and wanted not in search_text(event):
                continue
            times = tries.get(event["messageId"], [])
            lines.append(
                {
                    **line(event),
                    "key": event["messageId"],
                    "arrived_at": max(times, default=None),
                    "tries": len(times),
                }
            )
        return lines

    def event(self, message_id: str) -> dict[str, Any]:
        """Return one event whole, with its life: the requests that carried it, of those that the data plane still knows."""
        snapshot = self._look()
        found = next((event for event in snapshot.events if event["messageId"] == message_id), None)
        if found is None:
            raise DataPlaneError("this event is no longer kept")
        life = [
            {"what": "tracked", "moment": str(found.get("originalTimestamp") or found.get("timestamp") or "")}
        ]
        carried = (request for request in snapshot.requests if message_id in request["message_ids"])
        life += [{"what": "sent", **_attempt(request)} for request in carried]
        return {
            **line(found),
            "key": message_id,
            "json": pretty(found),
            "curl": as_curl(found, self.batches),
            "python": as_python(found),
            "life": life,
        }

    def set_faults(self, rules: Sequence[str]) -> None:
        """Replace the fault script; without rules all faults end. Raises ``DataPlaneError`` where a rule is wrong."""
        self._ask("POST", "/__faults", list(rules))

    def _look(self) -> _Snapshot:
        stats = self._ask("GET", "/__stats")
        key = (stats["requests"], stats["events"])
        with self._lock:
            if self._snapshot.key != key:
                events = self._ask("GET", f"/__events?limit={_EVENTS}")["events"]
                requests = self._ask("GET", f"/__requests?limit={_REQUESTS}")["requests"]
                newest_first = {event["messageId"]: event for event in reversed(events)}
                self._snapshot = _Snapshot(key, list(newest_first.values()), requests)
            return self._snapshot

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_SECONDS)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            answer = decode_event(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            raise DataPlaneError("the local data plane does not answer") from None
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            message = answer.get("message")
            raise DataPlaneError(str(message or f"the local data plane answered {response.status}"))
        return answer


def _attempt(request: Mapping[str, Any]) -> dict[str, Any]:
    status = request["status"]
    return {
        "at": request["time"],
        "status": "no answer" if status is None else str(status),
        "events": request["events"],
        "recorded": bool(request["recorded"]),
        "fault": request["fault"],
        "sent_at": request["sent_at"],
    }
