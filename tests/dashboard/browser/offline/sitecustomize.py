"""For a process that has this folder on its import path: as without a network, only the machine itself answers."""

from __future__ import annotations

import sys
from typing import Any

_OWN = {"127.0.0.1", "::1", "localhost", "", None}


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    host: object = "127.0.0.1"
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if host not in _OWN:
        raise OSError(f"there is no network, and {host} was asked for")


sys.addaudithook(_refuse)
