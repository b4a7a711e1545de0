"""
What the processes of a host were promised: one line ``PID ID`` for each accepted event, in one file.

The client of a host, too, is made here: configured by the environment, as the processes of servers are.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventspool import Client
    from eventspool.testing import DataPlane

__all__ = ["assert_once", "await_accepted", "environment", "new_client", "read", "track"]

_TESTS = Path(__file__).parent.parent
_PATIENCE = 60.0


def environment(plane: DataPlane, path: Path, store: dict[str, Any] | None, **more: str) -> dict[str, str]:
    """Return the environment of a host whose processes write to the journal at *path*."""
    path.touch()
    own = {
        "GUEST_URL": plane.url,
        "GUEST_KEY": plane.write_key,
        "GUEST_STORE": json.dumps(store),
        "GUEST_JOURNAL": str(path),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH")))),
        "PYTHONWARNINGS": "",  # what the hosts themselves are warned of is not ours to mend
    }
    return {**os.environ, **own, **more}


def new_client(kind: Any = None, **options: Any) -> Any:
    """Return a client that sends nothing by itself for as long as a test lasts: its end has to do that."""
    if kind is None:
        from eventspool import Client as kind  # noqa: N813
    store = json.loads(os.environ["GUEST_STORE"])
    url, key = os.environ["GUEST_URL"], os.environ["GUEST_KEY"]
    options = {"flush_at": 7, "flush_interval": 3600.0, **options}
    return kind(key, data_plane_url=url, persistence=store, **options)


def track(client: Client, event: str) -> None:
    """Track *event* and, where it was accepted, write that down."""
    message_id = client.track("u1", event, {"pid": os.getpid()})
    if message_id is None:  # as a closed client says
        return
    file = os.open(os.environ["GUEST_JOURNAL"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, f"{os.getpid()} {message_id}\n".encode())
    finally:
        os.close(file)


def read(path: Path) -> dict[str, int]:
    """Return the process of every accepted event, by message id."""
    lines = [line.split() for line in path.read_text().splitlines()]
    accepted = {message_id: int(pid) for pid, message_id in lines}
    assert len(accepted) == len(lines), "two events have the same id"
    return accepted


def await_accepted(path: Path, events: int) -> dict[str, int]:
    """Wait until *events* were accepted; fail when they are not."""
    deadline = time.monotonic() + _PATIENCE
    while len(accepted := read(path)) < events:
        assert time.monotonic() < deadline, f"{len(accepted)} of {events} events were accepted"
        time.sleep(0.02)
    return accepted


def assert_once(plane: DataPlane, path: Path) -> None:
    """Fail unless every accepted event has arrived, once, and nothing else has."""
    accepted = read(path)
    plane.wait_for(len(accepted), timeout=5.0)
    arrived = set(plane.unique_ids())
    missing = accepted.keys() - arrived
    lost_by = {accepted[message_id] for message_id in missing}
    assert not missing, f"{len(missing)} of {len(accepted)} are missing, all of processes {lost_by}"
    assert arrived == accepted.keys(), "something arrived that nobody was promised"
    assert plane.stats().duplicates == 0
