"""Ask a server which of the commands that a queue needs it refuses this user. None of them is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._backends.redis.commands import NEEDED
from eventspool._backends.redis.errors import find_refusal, is_reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._backends.redis.commands import Refusal

__all__ = ["find_refused"]


def find_refused(client: Any, key: str, commands: Mapping[str, tuple[str, ...]] = NEEDED) -> dict[str, str]:
    """
    Return the commands that the server of *client* refuses this user, each with the ``kind`` of refusal.

    Between MULTI and EXEC a server checks each command, the keys included, and only puts it on a list. The connection is
    closed before EXEC, so none of them is ever run. Should a server run one all the same, it meets a key that holds nothing.

    Args:
        client: A client of redis-py's.
        key: A key of the queue. The commands name one beside it.
        commands: The commands, each with how it is called.
    """
    refused: dict[str, str] = {}
    for name in ("multi", "exec"):
        [found] = _try_out(client, [(name,)])
        if found and found.command == name:  # and not because it came without the other
            refused[name] = found.kind
    if "multi" in refused:
        return refused
    calls = [
        (*name.upper().split("|"), *(f"{key}:probe" if part == "KEY" else part for part in arguments))
        for name, arguments in commands.items()
    ]
    found_all = _try_out(client, [("MULTI",), *calls])[1:]
    refused.update((name, found.kind) for name, found in zip(commands, found_all, strict=False) if found)
    return refused


def _try_out(client: Any, commands: Sequence[tuple[str, ...]]) -> list[Refusal | None]:
    """
    Send *commands* on a connection of their own, and return the refusals among the replies.

    This stops at the first command that the server neither puts on the list of a MULTI nor refuses: it would run the next.
    An error that is no reply of the server's is raised, since the driver may have connected anew, outside of the MULTI.
    """
    pool = client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    answers: list[Refusal | None] = []
    try:
        connection.connect()
        for command in commands:
            connection.send_command(*command)
            expected = b"QUEUED" if answers else b"OK"
            try:
                is_expected = connection.read_response() in (expected, expected.decode())
                answers.append(None)
            except Exception as error:
                if not is_reply(error):
                    raise
                is_expected = bool(answers)  # without a MULTI nothing else may be sent
                answers.append(find_refusal(error))
            if not is_expected:
                break
    finally:
        connection.disconnect()
    return answers
