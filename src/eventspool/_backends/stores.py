"""What the rest of eventspool asks of a store, and how the store of a queue is found: by the kind that its URL names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from eventspool._backends.found import FoundQueue
    from eventspool._backends.protocol import Backend
    from eventspool._config import QueueOpts

__all__ = ["Store", "create_backend", "find_store", "import_driver", "resolve"]

_PAGE = 500
_Opts = TypeVar("_Opts")


class Store(ABC, Generic[_Opts]):
    """
    One kind of store, whose options are ``_Opts``.

    Its module imports what its backends need.
    """

    def import_driver(self, target: _Opts) -> None:
        """Import what its module has not. Raises ``ConfigError`` where it is missing, or *target* is wrong."""

    @abstractmethod
    def create_backend(self, target: _Opts, queue: QueueOpts, *, observe: bool) -> Backend:
        """Return the backend of *queue* at *target*, unopened. For *observe* see ``eventspool._backends.create_backend``."""

    def create_replicated(self, target: _Opts, queue: QueueOpts) -> Backend:
        """Return the backend of *queue* that acknowledges what replicas have confirmed. ``ConfigError``: there are none."""
        del target
        raise queue.kind.refuse_replicas()

    @abstractmethod
    def require_existing(self, target: _Opts) -> None:
        """Raise ``QueueError`` where to open a queue at *target* would make what is not there yet."""

    def list_queues(self, queue: QueueOpts) -> list[FoundQueue]:
        """
        Return the queues that are where *queue* is. Raises ``ConfigError`` where the store cannot say.

        Raises:
            QueueUnavailable: It cannot be reached.
        """
        raise ConfigError(f"{queue.kind.title} cannot list its queues: name the queue with --queue-name")

    def clear(self, backend: Backend) -> None:
        """Take every job of the demo's queue out of the opened *backend*, and what else the queue has left there."""
        from eventspool._job import (
            JobState,
        )  # imported here: every program imports this module, and few do this

        for state in (JobState.WAITING, JobState.DELAYED, JobState.FAILED):
            while jobs := backend.jobs(state, limit=_PAGE):
                backend.purge(state, [job.id for job in jobs])


def resolve(name: str) -> Any:
    """Import what *name* names, as ``module:attribute``."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def find_store(queue: QueueOpts) -> Store[Any]:
    """Return the store of *queue*. Imports what its backends need."""
    store: Store[Any] = resolve(queue.kind.store)()
    return store


def import_driver(opts: QueueOpts) -> None:
    """
    Import what the queue of *opts* needs. Raises ``ConfigError`` where it is missing, or an option cannot work.

    Were it left to the background threads, a program of a few lines would be exiting by then, and redis-py cannot be imported
    any more while the interpreter exits; and a child that is forked in the midst of an import cannot finish it.
    """
    if opts.encryption_key is not None:
        import eventspool._backends.encrypted  # noqa: F401
        from eventspool._encryption import Keyring

        Keyring(opts.encryption_keys)  # raises at once where the package that it needs is missing
    find_store(opts).import_driver(opts.target)


def create_backend(opts: QueueOpts, *, observe: bool = False, replicated: bool = False) -> Backend:
    """
    Return the durable backend that *opts* ask for, unopened. Imports only what that one needs.

    Args:
        opts: The queue.
        observe: To look and steer only: single- or multi-processor as the queue's producers have it, whatever *opts* say,
            where the store knows.
        replicated: A commit is acknowledged only once replicas have confirmed it.

    Raises:
        ConfigError: Payloads are to be encrypted, and the package that does it is missing; or the store has no replicas.
    """
    store = find_store(opts)
    backend = (
        store.create_replicated(opts.target, opts)
        if replicated
        else store.create_backend(opts.target, opts, observe=observe)
    )
    if opts.encryption_key is None:
        return backend
    from eventspool._backends.encrypted import EncryptedBackend
    from eventspool._encryption import Keyring

    return EncryptedBackend(backend, Keyring(opts.encryption_keys))
