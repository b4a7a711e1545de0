"""The options of a client: where its events go, how much waits in memory, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from eventspool._config.authorities import load_trust
from eventspool._config.checks import require_bool, require_numbers, require_text
from eventspool._config.queue import QueueOpts, SpillOpts
from eventspool._exceptions import ConfigError

__all__ = ["DEFAULT_DATA_PLANE_URL", "DEFAULT_PATH", "ClientOpts"]

DEFAULT_DATA_PLANE_URL = "https://us-east-1.hightouch-events.com"
DEFAULT_PATH = "/v1/batch"
"""Where batches go at the data plane."""
_LARGEST_BATCH = 32 << 20
"""Bytes. Half of the most that ``eventspool._envelope`` reads as a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOpts:
    """The client's options, checked. ``Client`` says what each of them means."""

    write_key: str = field(default="", repr=False)
    data_plane_url: str = DEFAULT_DATA_PLANE_URL
    path: str = DEFAULT_PATH
    flush_at: int = 20
    flush_interval: float = 20.0
    max_internal_queue_size: int = 20_000
    max_batch_bytes: int = 460_800
    max_event_bytes: int = 32_768
    gzip: bool = True
    timeout: float = 10.0
    enable: bool = True
    strict: bool = False
    durability: Literal["buffered", "persisted", "replicated"] = "buffered"
    process: bool = True
    handle_sigterm: bool = False
    spill: SpillOpts | str | Mapping[str, Any] | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.write_key == "":
            raise ConfigError("write_key is missing: give it, or set EVENTSPOOL_WRITE_KEY")
        require_text("write_key", self.write_key)
        if any(ord(c) < 33 or ord(c) > 126 or c == ":" for c in self.write_key):
            raise ConfigError("write_key must be printable ASCII without spaces or colons")
        require_text("data_plane_url", self.data_plane_url)
        try:
            parts = urlsplit(self.data_plane_url)
            port_ok = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_ok = urlsplit(""), False
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
            raise ConfigError("data_plane_url must be an http:// or https:// URL with a host")
        if (
            parts.username is not None
            or parts.query
            or parts.fragment
            or any(c <= " " for c in self.data_plane_url)
        ):
            raise ConfigError("data_plane_url must hold no user, query, fragment or space")
        if any(c > "~" for c in parts.path):
            raise ConfigError("data_plane_url must hold printable ASCII only in its path: quote the rest")
        require_text("path", self.path)
        if not self.path.startswith("/") or any(c <= " " or c > "~" for c in self.path):
            raise ConfigError("path must begin with / and hold printable ASCII only")
        if parts.path.rstrip("/").endswith(self.path.rstrip("/") or "/"):
            raise ConfigError(
                f"data_plane_url ends with {self.path}, which path adds once more: leave it out of the URL"
            )
        require_numbers(self, exclusive=True, flush_interval=0, timeout=0)
        require_numbers(self, integer=True, flush_at=1, max_internal_queue_size=1)
        require_numbers(self, integer=True, max_batch_bytes=1024, max_event_bytes=128)
        if self.max_batch_bytes > _LARGEST_BATCH:
            raise ConfigError(f"max_batch_bytes must be at most {_LARGEST_BATCH}, not {self.max_batch_bytes}")
        for name in ("gzip", "enable", "strict", "process", "handle_sigterm"):
            require_bool(name, getattr(self, name))
        if self.durability not in ("buffered", "persisted", "replicated"):
            raise ConfigError(
                f"durability must be 'buffered', 'persisted' or 'replicated', not {self.durability!r}"
            )
        if self.max_event_bytes > self.max_batch_bytes - 128:
            raise ConfigError("max_event_bytes must leave 128 bytes of room in max_batch_bytes")
        if self.spill is not None:
            given = {"url": self.spill} if isinstance(self.spill, str) else self.spill
            object.__setattr__(self, "spill", SpillOpts.of(given, "spill"))
        self._check_way()

    def _check_way(self) -> None:
        """Raise ``ConfigError`` unless *proxy*, whose URL may hold a password, and *ca_file* can be used."""
        if self.proxy:
            from eventspool._config.proxy import parse_proxy  # few clients name one

            require_text("proxy", self.proxy)
            try:
                parse_proxy(self.proxy)
            except ValueError as error:
                raise ConfigError(f"proxy {error}") from None
        elif self.proxy not in (None, ""):
            raise ConfigError(
                f'proxy must be a URL, None for the environment\'s or "" for none, not {self.proxy!r}'
            )
        if self.ca_file != "":  # "" is what an unset variable of the environment gives
            require_text("ca_file", self.ca_file, optional=True)
        if self.ca_file:
            try:
                load_trust(self.ca_file, {})
            except ValueError as error:
                raise ConfigError(f"ca_file: {error}") from None

    @property
    def calls_wait(self) -> bool:
        """Each event method returns only once its event is stored."""
        return self.durability != "buffered"

    @property
    def is_replicated(self) -> bool:
        """What is stored counts only once replicas have it."""
        return self.durability == "replicated"

    def require_replicas(self, queue: QueueOpts | None) -> None:
        """Raise ``ConfigError`` where *queue* cannot keep the durability."""
        if self.is_replicated and queue is not None and queue.kind.is_local:
            raise queue.kind.refuse_replicas()

    def spill_beside(self, queue: QueueOpts | None) -> QueueOpts | None:
        """Return the spill file of *queue* as a queue, ``None`` without one. Raises ``ConfigError`` for a local queue."""
        if queue is None or not isinstance(self.spill, SpillOpts):
            return None
        return self.spill.beside(queue)
