"""Who sends a request: the guard notes it in the request's scope, and the endpoints ask here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.requests import Request

    from eventspool._operate.queue import Queue

__all__ = ["ACTOR", "TOKEN", "is_read_only", "queue_of"]

TOKEN: Final = "eventspool.token"  # noqa: S105 - the name of a key of the scope
"""The ``Token`` by which the request came in."""
ACTOR: Final = "eventspool.actor"
"""Who sends it, as the application says in which the dashboard is mounted."""


def is_read_only(request: Request) -> bool:
    """Say whether the token of *request* changes nothing."""
    token = request.scope.get(TOKEN)
    return token is not None and bool(token.read_only)


def queue_of(request: Request, queue: Queue) -> Queue:
    """Return *queue* for who sends *request*: what they do stands in its trail under their name."""
    token = request.scope.get(TOKEN)
    actor = request.scope.get(ACTOR) or (token.name if token is not None else "")
    return queue.acting_as(actor) if actor else queue
