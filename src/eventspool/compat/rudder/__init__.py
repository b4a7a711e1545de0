"""
The face of rudder-sdk-python: import this module in the place of ``rudderstack.analytics``.

The settings are assigned before the first call, which makes ``default_client`` of them. What differs from the SDK stands in
docs/migration/rudder.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._version import __version__
from eventspool.compat._module import Face
from eventspool.compat.rudder.client import Client

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

__all__ = [
    "Client",
    "__version__",
    "alias",
    "flush",
    "group",
    "identify",
    "join",
    "page",
    "screen",
    "shutdown",
    "track",
]

write_key: str | None = None
host: str | None = None
dataPlaneUrl: str | None = None  # noqa: N816 - its name there
on_error: Callable[[Exception, list[dict[str, Any]]], object] | None = None
debug = False
log_handler: logging.Handler | None = None
send = True
sync_mode = False
max_queue_size = 10_000
gzip = True
timeout: float = 15
max_retries = 10
proxies: Mapping[str, str] | str | None = None
thread = 1
upload_size = 100
upload_interval = 0.5
persistence: Any = None
"""The queue, as ``eventspool.Client`` takes it. Its other options may be assigned, too."""

default_client: Client | None = None
"""Made by the first call. ``None`` has the next call make another one."""

_face = Face(__name__, urls=("dataPlaneUrl",))

identify = _face.call_silently(Client.identify)
track = _face.call_silently(Client.track)
page = _face.call_silently(Client.page)
screen = _face.call_silently(Client.screen)
group = _face.call_silently(Client.group)
alias = _face.call_silently(Client.alias)
flush = _face.call_silently(Client.flush)
join = _face.call_silently(Client.join)
shutdown = _face.call_silently(Client.shutdown)

_face.check_assignments()
