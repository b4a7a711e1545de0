"""Gather the facts of one set-up, thinly, and put them before the checks."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eventspool._config import QueueOpts, RedisOpts, SQLiteOpts
from eventspool._doctor.finding import Finding, Severity, error
from eventspool._doctor.plane_checks import check_plane
from eventspool._doctor.queue_checks import QueueFacts, check_queue
from eventspool._doctor.redis_checks import check_redis
from eventspool._doctor.sqlite_checks import check_sqlite
from eventspool._encryption import Keyring, parse_keys
from eventspool._exceptions import ConfigError, QueueError

if TYPE_CHECKING:
    from eventspool._config import ClientOpts
    from eventspool._job import QueueStats

__all__ = ["Examination", "examine"]


@dataclass(frozen=True, slots=True)
class Examination:
    """
    What an examination found.

    Args:
        findings: The worst first.
        stats: How full the queue is, where it could be asked.
        elapsed: Seconds that it took.
    """

    findings: tuple[Finding, ...]
    stats: QueueStats | None = None
    elapsed: float = 0.0

    @property
    def is_healthy(self) -> bool:
        """Nobody needs to act."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)


def examine(
    queue: QueueOpts | None,
    plane: ClientOpts | None,
    *,
    has_key: bool = True,
    interval: float = 1.0,
    max_age: float = 300.0,
    encryption_key: str | None = None,
) -> Examination:
    """
    Look at a queue, at what keeps it, and at the way to the data plane. Changes nothing but the rights on a SQLite file.

    Args:
        queue: The queue; ``None`` leaves it out.
        plane: The data plane; ``None`` leaves it out.
        has_key: *plane* holds a true write key.
        interval: Seconds between two looks at the queue, to see whether failures grow.
        max_age: Seconds that a job may be old.
        encryption_key: What EVENTSPOOL_ENCRYPTION_KEY holds.
    """
    began = time.monotonic()
    findings = [] if encryption_key is None else _examine_key(encryption_key)
    facts: QueueFacts | None = None
    if queue is not None:
        found, usable = _examine_store(queue)
        findings += found
        facts = _look(queue, max_age) if usable else None
    looked = time.monotonic()
    if plane is not None:
        from eventspool._doctor.plane_facts import ask_plane

        findings += check_plane(ask_plane(plane, has_key=has_key))
    if queue is not None and facts is not None:
        if not facts.problem:
            time.sleep(max(0.0, looked + interval - time.monotonic()))
            again = _look(queue, max_age)
            facts = replace(again, before=facts.stats, interval=time.monotonic() - looked)
        findings += check_queue(facts)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    stats = facts.stats if facts is not None and not facts.problem else None
    return Examination(tuple(findings), stats, time.monotonic() - began)


def _examine_key(text: str) -> list[Finding]:
    try:
        Keyring(parse_keys(text))
    except ConfigError as failure:
        return [
            error(
                "encryption.key",
                f"EVENTSPOOL_ENCRYPTION_KEY cannot be used: {failure}",
                "mend or unset it where the command is run: until then nothing but doctor starts. Stored batches need the "
                "key that they were stored with",
            )
        ]
    return []


def _examine_store(queue: QueueOpts) -> tuple[list[Finding], bool]:
    """Return what is wrong with what keeps the queue, and whether the queue itself can be asked."""
    target = queue.target
    if isinstance(target, SQLiteOpts):
        from eventspool._doctor.sqlite_facts import look_at_sqlite

        file = look_at_sqlite(target)
        return list(check_sqlite(file)), file.exists and file.usable  # opening would make a missing one
    assert isinstance(target, RedisOpts)  # noqa: S101 - there are two kinds
    from eventspool._doctor.redis_facts import ask_redis

    server = ask_redis(target, prefix=queue.prefix, queue_name=queue.queue_name)
    findings = list(check_redis(server))
    return findings, not server.problem and not server.denied


def _look(queue: QueueOpts, max_age: float) -> QueueFacts:
    from eventspool._queue import open_queue

    try:
        assert queue.url is not None  # noqa: S101 - the command line knows queues by their URLs
        with open_queue(queue.url, queue.queue_name, queue.prefix) as opened:
            stats = opened.stats()
            reasons = opened.failed_reasons() if stats.failed.jobs else {}
            return QueueFacts(
                stats=stats,
                before=stats,
                processors=opened.processors(),
                reasons=reasons,
                max_age=max_age,
                max_jobs=queue.max_jobs,
                max_bytes=queue.max_bytes,
            )
    except QueueError as failure:
        return QueueFacts(problem=str(failure))
