"""
Which kind of trouble a sentence of ours is about. Pure.

Processors and stores say what is wrong in words, and pass these on through the queue, also those of other versions. So the
sentence that people read is what tools go by, too: they cannot say two different things.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["code_of_outage", "code_of_plane"]

_STATUS = re.compile(r"\banswered (\d{3})\b")
_KEY_REFUSED = ("401", "403")
_PLANE = (
    ("did not resolve", "plane.dns"),
    ("the certificate of ", "plane.tls_failed"),
    ("TLS with ", "plane.tls_failed"),
    ("ca_file", "plane.tls_failed"),
    ("in time", "plane.timeout"),
    ("refused the connection", "plane.reachable"),
    ("broke the connection off", "plane.reachable"),
    ("did not speak HTTP", "plane.reachable"),
    ("was not reachable", "plane.reachable"),
    ("was left to reach", "plane.reachable"),
)
_OF_REASON = {
    "unauthorized": "plane.key",
    "throttled": "plane.throttled",
    "unreachable": "plane.reachable",
}
"""Codes by ``ProcessorInfo.pause_reason``, for a processor whose words are not known here."""
_CODE_AT_END = re.compile(r"\(([A-Z]+)\)$")
_OF_SERVER = {
    "OOM": "queue.full",
    "READONLY": "queue.read_only",
    "NOREPLICAS": "queue.replicas",
    "MISCONF": "queue.saving",
    "NOPERM": "queue.refused",
    "NOAUTH": "queue.refused",
    "WRONGPASS": "queue.refused",
}


def code_of_plane(sentence: str, reason: str = "", statuses: Iterable[str] = ()) -> str:
    """
    Return the kind of what a processor says of the data plane.

    Args:
        sentence: What was answered, or why nothing was.
        reason: Why the processor is paused, as a word, where it says so.
        statuses: How its last requests ended, which counts where its words are not known here.
    """
    if found := _STATUS.search(sentence):
        if sentence.startswith("the proxy ") or found[1] == "407":
            return "plane.proxy"
        if found[1] in _KEY_REFUSED:
            return "plane.key"
        return "plane.throttled" if found[1] == "429" else "plane.unavailable"
    if sentence.startswith("the proxy "):
        return "plane.proxy"
    for words, code in _PLANE:
        if words in sentence:
            return code
    answers = set(statuses)
    if reason in _OF_REASON:
        return _OF_REASON[reason]
    if answers.intersection(_KEY_REFUSED):
        return "plane.key"
    return "plane.throttled" if answers == {"429"} else "plane.unavailable"


def code_of_outage(sentence: str) -> str:
    """Return the kind of what a store says of itself: it ends with the server's own word, where there is one."""
    found = _CODE_AT_END.search(sentence)
    if found and found[1] in _OF_SERVER:
        return _OF_SERVER[found[1]]
    if "disk is full" in sentence:
        return "queue.full"
    return "queue.read_only" if "cannot be written" in sentence else "queue.unreachable"
