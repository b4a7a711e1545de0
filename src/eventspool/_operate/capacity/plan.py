"""The arithmetic: from a load, over its batches, to memory, cores, partitions, nodes, network and processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from eventspool._config import Ordering
from eventspool._operate.capacity.batching import Batches, form_batches
from eventspool._operate.capacity.constants import MEASURED
from eventspool._operate.capacity.load import MAX_PARTITIONS

if TYPE_CHECKING:
    from eventspool._operate.capacity.constants import Constants
    from eventspool._operate.capacity.load import Load

__all__ = ["DRAIN_JOBS", "Plan", "make_plan", "server_us"]

DRAIN_JOBS = 8
"""Jobs of a claim while a backlog is drained, at least."""
_BITS = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a load asks for. Times are in seconds, sizes in bytes; ``None`` where something never happens.

    Args:
        load: What it was made for.
        batches: How many events a job has.
        partitions: Over how many partitions the queue is to be spread.
        partition_bytes: Payload of each at the end of the outage.
        nodes: Redis servers that take writes; each has the load's number of replicas besides.
        nodes_by_memory: How many of them the backlog needs.
        nodes_by_cores: How many of them the jobs need.
        stored_event_bytes: Payload bytes of an event.
        backlog_payload_bytes: Payload at the end of the outage: what ``max_bytes`` bounds.
        backlog_jobs: Jobs at the end of the outage.
        backlog_bytes: Memory that these take in Redis, in all nodes together.
        maxmemory_bytes: ``maxmemory`` that each node needs for that.
        server_job_us: Server time of a job.
        redis_cores: Cores of Redis that are busy, in all nodes together.
        in_bits: Bits a second into the nodes.
        out_bits: Bits a second out of them, to processors and to replicas.
        file_bytes: Bytes a second that the append-only files grow by.
        producer_cores: Cores that all producers together spend on tracking and storing.
        processor_cores: Cores that all processors together spend on delivering.
        processors: Processes that deliver.
        drain_seconds: How long these take for the backlog, while as many events come.
        full_seconds: How long ``max_bytes`` and ``max_jobs`` of the load last in an outage.
        full_by: Which of the two ends first.
        buffer_seconds: How long a producer's memory lasts after that, or when Redis is away.
        spill_seconds: How long its spill file lasts then, 0 without one.
        max_bytes: What to set, so that the outage fits.
        max_jobs: The same.
    """

    load: Load
    batches: Batches
    partitions: int
    partition_bytes: float
    nodes: int
    nodes_by_memory: int
    nodes_by_cores: int
    stored_event_bytes: float
    backlog_payload_bytes: float
    backlog_jobs: float
    backlog_bytes: float
    maxmemory_bytes: float
    server_job_us: float
    redis_cores: float
    in_bits: float
    out_bits: float
    file_bytes: float
    producer_cores: float
    processor_cores: float
    processors: int
    drain_seconds: float | None
    full_seconds: float
    full_by: str
    buffer_seconds: float
    spill_seconds: float
    max_bytes: int
    max_jobs: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def server_us(
    load: Load, constants: Constants, batches: Batches, payload_bytes: float, partitions: int
) -> float:
    """Return the server time of a job, from its commit to its acknowledgement."""
    kb = payload_bytes / 1000
    together = batches.jobs_per_commit  # and what came together is claimed together
    spent = constants.commit_us(together, kb) + constants.deliver_us(together, kb)
    spent += constants.kept_us(kb, aof=load.aof, replicas=load.replicas) + constants.spread_us(partitions)
    if load.ordering is Ordering.PER_USER:
        spent += constants.order_us(together)
    if load.durability == "replicated":
        spent += constants.wait_call_us / batches.jobs_per_commit
    return spent


def make_plan(load: Load, constants: Constants = MEASURED) -> Plan:
    """Return what *load* asks for."""
    partitions = load.partitions or 1
    while True:
        plan = _plan_for(load, constants, partitions)
        needed = 1 if load.ordering is Ordering.FIFO else _count_partitions(plan, constants)
        if load.partitions is not None or needed <= partitions:
            return plan
        partitions = needed  # which cuts batches smaller where order is kept per user, so look again


def _count_partitions(plan: Plan, constants: Constants) -> int:
    by_bytes = ceil(plan.backlog_payload_bytes * constants.bound_margin / constants.partition_bytes)
    return min(max(by_bytes, plan.nodes, 1), MAX_PARTITIONS)


