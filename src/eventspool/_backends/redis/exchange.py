"""A script with a command behind it, and perhaps a transaction around it, in one write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._backends.redis.errors import is_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["exchange", "is_whole"]


def exchange(
    connection: Any, command: Sequence[Any], before: Sequence[Sequence[Any]], behind: Sequence[Any]
) -> tuple[Any, Any]:
    """
    Send *command*, in one transaction with the commands *before* it where there are any, and *behind* after it.

    Return the reply to *command*, and the reply to *behind*. Where that one is an error, or does not come, it is the exception:
    what became of *command* is known all the same. An error of *command* is raised, once all replies were read.
    """
    commands = [("MULTI",), *before, command, ("EXEC",)] if before else [command]
    connection.send_packed_command(connection.pack_commands([*commands, behind]))
    replies = [_read(connection) for _ in commands]
    if before and isinstance(replies[-1], list):
        replies += replies.pop()
    try:
        answer = _read(connection)
    except Exception as error:  # noqa: BLE001 - its caller says what it is
        answer = error
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply if is_whole(answer) else answer
    return replies[-1], answer


def is_whole(answer: Any) -> bool:
    """Say whether *answer* is one of the server's: then nothing that it sends is under way any more."""
    return not isinstance(answer, Exception) or is_reply(answer)


def _read(connection: Any) -> Any:
    """Return the next reply; an error of the server's as a value."""
    try:
        return connection.read_response()
    except Exception as error:
        if not is_reply(error):
            raise
        return error
