"""
One SQLite file, on which one step runs at a time: on one thread of this process, and in one process of the machine.

Everything that SQLite does with the file (a transaction, a checkpoint, opening, closing, recovery) happens while this
process holds the ``ProcessLock``. So no two connections ever touch the file at the same time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from eventspool._backends.sqlite.errors import DAMAGED, code_of, is_the_systems, outage_of, translated
from eventspool._backends.sqlite.handle import Handle
from eventspool._backends.sqlite.lock import ProcessLock
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._guest.log import Log
from eventspool._guest.process import await_forks, before_fork, begin_in_child, here, is_forking, register

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SQLiteFile"]

log = Log("eventspool")

T = TypeVar("T")

_BUSY_TIMEOUT = 10.0
_BUSY_POLL = 0.01
"""Seconds between two tries while another program holds the file."""

_files: weakref.WeakValueDictionary[int, SQLiteFile] = weakref.WeakValueDictionary()


class SQLiteFile:
    """
    Runs steps in transactions.

    A signal handler that raises, or a lack of memory, may interrupt a step at any line. What the step has taken is given
    back in one place, ``_end``, which does not remember what that was, but looks what there is.

    Args:
        path: The file. It and its folder are made if they are missing. A link stands for the file that it points to now.
        synchronous: Whether a durable step outlives a power cut (``full``) or only the process (``normal``).
    """

    def __init__(self, path: str, synchronous: str) -> None:
        self.path = os.path.realpath(path)
        self.lock = ProcessLock(self.path)
        self._synchronous = synchronous
        self._mutex = threading.RLock()
        self._stepper = 0
        self._handle = Handle(self.path, self.lock)
        self._inherited: sqlite3.Connection | None = None
        self._torn = False
        _files[id(self)] = self  # before there is a connection: a fork must not come amid its opening either
        register(self)

    def run(self, step: Callable[[sqlite3.Connection], T], *, durable: bool, growing: bool = False) -> T:
        """
        Return what *step* returns. It runs in one transaction, which is rolled back if it raises.

        Args:
            step: Works on the connection. If the file is found to be damaged, it is called again on a new one.
            durable: Sync the disk before returning, as ``synchronous`` says. Otherwise a power cut may undo the step.
            growing: The step makes the file grow, so it is refused when space is short.

        Raises:
            QueueUnavailable: The file, its lock or the disk cannot be had; or this very thread is amid a step, and a
                destructor or a signal handler on it calls.
            QueueError: The file cannot be used by this process.
        """
        if not here[0]:
            begin_in_child()
        if self._torn:
            raise QueueError(
                "this process was forked amid a step on the SQLite queue, past os.fork: it cannot use it"
            )
        return self._alone(partial(self._step, step, durable=durable, growing=growing))

    def close(self) -> None:
        """Close the connection. The next step opens it again."""
        try:
            if self._handle.connection is not None or self._inherited is not None:
                self._alone(self._shut)
        except QueueUnavailable as reason:
            log.warning("the SQLite queue is left open for now: %s", reason)

    def pause(self, deadline: float) -> None:
        """Before a fork: wait until no step is under way, and close the connection. The next step opens it again."""
        if self._stepper != threading.get_ident() and self._mutex.acquire(
            timeout=max(deadline - time.monotonic(), 0.0)
        ):
            try:
                if self._handle.connection is not None or self._inherited is not None:
                    self._locked(self._shut, max(deadline - time.monotonic(), 0.0))
            except QueueUnavailable as reason:
                log.warning("the SQLite queue is left open until this process ends: %s", reason)
            finally:
                self._mutex.release()

    def begin_in_child(self) -> None:
        """Do as ``abandon``."""
        self.abandon()

    def abandon(self) -> None:
        """In a forked child: drop what the parent owns. The end of this module says why."""
        if self.lock.held:
            self._torn = True
        if self._handle.connection is not None:
            self._inherited = self._handle.connection
        self._handle.abandon()
        self._handle = Handle(self.path, self.lock)
        self._mutex = threading.RLock()
        self._stepper = 0
        self.lock.held = False
        self.lock.close()

    def _alone(self, action: Callable[[], T]) -> T:
        """Return what *action* returns; no other thread or process touches the file meanwhile."""
        if self._stepper == threading.get_ident():
            raise QueueUnavailable("the SQLite queue is amid a step on this very thread: try again after it")
        ceased = True
        while True:
            with self._mutex:
                # A fork waits for the mutex, and this thread holds it: so at least one of the two notices the other.
                if not (ceased and is_forking()):
                    return self._locked(action)
            ceased = await_forks()

    def _locked(self, action: Callable[[], T], timeout: float | None = None) -> T:
        try:
            try:
                self._stepper = threading.get_ident()
                self.lock.acquire(timeout)
                return action()
            finally:
                self._end()
        except BaseException:
            self._end()  # the exception may have cut off the first call
            raise

    def _end(self) -> None:
        """
        Leave nothing behind of a step: no transaction, no half open connection, no lock. A second call does no harm.

        A process without a connection keeps no lock file open either.
        """
        self._stepper = 0
        try:
            self._handle.end_transaction()
        finally:
            self.lock.release()
        if self._handle.connection is None:
            self.lock.close()

    def _shut(self) -> None:
        try:
            self._disinherit()
            if self._handle.connection is not None:
                self._handle.close()
        except OSError as error:
            if not is_the_systems(error):
                raise
            raise outage_of(error, "the SQLite queue's files cannot be closed in order") from None

    def _step(self, step: Callable[[sqlite3.Connection], T], *, durable: bool, growing: bool) -> T:
        self._disinherit()
        try:
            try:
                return self._attempt(step, durable=durable, growing=growing)
            except sqlite3.Error as error:
                self._mend(error, growing=growing)
            return self._attempt(step, durable=durable, growing=growing)
        except sqlite3.Error as error:
            raise translated(error) from None
        except OSError as error:
            if not is_the_systems(error):
                raise
            raise outage_of(error, "the SQLite queue's files cannot be used: check their folder") from None

    def _mend(self, error: sqlite3.Error, *, growing: bool) -> None:
        """Do what lets the step be tried once more. Raise *error* if nothing does."""
        self._handle.end_transaction()
        if code_of(error) == sqlite3.SQLITE_IOERR:
            self._handle.log_is_sound = False
        if code_of(error) in DAMAGED:
            self._handle.set_aside()
        elif code_of(error) == sqlite3.SQLITE_FULL and not growing:
            self._handle.make_room()
        else:
            raise error

    def _attempt(self, step: Callable[[sqlite3.Connection], T], *, durable: bool, growing: bool) -> T:
        handle = self._handle
        connection = _patiently(handle.opened)
        if not handle.log_is_sound:
            handle.begin_sound_log(connection, durable=durable)
        if growing:
            handle.require_room(connection)
        handle.set_level(connection, self._synchronous if durable else "normal")
        _patiently(lambda: connection.execute("begin immediate"))
        changes, size = connection.total_changes, None
        result = step(connection)
        if connection.total_changes != changes:
            size = handle.reserve_pages(connection, growing=growing)
        handle.commit(connection)
        if size is not None:
            handle.keep_up(size)
        return result

    def _disinherit(self) -> None:
        """In a forked child, close the parent's connection. The parent was not using it when it forked."""
        if self._inherited is not None and not self._torn:
            self._inherited.close()
            self._inherited = None


def _patiently(action: Callable[[], T]) -> T:
    """Return what *action* returns, as soon as no other program holds the file. It is here that we wait, and not in SQLite."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_BUSY_POLL)


# SQLite notes in memory which locks its process holds on a file. A child that inherits a connection inherits the note
# without the locks. It would go on with a log that the parent has deleted, because the parent took itself for the last one
# to close. So no connection is open while Python forks; parent and child each open their own when they next need one. If a
# server forks past Python (uWSGI), the child closes the inherited connection first. That is harmless while no step is under
# way: SQLite does not take the child for the last one as long as the parent lives, and the note is cleared.


@before_fork
def _pause_files(deadline: float) -> None:
    for file in [file for ref in _files.valuerefs() if (file := ref()) is not None]:
        file.pause(deadline)
