"""
What one job and one event cost, as ``./run bench scale`` measures it, and what the plan assumes besides.

Server time is that of the main thread of one Redis server, because that thread is what a server runs out of. A cost is a line:
so much for each call, each job and each KB (1,000 bytes) of stored payload. docs/scaling.md has the measurements.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, fields
from math import log, log2
from typing import Any, Literal, NamedTuple

from eventspool._backends.redis.codec import SMALL_COMMIT_BYTES

__all__ = ["MEASURED", "Constant", "Constants", "list_constants"]

_Kind = Literal["measured", "chosen"]


def _measured(value: float, unit: str, meaning: str) -> Any:
    return field(default=value, metadata={"kind": "measured", "unit": unit, "meaning": meaning})


def _chosen(value: float, unit: str, meaning: str) -> Any:
    return field(default=value, metadata={"kind": "chosen", "unit": unit, "meaning": meaning})


class Constant(NamedTuple):
    """One constant, for people: ``measured`` by the benchmark, or ``chosen`` because a plan needs a margin."""

    name: str
    value: float
    unit: str
    meaning: str
    kind: _Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """The numbers of the model; the fields say what each of them means."""

    commit_call_us: float = _measured(78.0, "µs", "server time of each commit")
    commit_job_us: float = _measured(9.3, "µs", "server time of each job in a commit")
    commit_small_kb_us: float = _measured(1.6, "µs", "server time of each KB in a commit of up to 16 KB")
    commit_large_us: float = _measured(43.0, "µs", "more server time of each larger commit")
    commit_kb_us: float = _measured(0.48, "µs", "server time of each KB in a larger commit")
    deliver_call_us: float = _measured(181.0, "µs", "server time of each claim, fetch and acknowledgement")
    deliver_job_us: float = _measured(12.3, "µs", "server time of each job in them")
    deliver_kb_us: float = _measured(0.36, "µs", "server time of each KB in them")
    aof_job_us: float = _measured(11.2, "µs", "more server time of a job with an append-only file (everysec)")
    aof_kb_us: float = _measured(0.7, "µs", "more server time of a KB with an append-only file")
    replica_job_us: float = _measured(7.8, "µs", "more server time of a job for each replica")
    replica_kb_us: float = _measured(0.43, "µs", "more server time of a KB for each replica")
    lane_call_us: float = _measured(
        95.0, "µs", "more server time of each commit and claim with order per user"
    )
    lane_job_us: float = _measured(20.0, "µs", "more server time of each job in them")
    partition_job_us: float = _measured(
        4.1, "µs", "more server time of a job for each doubling of the partitions"
    )
    wait_call_us: float = _measured(20.0, "µs", "more server time of a commit that waits for replicas")
    wake_us: float = _measured(300.0, "µs", "server time of waking a processor that waits")
    idle_server_us: float = _measured(490.0, "µs/s", "server time of a server that nobody uses")
    idle_processor_us: float = _measured(109.0, "µs/s", "server time of a processor that finds nothing")
    job_bytes: float = _measured(219.0, "B", "memory of a job besides its payload")
    allocator_factor: float = _measured(1.0, "", "memory of a payload, for each of its bytes")
    wire_job_bytes: float = _measured(950.0, "B", "network of a job besides its payload, one way")
    produce_event_us: float = _measured(5.5, "µs", "Python time to track and store an event")
    produce_job_us: float = _measured(53.0, "µs", "Python time to make and store a job")
    deliver_event_us: float = _measured(0.78, "µs", "Python time to deliver an event")
    deliver_process_job_us: float = _measured(49.0, "µs", "Python time to claim, send and acknowledge a job")
    commit_seconds: float = _measured(0.0002, "s", "time until a durable call is acknowledged")
    wait_seconds: float = _measured(0.0001, "s", "more of it with replicas on the same network")
    utilisation: float = _chosen(0.6, "", "share of a core to plan with, of Redis and of Python")
    memory_fill: float = _chosen(0.8, "", "share of maxmemory that a backlog may take")
    partition_bytes: float = _chosen(
        256e6, "B", "most payload of a partition that can be moved between nodes"
    )
    node_bits: float = _chosen(1e9, "bit/s", "network of a node, each way")
    node_file_bytes: float = _chosen(100e6, "B/s", "what a node's disk takes of the append-only file")
    bound_margin: float = _chosen(1.25, "", "max_bytes and max_jobs, for each byte and job of the backlog")
    stored: tuple[tuple[float, float], ...] = (
        (1, 397),
        (2, 261),
        (5, 166),
        (20, 112),
        (100, 96),
        (500, 92.5),
        (900, 92),
    )
    """Events a batch -> stored bytes for each event of ``reference_event_bytes``."""
    reference_event_bytes: float = _measured(561.0, "B", "JSON of an event that the stored bytes are of")

    def stored_bytes(self, events_per_batch: float, event_bytes: float) -> float:
        """Return the payload bytes of an event in a batch of so many, between the measured sizes of batches."""
        scale = event_bytes / self.reference_event_bytes
        sizes = [size for size, _ in self.stored]
        at = bisect_right(sizes, events_per_batch)
        if at == 0 or at == len(sizes):
            return self.stored[max(at - 1, 0)][1] * scale
        (low, many), (high, few) = self.stored[at - 1 : at + 1]
        share = log(events_per_batch / low) / log(high / low)
        return (many + (few - many) * share) * scale

    def commit_us(self, jobs_per_call: float, payload_kb: float) -> float:
        """Return the server time of a job's commit, without append-only file and replicas."""
        spent = self.commit_call_us / jobs_per_call + self.commit_job_us
        if jobs_per_call * payload_kb * 1000 <= SMALL_COMMIT_BYTES:
            return spent + self.commit_small_kb_us * payload_kb
        return spent + self.commit_large_us / jobs_per_call + self.commit_kb_us * payload_kb

    def deliver_us(self, jobs_per_call: float, payload_kb: float) -> float:
        """Return the server time of a job from its claim to its acknowledgement."""
        return self.deliver_call_us / jobs_per_call + self.deliver_job_us + self.deliver_kb_us * payload_kb

    def kept_us(self, payload_kb: float, *, aof: bool, replicas: int) -> float:
        """Return what a job costs besides where it is written to an append-only file, and to replicas."""
        file = self.aof_job_us + self.aof_kb_us * payload_kb if aof else 0.0
        return file + replicas * (self.replica_job_us + self.replica_kb_us * payload_kb)

    def order_us(self, jobs_per_call: float) -> float:
        """Return what a job costs besides with order per user."""
        return self.lane_call_us / jobs_per_call + self.lane_job_us

    def spread_us(self, partitions: int) -> float:
        """Return what a job costs besides where its queue has several partitions."""
        return self.partition_job_us * log2(partitions)

    def memory_bytes(self, events_per_batch: float, event_bytes: float) -> float:
        """Return the memory in Redis of an event in a batch of so many."""
        payload = self.stored_bytes(events_per_batch, event_bytes)
        return payload * self.allocator_factor + self.job_bytes / events_per_batch


MEASURED = Constants()
"""The constants as ``./run bench scale`` measured them (docs/scaling.md)."""


def list_constants(constants: Constants) -> list[Constant]:
    """Return *constants* one by one, but for the table of stored bytes."""
    return [
        Constant(
            each.name,
            getattr(constants, each.name),
            each.metadata["unit"],
            each.metadata["meaning"],
            each.metadata["kind"],
        )
        for each in fields(constants)
        if each.metadata
    ]
