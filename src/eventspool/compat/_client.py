"""The client of the SDKs of the family, around an ``eventspool.Client``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from eventspool._client import Client
from eventspool._exceptions import ConfigError
from eventspool._guest.log import Log
from eventspool._reception import waits_in_vain
from eventspool.compat._calls import Calls
from eventspool.compat._insides import Consumer, Waiting
from eventspool.compat._options import NAMES, patient_as, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool.compat._peer import Peer

__all__ = ["PeerClient"]

_log = Log("eventspool")
_GLANCE = 1.0
"""Seconds between two looks of ``flush`` whether the data plane refuses the write key, so that waiting is in vain."""


class PeerClient(Calls):
    """
    The client of an SDK of the family. It makes its ``eventspool.Client`` at once, and starts nothing before the first event.

    Args:
        write_key: Identifies the source to the data plane. ``None``: ``EVENTSPOOL_WRITE_KEY`` of the environment.
        host: Where the data plane is. ``None``: ``EVENTSPOOL_DATA_PLANE_URL`` of the environment.
        debug: Log everything that eventspool logs. No event is shown.
        max_queue_size: Most events held in memory.
        send: ``False`` takes and forgets every event.
        on_error: Called as ``on_error(error, events)`` for every event that is given up or refused.
        gzip: Compress request bodies. ``None``: as the SDK does.
        max_retries: Failed attempts after the first one, before an event is given up.
        sync_mode: An event method returns when the event is delivered or given up, or after *timeout*.
        timeout: Seconds for a whole request.
        proxies: A mapping from schemes to proxies, as of ``requests``, or one URL.
        thread: Requests in flight at once.
        upload_size: Number of events that triggers a request. It is no cap.
        upload_interval: Seconds that an event waits for others at most.
        log_handler: Added to the logger ``eventspool``.
        own: Options of ``eventspool.Client`` that the SDK does not have, such as *persistence*.

    Raises:
        AssertionError: There is no write key.
        ConfigError: There is no host, or an option is wrong or has no equivalent.
    """

    PEER: ClassVar[Peer]
    log = logging.getLogger("eventspool")

    def __init__(
        self,
        write_key: str | None = None,
        host: str | None = None,
        debug: bool = False,  # noqa: FBT001, FBT002 - the family takes each by its position, too
        max_queue_size: int = 10_000,
        send: bool = True,  # noqa: FBT001, FBT002
        on_error: Callable[[Exception, list[dict[str, Any]]], object] | None = None,
        gzip: bool | None = None,  # noqa: FBT001
        max_retries: int = 10,
        sync_mode: bool = False,  # noqa: FBT001, FBT002
        timeout: float = 15,
        proxies: Mapping[str, str] | str | None = None,
        thread: int = 1,
        upload_size: int = 100,
        upload_interval: float = 0.5,
        log_handler: logging.Handler | None = None,
        **own: Any,
    ) -> None:
        self.write_key = write_key
        self.gzip = self.PEER.gzip if gzip is None else bool(gzip)
        self.host = host
        self.debug = bool(debug)
        self.send = bool(send)
        self.on_error = on_error
        self.sync_mode = bool(sync_mode)
        self.timeout = timeout
        given = {
            "write_key": write_key,
            "host": host,
            "max_queue_size": max_queue_size,
            "send": self.send,
            "on_error": on_error,
            "gzip": self.gzip,
            "max_retries": max_retries,
            "timeout": timeout,
            "proxies": proxies,
            "thread": thread,
            "upload_size": upload_size,
            "upload_interval": upload_interval,
        }
        options, jobs = translate(self.PEER, given, own)
        self.client = _make_client(options, self.PEER.face)
        beginning = self.client._beginning  # noqa: SLF001 - one package
        beginning.memory_jobs = jobs
        if beginning.queue_opts is not None:
            beginning.queue_opts = patient_as(beginning.queue_opts, jobs)
        self.queue = Waiting(self.client, max_queue_size)
        self.consumers = None if self.sync_mode else [Consumer(self.client, timeout, max_retries)]
        if debug or log_handler:
            _set_up_logging(log_handler, debug=self.debug)

    def __repr__(self) -> str:
        return f"<{self.PEER.face}.Client around {self.client!r}>"

    def flush(self) -> None:
        """
        Wait until every event so far is delivered or given up.

        It returns as well, and logs a line, where the data plane refuses the write key: eventspool keeps the events until
        somebody has put that right, and waiting for it could take for ever.
        """
        while self.client.flush(timeout=_GLANCE).pending and not waits_in_vain():
            beginning = self.client._beginning  # noqa: SLF001
            pipeline = beginning.pipeline
            if beginning.is_closed or pipeline is None:
                return
            if pipeline.processor is not None and pipeline.processor.is_key_refused:
                _log.error("flush() waits no longer: the data plane refuses the write key")
                return

    def join(self) -> None:
        """Close the client: deliver for at most *timeout* seconds, and take no more events."""
        self.client.close(self.timeout)

    def shutdown(self) -> None:
        """Flush, then close."""
        self.flush()
        self.join()


def _make_client(options: dict[str, Any], face: str) -> Client:
    try:
        return Client(**options)
    except ConfigError as error:
        name = str(error).partition(" ")[0].rstrip(":")
        theirs = next((theirs for theirs, ours in NAMES.items() if ours == name), name)
        if theirs == name:
            raise
        raise ConfigError(f"{error} ({name!r} is called {theirs!r} in {face})") from None


def _set_up_logging(handler: logging.Handler | None, *, debug: bool) -> None:
    """Do with our logger what the family does with its own."""
    logger = PeerClient.log
    if debug:
        logger.setLevel(logging.DEBUG)
        if handler is None and not logger.hasHandlers():
            handler = logging.StreamHandler()
    if handler is not None and handler not in logger.handlers:
        logger.addHandler(handler)
