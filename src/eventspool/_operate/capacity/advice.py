"""What an operator does with a plan: sentences, and settings to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._config import Ordering
from eventspool._operate.capacity.constants import MEASURED
from eventspool._operate.capacity.load import MAX_PARTITIONS
from eventspool._operate.figures import format_age, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._operate.capacity.constants import Constants
    from eventspool._operate.capacity.plan import Plan

__all__ = ["advise", "settings"]

_SMALL_BATCH = 50
"""Events of a batch below which its fixed cost is most of it."""


def advise(plan: Plan, constants: Constants = MEASURED) -> list[str]:
    """Return what to do, in sentences, the most urgent first."""
    return [
        *_on_bounds(plan),
        *_on_one_node(plan),
        *_on_partitions(plan, constants),
        *_on_batches(plan),
        *_on_safety(plan),
    ]


def _on_bounds(plan: Plan) -> Iterator[str]:
    load = plan.load
    if plan.full_seconds < load.outage_seconds:
        yield (
            f"The queue is full after {format_age(plan.full_seconds)} of an outage: set max_bytes and max_jobs as below. Then "
            f"events wait in memory, for {format_age(plan.buffer_seconds)}"
            + (
                f", and in the spill file, for {format_age(plan.spill_seconds)}."
                if load.spill_bytes
                else ", and are refused after that. A spill file takes more: Client(spill='sqlite:///spill.db')."
            )
        )
    if plan.drain_seconds is None:
        yield (
            "One request at a time does not keep up with these events: they need ordering='per_user' or 'none'."
            if load.ordering is Ordering.FIFO
            else "These processors never catch up after an outage: run more of them, or make larger batches."
        )


def _on_one_node(plan: Plan) -> Iterator[str]:
    wanted = max(plan.nodes_by_cores, plan.nodes_by_memory)
    if wanted > plan.nodes:
        what = (
            "strict order keeps the queue in one node"
            if plan.load.ordering is Ordering.FIFO
            else f"{format_count(plan.partitions, 'partition')} can be in {format_count(plan.nodes, 'node')} at most"
        )
        how = (
            "give a node more memory" if plan.nodes_by_memory > plan.nodes_by_cores else "make larger batches"
        )
        yield f"The load needs {wanted} nodes, and {what}: {how}, or let ordering and partitions allow more."


def _on_partitions(plan: Plan, constants: Constants) -> Iterator[str]:
    if plan.partition_bytes > constants.partition_bytes * 1.001:
        several = plan.partitions == MAX_PARTITIONS
        yield (
            f"A partition would hold {plan.partition_bytes / 1e6:,.0f} MB. In a cluster of Redis before 8.4 or Valkey before "
            f"9 it is full at some {constants.partition_bytes / 1e6:,.0f} MB, because no more can be moved between nodes: "
            + (
                "use Valkey 9 or Redis 8.4, plan for a shorter outage, or let spill files take the rest."
                if several or plan.load.ordering is Ordering.FIFO
                else "use more partitions before you use a cluster."
            )
        )
    if plan.nodes > 1:
        yield (
            f"Spread {format_count(plan.partitions, 'partition')} over {format_count(plan.nodes, 'node')} of a Redis Cluster "
            f"with a maxmemory of {plan.maxmemory_bytes / 1e9:.1f} GB each."
        )


def _on_batches(plan: Plan) -> Iterator[str]:
    batches, load = plan.batches, plan.load
    small = batches.events_per_batch < min(_SMALL_BATCH, load.events_per_full_batch)
    if not small or load.events_per_batch is not None:
        return
    if load.durability != "buffered":
        yield "Calls that wait share a commit: more threads in fewer processes make larger batches."
    elif load.ordering is Ordering.PER_USER and plan.partitions > 1:
        yield (
            f"Order per user cuts a flush of {batches.events_per_flush:.0f} events into batches of "
            f"{batches.events_per_batch:.1f}: a larger flush_at costs time, and saves cores and memory."
        )
    else:
        yield (
            f"A batch has {batches.events_per_batch:.0f} events: a larger flush_at makes each of them "
            "cheaper, in Redis and in Python."
        )


def _on_safety(plan: Plan) -> Iterator[str]:
    load = plan.load
    if load.durability == "replicated" and load.replicas < 2:
        yield "With one replica, no event is acknowledged while that replica is away: give each node two."
    if load.replicas == 0:
        yield "Without a replica, a node that is lost takes its events along."


def settings(plan: Plan) -> list[str]:
    """Return lines of Python to copy: the options of the queue and of the client."""
    load = plan.load
    url = (
        "redis+cluster://node-1:6379,node-2:6379"
        if plan.nodes > 1
        else "redis+sentinel://sentinel-1:26379,sentinel-2:26379/mymaster"
        if load.replicas
        else "redis://localhost:6379/0"
    )
    queue = [f'url="{url}"', f'ordering="{load.ordering.value}"']
    if plan.partitions > 1:
        queue.append(f"partitions={plan.partitions}")
    queue += [f"max_bytes={plan.max_bytes:_}", f"max_jobs={plan.max_jobs:_}"]
    client = [
        '"WRITE_KEY"',
        "persistence=queue_opts",
        f"flush_at={load.flush_at}",
        f"flush_interval={load.flush_interval:g}",
    ]
    if load.durability != "buffered":
        client.append(f'durability="{load.durability}"')
    if load.spill_bytes:
        client.append('spill="sqlite:///spill.db"')
    return [
        f"queue_opts = eventspool.QueueOpts({', '.join(queue)})",
        f"client = eventspool.Client({', '.join(client)})",
    ]
