"""
A backend whose steps run on threads of ours. An exception that interrupts the host's thread, which waits for them, then
leaves no step half done.

Operators' tools use it, for they run on the host's threads. The pipeline's own threads use the backend itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from eventspool._guest.executor import carry_out

if TYPE_CHECKING:
    from eventspool._backends.protocol import Backend

__all__ = ["set_apart"]


class _Apart:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        return partial(carry_out, found) if callable(found) else found


def set_apart(backend: Backend) -> Backend:
    """Return *backend* so that every step runs on a thread of ours."""
    return backend if isinstance(backend, _Apart) else cast("Backend", _Apart(backend))
