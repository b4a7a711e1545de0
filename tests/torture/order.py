"""
Whether events arrived in order: of each producer's thread, by the first arrival of each. Pure.

An event that comes before an earlier one of its thread has *passed* it. What may pass is the one batch by whose probe the data
plane was found alive again, and the processor says when that was. Where the answer to a probe is lost, the data plane has the
batch and the processor knows nothing: around faults that lose answers, or that cut batches into parts, nothing can be said. So
it is where the processor was killed before it could speak, but of one request for each kill. Anything else is a violation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torture.causes import EVERYONE, KILLS, answer_may_be_lost, reached, splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torture.history import History
    from torture.verdict import Window

__all__ = ["overtakings"]

_PROBE_SECONDS = 2.0
"""The longest from the arrival of a probe's batch to the processor's word that the data plane works again."""
_KILL_SECONDS = 0.5
"""The same, for a word that a kill has cut off."""


def overtakings(history: History, windows: Sequence[Window]) -> list[str]:
    """Return the requests that passed others and must not have, by one of their events."""
    blamed = [window for window in windows if answer_may_be_lost(window.fault) or splits(window.fault)]
    kills = sorted(window.begin for window in windows if window.fault in (*KILLS, EVERYONE))
    found = []
    for moment, message_id in sorted(_passing(history).items()):
        probed = any(moment <= closed <= moment + _PROBE_SECONDS for closed in history.closings)
        if probed or reached(moment, blamed):
            continue
        kill = next((kill for kill in kills if moment <= kill <= moment + _KILL_SECONDS), None)
        if kill is None:
            found.append(f"{message_id} passed others at {moment:.2f}")
        else:
            kills.remove(kill)
    return found


def _passing(history: History) -> dict[float, str]:
    """Return the moments of requests with events that passed others, and one event of each."""
    passing: dict[float, str] = {}
    earliest: dict[str, int] = {}
    for message_id in reversed([i for i in history.arrivals if i in history.issued]):
        thread, _, number = message_id.partition("-")[2].rpartition(".")
        if int(number) > earliest.get(thread, int(number)):
            passing[history.arrivals[message_id].moments[0]] = message_id
        earliest[thread] = min(int(number), earliest.get(thread, int(number)))
    return passing
