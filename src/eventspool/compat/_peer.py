"""In what the SDKs of the family differ from each other."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Peer"]


class Peer(NamedTuple):
    """
    One SDK that has a face here.

    Args:
        face: The module that is imported in its place.
        gzip: Whether it compresses requests unless told otherwise.
        max_event_bytes: Largest event that it sends.
        max_batch_bytes: Largest body of a request.
        integrations: What an event says of integrations where the call says nothing.
        has_root_traits: ``identify`` puts the traits under ``traits`` of the event; else under ``context.traits``.
        has_channel: An event of it says ``channel: server``.
    """

    face: str
    gzip: bool = False
    max_event_bytes: int = 32_768
    max_batch_bytes: int = 475_000
    integrations: dict[str, Any] = {}  # noqa: RUF012 - never changed
    has_root_traits: bool = True
    has_channel: bool = False
