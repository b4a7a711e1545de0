"""
Celery: a task's events belong to the request that sent the task, a redelivered task repeats their message ids, and no worker
process ends with events in its memory.

    eventspool.integrations.celery.connect(app)

in the module that makes the application. It stands on Celery's signals alone. The default client is made of the environment,
unless ``eventspool.init(…)`` has made one.

* The sender's scope (``eventspool.current()``) travels in a header of the task's message, and is entered around the task, also
  around its retries and the tasks that it sends.
* An event without a ``message_id`` of its own gets one that is made of the task's message, the number of its retry, and what
  the event says. A task that is delivered once more, because its worker was killed, repeats the ids of the first run, so that
  the data plane can tell that these are the same events. A retry is a run of its own, and two events that say the same are
  two.
* The worker processes of the prefork pool end without running Python's exit handlers: each closes its clients.
"""

from __future__ import annotations

import itertools
import json
import uuid
from contextlib import ExitStack
from contextvars import ContextVar
from hashlib import sha256
from typing import Any

from celery import Celery
from celery.signals import before_task_publish, task_postrun, task_prerun, worker_process_shutdown

from eventspool import _default
from eventspool._events import scope
from eventspool._events.encoding import encode_exactly
from eventspool._exceptions import ConfigError, EventError
from eventspool._guest.lifecycle import close_all
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle

__all__ = ["connect"]

_HEADER = "eventspool"
_MAX_HEADER_BYTES = 8192
"""Longest header. Each message of a task carries it, and brokers bound the headers of a message."""
_MAX_CONTENTS = 10_000
"""Different events of one run that are told apart by what they say: some 2 MB. A later one is told by its place in the run."""
_NAMESPACE = uuid.UUID("7c4b6cb3-9c55-4cb4-8b0c-0a4a3d8a1f4e")
_TYPES = {"user_id": str, "anonymous_id": str, "context": dict, "properties": dict}

_throttle = Throttle(Log("eventspool"))
_entered: ContextVar[tuple[tuple[str, ExitStack], ...]] = ContextVar("eventspool_celery", default=())
"""The tasks that run here, by id, and what ends the scope of each. More than one where a task calls another one eagerly."""


def connect(app: Celery) -> None:
    """
    Have *app*'s tasks take over the scopes in which they are sent, repeat their message ids when they are delivered once more,
    and leave no event behind in a worker process that ends.

    Celery's signals are those of a process, so this holds for each application in it. May be called again.

    Raises:
        ConfigError: *app* is no Celery application, or an option of the environment is wrong.
    """
    if not isinstance(app, Celery):  # also for a proxy, such as `celery.current_app`
        raise ConfigError(f"connect() needs the Celery application, not {type(app).__name__}")
    before_task_publish.connect(_send_scope, weak=False, dispatch_uid="eventspool")
    task_prerun.connect(_enter_scope, weak=False, dispatch_uid="eventspool")
    task_postrun.connect(_leave_scope, weak=False, dispatch_uid="eventspool")
    worker_process_shutdown.connect(_close_clients, weak=False, dispatch_uid="eventspool")
    _default.ensure_client()


# -- where a task is sent ----------------------------------------------------------------------------------------------


def _send_scope(headers: dict[str, Any] | None = None, **_: object) -> None:
    """Put the scope of the code that sends a task, and what names this message, among the message's headers."""
    if not isinstance(headers, dict):
        return
    try:
        message = {"message": uuid.uuid4().hex}
        text = json.dumps({**message, "scope": scope.current()}, separators=(",", ":"))
        if len(text) > _MAX_HEADER_BYTES:
            _throttle.warning("a scope is too large to travel with a task: %d bytes of JSON", len(text))
            text = json.dumps(message)
        headers[_HEADER] = text
    except Exception as error:  # noqa: BLE001 - the task goes on without it
        _throttle.warning("a task's scope could not be sent along: %s", type(error).__name__)


# -- where it runs -----------------------------------------------------------------------------------------------------


def _enter_scope(task_id: str = "", task: Any = None, **_: object) -> None:
    try:
        request = task.request
        message, carried = _read(request.get(_HEADER) or (request.get("headers") or {}).get(_HEADER))
        with ExitStack() as stack:  # what raises amid this leaves no scope to the next task
            stack.enter_context(scope.context(**carried))
            stack.enter_context(
                scope.identifying(_Identities(f"{task_id} {message} {request.get('retries', 0)}"))
            )
            _entered.set((*_entered.get(), (task_id, stack.pop_all())))
    except Exception as error:  # noqa: BLE001 - the task goes on without it
        _throttle.warning("a task's scope could not be entered: %s", type(error).__name__)


def _leave_scope(task_id: str = "", **_: object) -> None:
    entered = _entered.get()
    if not any(task_id == each for each, _ in entered):
        return
    while entered:
        *outer, (each, stack) = entered
        entered = tuple(outer)
        stack.close()
        if each == task_id:
            break
    _entered.set(entered)


def _read(header: object) -> tuple[str, dict[str, Any]]:
    """Return what names the message, and the scope that *header* carries. It may be anything: any program may send a task."""
    if not isinstance(header, str) or len(header) > _MAX_HEADER_BYTES:
        return "", {}
    try:
        told = json.loads(header)
    except (ValueError, RecursionError):
        return "", {}
    if not isinstance(told, dict):
        return "", {}
    message, carried = told.get("message"), told.get("scope")
    if not isinstance(carried, dict):
        carried = {}
    known = {name: carried[name] for name, kind in _TYPES.items() if isinstance(carried.get(name), kind)}
    try:
        encode_exactly(known, _MAX_HEADER_BYTES)
    except EventError:  # it is too deep, say: each event of the task would be refused
        known = {}
    return message if isinstance(message, str) else "", known


class _Identities:
    """
    Makes the message ids of one run of a task: the same in each run that tracks the same.

    Args:
        run: What names the run: the same when the message is delivered once more, and another one for a retry.
    """

    def __init__(self, run: str) -> None:
        self._run = ascii(run)  # any program may send a message: what is no text in it must not meet the task
        self._events = itertools.count()  # each step is one call of C: a task may track on several threads
        self._times: dict[bytes, itertools.count[int]] = {}

    def __call__(self, content: bytes) -> str:
        """Return the id of the next event that says *content*."""
        place = next(self._events)
        said = sha256(_in_order(content)).digest()
        times = self._times.get(said)
        if times is None and len(self._times) >= _MAX_CONTENTS:
            return self._make(said, f"at {place}")
        times = times or self._times.setdefault(said, itertools.count())
        return self._make(said, str(next(times)))

    def _make(self, said: bytes, which: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self._run} {said.hex()} {which}"))


def _in_order(content: bytes) -> bytes:
    """Return *content* with its keys in order: a dictionary that was made of a set has another one in each process."""
    try:
        return json.dumps(json.loads(content), sort_keys=True).encode()
    except (ValueError, RecursionError):  # too many digits, or levels
        return content


# -- the end of a worker process -----------------------------------------------------------------------------------------


def _close_clients(**_: object) -> None:
    close_all()
