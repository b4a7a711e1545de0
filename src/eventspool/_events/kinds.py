"""The kinds of events: which argument of a method stands under which field on the wire, and what a data plane asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMON", "KINDS", "Kind"]


class Kind(NamedTuple):
    """
    One kind of event, named like its method.

    Args:
        fields: Its own fields, beside the common ones: the field on the wire -> the argument of the method.
        needed: Fields, beside an id of the user, without which a strict data plane refuses the event.
    """

    fields: Mapping[str, str]
    needed: tuple[str, ...] = ()


COMMON: Mapping[str, str] = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "context": "context",
    "timestamp": "timestamp",
    "integrations": "integrations",
    "messageId": "message_id",
}
"""Fields of every kind on the wire -> the argument of each method; ``alias`` has no ``anonymous_id``."""
_VIEW = {"category": "category", "name": "name", "properties": "properties"}
KINDS: Mapping[str, Kind] = {
    "track": Kind({"event": "event", "properties": "properties"}, ("event",)),
    "identify": Kind({"traits": "traits"}),
    "page": Kind(_VIEW),
    "screen": Kind(_VIEW),
    "group": Kind({"groupId": "group_id", "traits": "traits"}, ("groupId",)),
    "alias": Kind({"previousId": "previous_id"}, ("previousId", "userId")),
}
"""By the word that stands under ``type`` on the wire."""
