"""What ends first: how many events a second one of each thing carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._config import Ordering
from eventspool._operate.capacity.constants import MEASURED

if TYPE_CHECKING:
    from eventspool._operate.capacity.constants import Constants
    from eventspool._operate.capacity.plan import Plan

__all__ = ["Limit", "find_limits"]


@dataclass(frozen=True, slots=True)
class Limit:
    """
    What one of something carries, in batches such as the plan has.

    Args:
        name: What ends, in one word, for programs.
        meaning: The same for people.
        events_per_second: Where it ends.
    """

    name: str
    meaning: str
    events_per_second: float


def find_limits(plan: Plan, constants: Constants = MEASURED) -> list[Limit]:
    """Return the limits that a load like that of *plan* meets with one of each thing, the lowest first."""
    load, n = plan.load, plan.batches.events_per_batch
    outage, stored = load.outage_seconds, plan.stored_event_bytes
    memory = constants.memory_fill * load.node_bytes
    sent = plan.out_bits / load.events_per_second
    written = plan.file_bytes / load.events_per_second
    delivering = constants.deliver_event_us + constants.deliver_process_job_us / n
    producing = constants.produce_event_us + constants.produce_job_us / n
    busy = constants.utilisation * 1e6
    found = [
        Limit("max_bytes", "the queue's max_bytes", load.max_bytes / stored / outage),
        Limit("max_jobs", "the queue's max_jobs", load.max_jobs * n / outage),
        Limit("movable", "one partition that can be moved", constants.partition_bytes / stored / outage),
        Limit("memory", "memory of one node", memory / (plan.backlog_bytes / load.events_per_second)),
        Limit("redis_core", "one core of Redis", busy / plan.server_job_us * n),
        Limit("network", "network of one node", constants.node_bits / sent),
        Limit("processor", "one process that delivers", busy / delivering),
        Limit("producer", "one process that tracks", busy / producing),
    ]
    if written:
        found.append(Limit("file", "append-only file of one node", constants.node_file_bytes / written))
    if load.ordering is Ordering.FIFO:
        one = load.events_per_full_batch / load.answer_seconds
        found.append(Limit("strict_order", "one request at a time, for strict order", one))
    return sorted(found, key=lambda limit: limit.events_per_second)
