"""
From what was observed to what is wrong. Pure: the same observation leads every tool to the same troubles.

Each function knows one part of the way of an event: the store, the processors, the data plane, clocks, what has failed. What
is only a consequence of something graver is not told: a server that takes no writes takes no heartbeats either, so that its
processors seem dead, and nobody needs to start more of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.condition import FULL, PERMISSION, READ_ONLY, REFUSED, REPLICAS, SAVING
from eventspool._operate.diagnosis.sentences import code_of_outage, code_of_plane
from eventspool._operate.diagnosis.trouble import KINDS, Severity, Trouble, trouble
from eventspool._operate.figures import format_age, format_count
from eventspool._reasons import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._fleet import ProcessorInfo
    from eventspool._operate.diagnosis.observation import Observation

__all__ = ["diagnose"]

APART = 5.0
"""Seconds between two clocks. Ages, ``retry_for`` and the times that operators see are wrong by as much."""
_REFUSALS = {
    FULL: "queue.full",
    READ_ONLY: "queue.read_only",
    REPLICAS: "queue.replicas",
    SAVING: "queue.saving",
    PERMISSION: "queue.refused",
    REFUSED: "queue.refused",
}
_NAMED = 8
"""Other queues, or hosts, that one sentence names."""


def diagnose(seen: Observation) -> tuple[Trouble, ...]:
    """Return what is wrong, the gravest first; nothing where events are stored and delivered."""
    if seen.problem:
        return (trouble(code_of_outage(seen.problem), seen.problem, is_obstacle=True),)
    found = [
        *_check_store(seen),
        *_check_processors(seen),
        *_check_plane(seen),
        *_check_encryption(seen),
        *_check_name(seen),
        *_check_clocks(seen),
        *_check_failed(seen),
    ]
    found += _check_age(seen, found)
    return tuple(sorted(found, key=lambda each: each.rank))


def _count_unfinished(seen: Observation) -> int:
    stats = seen.stats
    return stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs


def _check_store(seen: Observation) -> Iterator[Trouble]:
    condition, stats = seen.condition, seen.stats
    if condition.refuses:
        code = _REFUSALS.get(condition.refuses, "queue.refused")
        more = "; what it holds is still delivered" if condition.drains else ""
        yield trouble(code, f"{condition.because}{more}", is_obstacle=not condition.drains)
    elif seen.outage:
        yield trouble(code_of_outage(seen.outage), seen.outage, is_obstacle=True)
    away = sum(each.away for each in seen.partitions)
    if away:
        servers = ", ".join(sorted({each.node for each in seen.partitions if each.away and each.node}))
        where = f" ({servers})" if servers else ""
        total = format_count(len(seen.partitions), "partition")
        yield trouble("queue.partitions", f"{away} of {total} cannot be reached{where}")
    if stats.paused:
        unfinished = format_count(_count_unfinished(seen), "job")
        yield trouble(
            "queue.paused", f"an operator has paused the queue, with {unfinished} in it", Severity.WARNING
        )
    parts = (stats.waiting, stats.delayed, stats.leased, stats.failed)
    for name, used, most in (
        ("jobs", sum(part.jobs for part in parts), seen.max_jobs),
        ("bytes", sum(part.bytes for part in parts), seen.max_bytes),
    ):
        if most and used >= most:
            yield trouble(
                "queue.bounds",
                f"the queue holds {used:,} of at most {most:,} {name}: new events stay in memory and are then refused",
            )
            return


def _check_processors(seen: Observation) -> Iterator[Trouble]:
    unfinished = _count_unfinished(seen)
    is_silent = not (seen.stats.processors or seen.processors or seen.own or seen.stats.paused)
    if unfinished and is_silent and seen.condition.drains and not any(each.away for each in seen.partitions):
        yield trouble("queue.processors", f"no processor is alive for {format_count(unfinished, 'job')}")


# The data plane


def _check_plane(seen: Observation) -> Iterator[Trouble]:
    stats = seen.stats
    if seen.own is not None:
        if seen.own.paused or stats.held_until:
            is_its_own = seen.own.paused and not seen.own.unreadable
            yield _tell_of_plane(seen.own, seen.own.last_error if is_its_own else stats.held_because)
        return
    halted = [each for each in seen.processors if each.paused]
    if stats.held_until:
        why = stats.held_because or next((each.last_error for each in halted if each.last_error), "")
        some = halted[0] if halted else None
        yield _tell_of_plane(
            some, why, "all processors stay away from the data plane, and one at a time probes it: "
        )
        return
    severity = Severity.ERROR if len(halted) == len(seen.processors) else Severity.WARNING
    told: dict[str, Trouble] = {}
    for each in halted:
        found = _tell_of_plane(each, each.last_error, f"the processor {_name(each)} only probes: ", severity)
        told.setdefault(found.code, found)
    yield from told.values()


def _tell_of_plane(
    processor: ProcessorInfo | None, why: str, before: str = "", severity: Severity = Severity.ERROR
) -> Trouble:
    reason, statuses = ("", {}) if processor is None else (processor.pause_reason, processor.statuses)
    code = code_of_plane(why, reason, statuses)
    if code == "plane.throttled":
        severity = Severity.WARNING
    return trouble(code, f"{before}{why or KINDS[code].label}", severity)


def _name(processor: ProcessorInfo) -> str:
    return f"{processor.host}:{processor.pid}" if processor.host else processor.token


# Keys, names, clocks


def _check_encryption(seen: Observation) -> Iterator[Trouble]:
    blind = [
        each
        for each in ([seen.own] if seen.own is not None else seen.processors)
        if each.unreadable == "encrypted"
    ]
    given_up = seen.reasons.get("encrypted")
    if blind:
        noun = "processor" if len(blind) == 1 else "processors"
        who = ", ".join(_name(each) for each in blind[:_NAMED])
        # A worker that delivers other batches has a right key, too.
        is_obstacle = all(each.reads_nothing for each in blind)
        yield trouble(
            "encryption.wrong_key",
            f"batches in the queue are encrypted, and no key given to the {noun} {who} opens them",
            is_obstacle=is_obstacle,
        )
    elif given_up is not None and given_up.jobs:
        yield trouble(
            "encryption.wrong_key",
            f"{format_count(given_up.jobs, 'job')} failed because no key that the workers had opened them",
            Severity.WARNING,
            is_obstacle=False,
        )


def _check_name(seen: Observation) -> Iterator[Trouble]:
    if seen.condition.is_used:
        return
    others = seen.condition.others
    if not others:
        yield trouble(
            "queue.missing",
            f"no event was ever stored in the queue {seen.name!r} here, and no other queue was found",
            Severity.NOTE,
        )
        return
    names = ", ".join(others[:_NAMED]) + (" and others" if len(others) > _NAMED else "")
    yield trouble(
        "queue.missing",
        f"no event was ever stored in a queue {seen.name!r} here; the queues that are: {names}",
        Severity.WARNING,
    )


def _check_clocks(seen: Observation) -> Iterator[Trouble]:
    parts = []
    ahead = seen.condition.clock_ahead
    if ahead is not None and abs(ahead) > APART:
        parts.append(f"the clock of this host is {_name_distance(-ahead)} the queue's server")
    for host, seconds in sorted(seen.condition.clocks.items(), key=lambda item: -abs(item[1]))[:_NAMED]:
        parts.append(
            f"the clock of {host}, which stores events, is {_name_distance(seconds)} the queue's server"
        )
    if parts:
        cause = f"{'; '.join(parts)}: the times of events are wrong by as much"
        yield trouble("clock.apart", cause, Severity.WARNING)


def _name_distance(seconds: float) -> str:
    return f"{format_age(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'}"


# What has failed, and what is late


def _check_failed(seen: Observation) -> Iterator[Trouble]:
    unreadable = {name: reason for name, reason in FAILED.items() if reason.is_unreadable}
    rest = {name: depth for name, depth in seen.reasons.items() if name not in unreadable and depth.jobs}
    events = sum(depth.events for depth in rest.values())
    why = f" ({', '.join(sorted(rest))})"
    if not seen.reasons:  # they were not counted by reason, or could not be
        events, why = seen.stats.failed.events, ""
    if rest or (not seen.reasons and seen.stats.failed.jobs):
        yield trouble(
            "queue.failed",
            f"the failed queue holds {format_count(events, 'event')}{why} until an operator decides",
            Severity.WARNING,
        )
    for name, reason in unreadable.items():
        depth = seen.reasons.get(name)
        if name != "encrypted" and depth is not None and depth.jobs:
            yield trouble(
                "queue.unreadable",
                f"{format_count(depth.jobs, 'job')} could not be read ({name}): {reason.meaning}",
                Severity.WARNING,
                remedy=reason.advice,
            )
            return


def _check_age(seen: Observation, found: list[Trouble]) -> Iterator[Trouble]:
    is_explained = any(each.severity is Severity.ERROR or each.code == "plane.throttled" for each in found)
    if seen.stats.oldest_age > seen.max_age and not (is_explained or seen.stats.paused):
        yield trouble(
            "queue.age", f"the oldest job is {format_age(seen.stats.oldest_age)} old", Severity.WARNING
        )