def _plan_for(load: Load, constants: Constants, partitions: int) -> Plan:
    batches = form_batches(load, constants, partitions)
    n, jobs, rate = batches.events_per_batch, batches.jobs_per_second, load.events_per_second
    stored = load.stored_bytes or constants.stored_bytes(n, load.event_bytes)
    payload = stored * n
    job_us = server_us(load, constants, batches, payload, partitions)
    processors, processor_cores = _count_processors(load, constants, batches)
    # A processor waits, and is woken, for each flush at most, and not while it sends.
    wakes = min(rate / batches.events_per_flush, processors / load.answer_seconds)
    idle_us = constants.idle_server_us + processors * constants.idle_processor_us + wakes * constants.wake_us
    cores = (jobs * job_us + idle_us) / 1e6

    backlog_jobs = jobs * load.outage_seconds
    backlog = backlog_jobs * (payload * constants.allocator_factor + constants.job_bytes)
    by_memory = max(1, ceil(backlog / (load.node_bytes * constants.memory_fill)))
    by_cores = max(1, ceil(cores / constants.utilisation))
    nodes = max(by_memory, by_cores)
    # One partition is in one node, and all of a queue in strict order is one partition.
    nodes = min(nodes, partitions if load.partitions or load.ordering is Ordering.FIFO else MAX_PARTITIONS)

    flow = jobs * (payload + constants.wire_job_bytes)
    by_bytes, by_jobs = load.max_bytes / (jobs * payload), load.max_jobs / jobs
    margin = constants.bound_margin
    return Plan(
        load=load,
        batches=batches,
        partitions=partitions,
        partition_bytes=backlog_jobs * payload / partitions,
        nodes=nodes,
        nodes_by_memory=by_memory,
        nodes_by_cores=by_cores,
        stored_event_bytes=stored,
        backlog_payload_bytes=backlog_jobs * payload,
        backlog_jobs=backlog_jobs,
        backlog_bytes=backlog,
        maxmemory_bytes=backlog / nodes / constants.memory_fill,
        server_job_us=job_us,
        redis_cores=cores,
        in_bits=flow * _BITS,
        out_bits=flow * _BITS * (1 + load.replicas),
        file_bytes=flow if load.aof else 0.0,
        producer_cores=(rate * constants.produce_event_us + jobs * constants.produce_job_us) / 1e6,
        processor_cores=processor_cores,
        processors=processors,
        drain_seconds=_find_drain(load, constants, batches, payload, processors, nodes),
        full_seconds=min(by_bytes, by_jobs),
        full_by="max_bytes" if by_bytes <= by_jobs else "max_jobs",
        buffer_seconds=load.max_internal_queue_size / load.events_per_producer,
        spill_seconds=load.spill_bytes / (jobs * payload / load.resolved_producers),
        max_bytes=_round_up(max(backlog_jobs * payload * margin, load.max_bytes)),
        max_jobs=_round_up(max(backlog_jobs * margin, load.max_jobs)),
    )


def _count_processors(load: Load, constants: Constants, batches: Batches) -> tuple[int, float]:
    """Return how many processes deliver *load* at the planned share of a core, and the cores that they use."""
    spent = batches.jobs_per_second * constants.deliver_process_job_us
    cores = (load.events_per_second * constants.deliver_event_us + spent) / 1e6
    if load.ordering is Ordering.FIFO:
        return 1, cores
    under_way = load.events_per_second / load.events_per_full_batch * load.answer_seconds
    by_answers = under_way / load.concurrency
    return max(1, ceil(cores / constants.utilisation), ceil(by_answers / constants.utilisation)), cores


def _find_drain(
    load: Load, constants: Constants, batches: Batches, payload: float, processors: int, nodes: int
) -> float | None:
    """Return how long *processors* take for what the outage has left, ``None`` where they never catch up."""
    rate, n, kb = load.events_per_second, batches.events_per_batch, payload / 1000
    in_flight = 1 if load.ordering is Ordering.FIFO else load.concurrency
    by_answers = processors * in_flight * load.events_per_full_batch / load.answer_seconds
    by_python = processors * 1e6 / (constants.deliver_event_us + constants.deliver_process_job_us / n)
    kept = constants.kept_us(kb, aof=load.aof, replicas=load.replicas)
    storing = batches.jobs_per_second * (constants.commit_us(batches.jobs_per_commit, kb) + kept)
    by_redis = (nodes * 1e6 - storing) / constants.deliver_us(DRAIN_JOBS, kb) * n
    spare = min(by_answers, by_python, by_redis) - rate
    return rate * load.outage_seconds / spare if spare > 0 else None


def _round_up(number: float) -> int:
    """Return *number* rounded up to two digits that count, as one would type it."""
    whole = ceil(number)
    step = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // step) * step
