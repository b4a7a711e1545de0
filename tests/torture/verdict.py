"""
What a run must show. Pure: from what was written down to a verdict.

Every issued event is in exactly one place: delivered, stored, failed, refused, or unknown (its producer was killed or its call
gave up before an answer). An acknowledged one is never refused or unknown: it would be lost. And a client that was closed in
good order knows where each of its events is: no more of them are unknown than it has reported lost.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from torture.causes import EVERYONE, KILLS
from torture.duplicates import unexplained_repeats
from torture.events import is_poison
from torture.history import producer_of
from torture.order import overtakings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torture.history import History

__all__ = [
    "LIVENESS_SECONDS",
    "MOVER_LEASE_SECONDS",
    "Floors",
    "Recovery",
    "Remains",
    "Verdict",
    "Window",
    "judge",
]

LIVENESS_SECONDS = 5.0
"""The longest that the oldest producer and worker may take, from the end of a fault, to have an event stored and delivered."""
MOVER_LEASE_SECONDS = 3.0
"""So long the others wait behind the spill file when the process that was moving jobs out of it is killed."""
_NAMED = 5
_LEAST_ACKED = 20
_LEAST_SHARE = 2 / 3
"""Of all faults, so many must have hit."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """
    Seconds from the end of a fault until the oldest producer and worker were at work again; ``None``: they never were.

    Args:
        acked: To the acknowledgement of a new event of that producer.
        delivered: To the delivery of one.
        worked: To a delivery by that worker.
    """

    acked: float | None = None
    delivered: float | None = None
    worked: float | None = None

    @property
    def seconds(self) -> float:
        """All of it; without end where something never came."""
        steps = (self.acked, self.delivered, self.worked)
        return max(math.inf if step is None else step for step in steps)


@dataclass(frozen=True, slots=True)
class Window:
    """
    One fault: what, from when to when (monotonic seconds), and how often it is known to have hit.

    Args:
        fault: Its class.
        begin: When it was injected.
        end: When it was healed.
        hits: The evidence; 0 means that it may have harmed nobody.
        recovery: What was waited for after its end; ``None``: nothing was.
        alone: No other one lasted with it. One of two may keep the other from its victims.
    """

    fault: str
    begin: float
    end: float
    hits: int
    recovery: Recovery | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Floors:
    """
    What a run must have shown, or it proves too little.

    Args:
        of_class: Least hits by fault class.
        faults: How many faults must have hit.
        kills: How many kills must have hit a process at work.
        acked_share: The least share of the issued events that were acknowledged.
        spills: How often a client must have begun to use the spill file.
    """

    of_class: Mapping[str, int]
    faults: int
    kills: int
    acked_share: float
    spills: int = 0


@dataclass(frozen=True, slots=True)
class Remains:
    """
    What was found when everything had ended.

    Args:
        stored: Digests by id of events still in the queue.
        failed: Digests and reasons by id of events in the failed queue.
        crashes: Processes that ended by themselves, and how.
        notes: Other things that must not be: files set aside as damaged, processes that would not finish.
        backlog_seconds: From the end of the last fault to an empty queue; ``None``: it never was.
    """

    stored: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    crashes: Sequence[str] = ()
    notes: Sequence[str] = ()
    backlog_seconds: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome of a run.

    Args:
        violations: What broke a promise, by kind: ids, or descriptions.
        vacuous: Why the run proves too little, if so.
        places: How many issued events are where.
        acked: Acknowledged events.
        duplicates: Arrivals beyond the first of each event.
    """

    violations: Mapping[str, list[str]]
    vacuous: list[str]
    places: Mapping[str, int]
    acked: int
    duplicates: int

    @property
    def passed(self) -> bool:
        """Nothing was violated, and enough was tried."""
        return not self.violations and not self.vacuous

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, violations counted and the first few named."""
        return asdict(self) | {
            "passed": self.passed,
            "violations": {
                kind: {"count": len(found), "first": found[:_NAMED]}
                for kind, found in self.violations.items()
            },
        }


def judge(
    history: History,
    remains: Remains,
    windows: Sequence[Window],
    *,
    floors: Floors,
    final: Recovery,
    under_way: int,
    processes: int,
    in_order: bool,
    spills: bool = False,
    liveness: float = LIVENESS_SECONDS,
) -> Verdict:
    """
    Return the verdict.

    Args:
        history: What the ledger and the data plane wrote down.
        remains: What was left.
        windows: The faults.
        floors: What must have been tried.
        final: How long recovery from all faults took.
        under_way: Batches that a process may hold at once.
        processes: How many producers and workers there are at once.
        in_order: One processor works at a time, first in, first out.
        spills: Events may go through a spill file.
        liveness: Seconds within which the oldest producer and worker must be at work again.
    """
    found = {
        "lost": _lost(history, remains),
        "vanished": _vanished(history, remains),
        "given up": [i for i in remains.failed if not is_poison(i)],
        "refused but sent": [i for i in history.refused if i in history.arrivals or i in remains.stored],
        "acknowledged and refused": [i for i in history.refused if i in history.acked],
        "changed": _changed(history, remains),
        "invented": [
            i
            for place in (history.arrivals, remains.stored, remains.failed, history.acked)
            for i in place
            if i not in history.issued
        ],
        "repeated": unexplained_repeats(history, windows, under_way=under_way, processes=processes),
        "overtaken": overtakings(history, windows) if in_order else [],
        "not live": _not_live(windows, final, spills=spills, liveness=liveness),
        "stuck": [] if remains.backlog_seconds is not None else ["the queue did not drain"],
        "crashed": [*remains.crashes, *history.crashed],
        "deadlocked": list(history.deadlocked),
        "other": list(remains.notes),
    }
    duplicates = sum(len(arrival.moments) - 1 for arrival in history.arrivals.values())
    return Verdict(
        violations={kind: list(ids) for kind, ids in found.items() if ids},
        vacuous=_vacuous(history, windows, floors),
        places=_places(history, remains),
        acked=len(history.acked),
        duplicates=duplicates,
    )


def _lost(history: History, remains: Remains) -> list[str]:
    safe = (history.arrivals, remains.stored, remains.failed)
    return [i for i in history.acked if not any(i in place for place in safe)]


def _vanished(history: History, remains: Remains) -> list[str]:
    """Return the producers, closed in good order, of whose events more are nowhere than they reported."""
    known = (history.arrivals, remains.stored, remains.failed, history.refused)
    unknown = Counter(
        producer
        for i in history.issued
        if (producer := producer_of(i)) in history.closed and not any(i in p for p in known)
    )
    return [
        f"{count} of {producer}, {history.closed[producer]} reported"
        for producer, count in unknown.items()
        if count > history.closed[producer]
    ]


def _changed(history: History, remains: Remains) -> list[str]:
    def differs(message_id: str, digests: set[str]) -> bool:
        issue = history.issued.get(message_id)
        return issue is not None and digests != {issue.digest}

    arrived = [
        i for i, arrival in history.arrivals.items() if differs(i, arrival.digests) or len(arrival.bytes) > 1
    ]
    stored = [i for i, digest in remains.stored.items() if differs(i, {digest})]
    return arrived + stored + [i for i, (digest, _) in remains.failed.items() if differs(i, {digest})]


def _not_live(windows: Sequence[Window], final: Recovery, *, spills: bool, liveness: float) -> list[str]:
    deliveries = liveness + (MOVER_LEASE_SECONDS if spills else 0.0)
    waits = [(window.fault, window.recovery) for window in windows if window.recovery is not None]
    return [
        f"{what} {'never' if seconds is None else f'{seconds:.1f} s'} after {fault}"
        for fault, recovery in [*waits, ("the last fault", final)]
        for what, seconds in asdict(recovery).items()
        if seconds is None or seconds > (liveness if what == "acked" else deliveries)
    ]


def _places(history: History, remains: Remains) -> dict[str, int]:
    """Count each issued event in one place. The counts sum up to what was issued."""
    places: Counter[str] = Counter()
    for message_id in history.issued:
        if message_id in history.arrivals:
            places["delivered"] += 1
        elif message_id in remains.stored:
            places["stored"] += 1
        elif message_id in remains.failed:
            places["failed"] += 1
        elif message_id in history.refused:
            places[f"refused: {history.refused[message_id]}"] += 1
        elif message_id in history.acked:
            places["lost"] += 1
        else:
            places["unknown"] += 1
    return dict(places)


def _vacuous(history: History, windows: Sequence[Window], floors: Floors) -> list[str]:
    hits: Counter[str] = Counter()
    for window in windows:
        hits[window.fault] += window.hits
    poor = [
        f"{name} hit {hits[name]} times, not {least}"
        for name, least in floors.of_class.items()
        if hits[name] < least
    ]
    dealt = [window for window in windows if window.alone and window.fault not in KILLS]
    hit = sum(window.hits > 0 for window in dealt)
    if hit < _LEAST_SHARE * len(dealt):
        poor.append(f"only {hit} of {len(dealt)} faults hit")
    several = sum(window.hits > 0 for window in windows if window.fault not in KILLS)
    if several < floors.faults:
        poor.append(f"only {several} faults hit, not {floors.faults}")
    kills = sum(hits[fault] for fault in (*KILLS, EVERYONE))
    if kills < floors.kills:
        poor.append(f"only {kills} kills hit a process at work, not {floors.kills}")
    if history.spills < floors.spills:
        poor.append(f"only {history.spills} clients used the spill file, not {floors.spills}")
    acked, issued = len(history.acked), len(history.issued)
    if acked < max(_LEAST_ACKED, floors.acked_share * issued):
        poor.append(f"only {acked} of {issued} events were acknowledged")
    return poor
