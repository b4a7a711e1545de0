"""Gathers the facts of one set-up, and puts them before the checks."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eventspool._backends.stores import resolve
from eventspool._doctor.environment_checks import check_environment
from eventspool._doctor.finding import Finding, Severity, error
from eventspool._doctor.plane_checks import check_plane
from eventspool._doctor.queue_checks import QueueFacts, check_queue
from eventspool._encryption import Keyring, parse_keys
from eventspool._exceptions import ConfigError, QueueError
from eventspool._operate.diagnosis import KINDS, observe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._config import ClientOpts, QueueOpts
    from eventspool._figures import QueueStats

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
        """The operator need not act."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)


def examine(
    queue: QueueOpts | None,
    plane: ClientOpts | None,
    *,
    has_key: bool = True,
    interval: float = 1.0,
    max_age: float = 300.0,
    encryption_key: str | None = None,
    environ: Mapping[str, str] | None = None,
    replicas: int = 0,
) -> Examination:
    """
    Look at a queue, at the store that keeps it, and at the way to the data plane. Changes nothing but a SQLite file's mode.

    Args:
        queue: The queue; ``None``: no queue is looked at.
        plane: The data plane; ``None``: no data plane is asked.
        has_key: The write key in *plane* is a real one.
        interval: Seconds between two looks at the queue, to see whether failures grow.
        max_age: Seconds. An older job is a finding.
        encryption_key: What EVENTSPOOL_ENCRYPTION_KEY holds.
        environ: The environment, whose variables that begin like ours are checked.
        replicas: How many replicas must confirm a commit, where *plane* is not that of a client that says so itself.
    """
    began = time.monotonic()
    findings = list(check_environment(environ or {}))
    findings += [] if encryption_key is None else _examine_key(encryption_key)
    facts: QueueFacts | None = None
    if queue is not None:
        if plane is not None and plane.is_replicated:
            replicas = replicas or queue.replicas
        asked = {"replicas": replicas} if replicas and not queue.kind.is_local else {}
        found, usable = resolve(queue.kind.doctor)(queue, **asked)
        findings += found
        facts = _look(queue, max_age) if usable else None
    looked = time.monotonic()
    if plane is not None:
        from eventspool._doctor.plane_facts import ask_plane

        findings += check_plane(ask_plane(plane, has_key=has_key))
    if queue is not None and facts is not None:
        if not facts.problem:
            # A rate needs two looks: the second one comes *interval* seconds after the first.
            time.sleep(max(0.0, looked + interval - time.monotonic()))
            again = _look(queue, max_age)
            facts = replace(again, before=facts.stats, interval=time.monotonic() - looked)
        findings += check_queue(facts)
    findings = _fold(findings)
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


def _look(queue: QueueOpts, max_age: float) -> QueueFacts:
    from eventspool._operate.queue import open_queue_of

    try:
        with open_queue_of(queue) as opened:
            seen = observe(opened, queue.queue_name)
    except QueueError as failure:
        return QueueFacts(problem=str(failure))
    return QueueFacts(
        stats=seen.stats,
        before=seen.stats,
        processors=seen.processors,
        reasons=seen.reasons,
        max_age=max_age,
        max_jobs=queue.max_jobs,
        max_bytes=queue.max_bytes,
        partitions=seen.partitions,
        condition=seen.condition,
        name=queue.queue_name,
        outage=seen.outage,
    )


def _fold(findings: list[Finding]) -> list[Finding]:
    """
    Tell each thing once, under the code that all tools have for it.

    The checks of a store, and of the data plane, ask for more than the queue tells, so their words are kept. What these have
    found of the data plane themselves counts more than what processors have last heard of it.
    """
    kept: list[Finding] = []
    codes = {finding.check for finding in findings}
    for finding in findings:
        code = _SAME.get(finding.check, finding.check)
        is_same = finding.severity is Severity.ERROR or code == "clock.apart"
        if finding.check in _SAME and is_same and code in codes:
            finding = replace(finding, check=code)  # noqa: PLW2901
        if not any(finding.check == other.check and finding.check in KINDS for other in kept):
            kept.append(finding)
    return kept


_SAME = {
    "redis.memory": "queue.full",
    "sqlite.disk": "queue.full",
    "redis.role": "queue.read_only",
    "redis.replicas": "queue.replicas",
    "redis.saving": "queue.saving",
    "redis.acl": "queue.refused",
    "redis.clock": "clock.apart",
}
"""What a store's own check and the diagnosis say of the same thing."""
