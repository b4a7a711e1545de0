"""The data plane itself: it listens, gives each connection a thread, and stops listening during scripted outages."""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from eventspool._config import require_bool, require_number, require_text
from eventspool._dataplane import control
from eventspool._dataplane.connections import Connections
from eventspool._dataplane.exchange import Settings
from eventspool._dataplane.faults import FaultScript
from eventspool._dataplane.intake import paths_of
from eventspool._dataplane.ledger import Ledger, RequestRecord, Stats
from eventspool._dataplane.rules import Rule, parse_rule
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

__all__ = ["DEFAULT_WRITE_KEY", "DataPlane"]

DEFAULT_WRITE_KEY = "local-write-key"
_REBIND_SECONDS = 0.05
_STOP_SECONDS = 2.0


class DataPlane:
    """
    A data plane on this machine, for development and tests: a real HTTP server that counts and misbehaves on
    demand.

    >>> with DataPlane() as plane:
    ...     plane.script("status=503,next=2")
    ...     client = Client(plane.write_key, data_plane_url=plane.url)
    ...     ...
    ...     assert plane.wait_for(10, timeout=5)

    Args:
        write_key: The one accepted; ``None`` accepts any, and ``plane.write_key`` is one to use.
        host: Where to listen.
        port: 0 takes a free one, and keeps it over ``stop`` and ``start``.
        path: Where batches are posted. Beside ``…/batch``, ``…/import`` takes them, too, and ``…/track`` and so on
            take single events.
        faults: Rules, each as ``Rule``, JSON object or text (see ``rules``).
        seed: For the rules' dice.
        partial_failures: Answer 200 and name the invalid events, instead of 400 for the whole batch.
        keep_events: How many of the last events to keep whole. Ids are always kept.
        keep_requests: How many of the last requests to keep.
        max_body_bytes: Largest body, as sent; more is answered with 413.
        max_inflated_bytes: Largest batch, inflated; more is answered with 413.
        read_timeout: Seconds that a request may take from its first byte to its last.
        idle_timeout: Seconds that a connection may stand idle.
        max_connections: Open at the same time; one more is reset.

    Raises:
        ConfigError: An option has a value that cannot work.
    """

    def __init__(
        self,
        write_key: str | None = DEFAULT_WRITE_KEY,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "/v1/batch",
        faults: Iterable[Rule | Mapping[str, Any] | str] = (),
        seed: int = 0,
        partial_failures: bool = False,
        keep_events: int = 10_000,
        keep_requests: int = 10_000,
        max_body_bytes: int = 1 << 20,
        max_inflated_bytes: int = 4 << 20,
        read_timeout: float = 10.0,
        idle_timeout: float = 60.0,
        max_connections: int = 256,
    ) -> None:
        require_text("write_key", write_key, optional=True)
        require_text("host", host)
        require_text("path", path)
        if not path.startswith("/") or path.startswith(control.PREFIX):
            raise ConfigError(f"path must begin with / and not with {control.PREFIX}")
        require_bool("partial_failures", partial_failures)
        for name, value, minimum in (
            ("port", port, 0),
            ("seed", seed, -(1 << 63)),
            ("keep_events", keep_events, 0),
            ("keep_requests", keep_requests, 0),
            ("max_body_bytes", max_body_bytes, 1),
            ("max_inflated_bytes", max_inflated_bytes, 1),
            ("max_connections", max_connections, 1),
        ):
            require_number(name, value, minimum, integer=True)
        require_number("read_timeout", read_timeout, 0, exclusive=True)
        require_number("idle_timeout", idle_timeout, 0, exclusive=True)
        self.write_key = write_key if write_key is not None else DEFAULT_WRITE_KEY
        self.host = host
        self.port = port
        self._settings = Settings(
            write_key, path, partial_failures, max_body_bytes, max_inflated_bytes, paths_of(path)
        )
        self._ledger = Ledger(keep_events=keep_events, keep_requests=keep_requests)
        self._seed = seed
        self._script = (FaultScript(map(parse_rule, _as_rules(faults)), seed=seed), time.monotonic())
        self._script_applied = threading.Event()
        self._script_change = threading.Lock()
        self._life = (
            threading.RLock()
        )  # a signal handler may stop what its own thread is starting or stopping
        self._ending = False
        self._serving: tuple[int, queue.SimpleQueue[None]] | None = None
        self._stopping = threading.Event()
        self._stopping.set()
        self._connections = Connections(
            self,
            self._settings,
            self._ledger,
            self._stopping,
            lambda: self._script,
            timeouts={"idle_timeout": idle_timeout, "read_timeout": read_timeout},
            most=max_connections,
        )
        self._acceptor: threading.Thread | None = None
        self._wake: socket.socket | None = None

    @property
    def url(self) -> str:
        """``http://host:port``, without the path. Raises ``RuntimeError`` before the first start."""
        if not self.port:
            raise RuntimeError("the data plane has no port before it is started")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    # Life

    def start(self) -> Self:
        """Listen and return; earlier counts stay. Raises ``OSError`` where it cannot bind."""
        with self._life:
            if self._acceptor is not None:
                return self
            listener = self._listen()
            self.port = listener.getsockname()[1]
            self._stopping.clear()
            self._script = (self._script[0], time.monotonic())
            self._wake, woken = socket.socketpair()
            self._acceptor = threading.Thread(
                target=self._accept, args=(listener, woken), name="eventspool-dataplane", daemon=True
            )
            self._acceptor.start()
        return self

    def stop(self) -> None:
        """
        End every connection and thread. Safe to call twice; ``start`` begins anew on the same port.

        A signal handler that has interrupted ``serve_forever`` returns at once, and ``serve_forever`` does the rest.
        """
        if (serving := self._serving) is not None:
            thread, asked = serving
            asked.put(None)
            if thread == threading.get_ident():
                return
        self._end()

    def _end(self) -> None:
        with self._life:
            acceptor, wake = self._acceptor, self._wake
            if acceptor is None or wake is None or self._ending:
                return
            self._ending = True
            try:
                self._stopping.set()
                self._wake_acceptor()
                acceptor.join()
                self._connections.break_all()
                self._connections.join(_STOP_SECONDS)
                wake.close()
                self._acceptor = self._wake = None
            finally:
                self._ending = False

    def serve_forever(self) -> None:
        """Start, and block until ``stop`` is called from another thread or a signal handler, or on Ctrl-C."""
        # Not an Event: its set() needs a lock that wait() may hold, also when a handler interrupts wait() and calls it.
        asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            self._serving = (threading.get_ident(), asked)
            self.start()
            asked.get()
        except KeyboardInterrupt:
            pass
        finally:
            self._end()
            self._serving = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Faults

    def script(self, *rules: Rule | Mapping[str, Any] | str, seed: int | None = None) -> None:
        """
        Replace the fault script; without *rules* there are no more faults. Windows count from now.

        Returns once an outage that begins or ends with it is in effect. Raises ``ConfigError`` for a wrong
        rule.
        """
        script = FaultScript(map(parse_rule, rules), seed=self._seed if seed is None else seed)
        with self._script_change:
            self._script_applied.clear()
            self._script = (script, time.monotonic())
            if self._wake_acceptor():
                self._script_applied.wait(_STOP_SECONDS)

    # What arrived

    @property
    def events(self) -> list[dict[str, Any]]:
        """The last ``keep_events`` events, in the order of arrival, repeats included."""
        return self._ledger.events()

    @property
    def requests(self) -> list[RequestRecord]:
        """The last ``keep_requests`` requests to the data plane's path, oldest first."""
        return self._ledger.requests()

    def last_events(self, limit: int) -> list[dict[str, Any]]:
        """Return the last *limit* of ``events``."""
        return self._ledger.events(limit)

    def unique_ids(self) -> list[str]:
        """Return the message id of every event received, each once, in the order of first arrival."""
        return self._ledger.unique_ids()

    def received(self, message_id: str) -> int:
        """Return how often the event *message_id* was received; 0 for never."""
        return self._ledger.arrivals(message_id)

    def stats(self) -> Stats:
        """Return a snapshot of the counts."""
        return self._ledger.stats(self._script[0].fired())

    def reset(self) -> None:
        """Forget what arrived. The fault script stays."""
        self._ledger.reset()

    def wait_for(self, wanted: int | Callable[[Stats], bool], timeout: float = 5.0) -> bool:
        """
        Block until *wanted* unique events have arrived (or a predicate of ``stats()`` is true), or *timeout*
        seconds.

        Returns whether it came to that, like ``threading.Condition.wait_for``.
        """
        if callable(wanted):
            predicate = wanted
            return self._ledger.wait_for(lambda: predicate(self.stats()), timeout)
        return self._ledger.wait_for(lambda: self._ledger.unique() >= wanted, timeout)

    # The server

    def _wake_acceptor(self) -> bool:
        wake = self._wake
        if wake is not None:
            with contextlib.suppress(OSError):
                return wake.send(b".") == 1
        return False

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(128)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener

    def _accept(self, listener: socket.socket | None, woken: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(woken)
            stack.callback(self._script_applied.set)
            selector = stack.enter_context(selectors.DefaultSelector())
            selector.register(woken, selectors.EVENT_READ)
            if listener is not None:
                selector.register(listener, selectors.EVENT_READ)
            stack.callback(lambda: listener.close() if listener else None)
            while not self._stopping.is_set():
                timed = script, since = self._script
                elapsed = time.monotonic() - since
                down, pause = script.outage(elapsed)
                if down and listener is not None:
                    selector.unregister(listener)
                    listener.close()
                    listener = None
                    self._connections.break_all(but_controlling=True)
                    script.note_outage(elapsed)
                elif not down and listener is None:
                    try:
                        listener = self._listen()
                        selector.register(listener, selectors.EVENT_READ)
                    except OSError:
                        pause = _REBIND_SECONDS
                if timed is self._script and (down or listener is not None):
                    self._script_applied.set()
                for key, _ in selector.select(pause):
                    if key.fileobj is woken:
                        woken.recv(64)
                    elif listener is not None:
                        self._connections.admit(listener)


def _as_rules(faults: Iterable[Rule | Mapping[str, Any] | str]) -> list[Rule | Mapping[str, Any] | str]:
    if isinstance(faults, (str, dict, Rule)):
        return [faults]
    return list(faults)
