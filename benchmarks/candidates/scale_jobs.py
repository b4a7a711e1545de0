"""
What a job costs the server: ``scale_jobs.py URL EVENTS_A_BATCH JOBS_A_CALL JOBS PARTITIONS ORDERING [WAIT]``.

Stores the jobs in calls of so many, claims them and acknowledges them, each step for all of them before the next. (With order
per user a job is acknowledged before the next claim, and counts as part of it.) The server itself says how much processor time
its main thread spent on a step. With WAIT, each commit is followed by a ``WAIT 1``.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import TYPE_CHECKING

import redis

from benchmarks.event import USER
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._config import QueueOpts
from eventspool._envelope import seal
from eventspool._job import NewJob, new_job_id
from eventspool._routing import LANES
from fill import encoded_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend

_DIFFERENT = 64
"""Batches that are made; the jobs are these in turns."""
_MOMENT = b"2026-11-23T17:26:00.123Z"
"""The time of all events of ``fill.py``. Here each has its own, as those of a program have, and that takes bytes."""
_TOKEN = "0123456789abcdef"
_LEASE = 600.0
_PLENTY = 100_000_000


def open_queue(url: str, partitions: int, ordering: str) -> Backend:
    """Return the queue, opened."""
    opts = QueueOpts(url=url, partitions=partitions, ordering=ordering, max_bytes=1 << 40, max_jobs=_PLENTY)
    opened = create_backend(opts)
    opened.open()
    return opened


def make_events(first: int, count: int) -> list[bytes]:
    """Return *count* events that come a millisecond after the other, each of a user of its own."""
    draw = random.Random(first)
    made = []
    for number, event in enumerate(encoded_events(first, first + count), first):
        seconds, ms = divmod(number, 1000)
        moment = f"2026-11-23T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"
        user = f"user_{draw.randrange(100_000)}"
        made.append(event.replace(_MOMENT, moment.encode()).replace(USER.encode(), user.encode()))
    return made


def make_jobs(count: int, size: int, ordering: str) -> list[NewJob]:
    """Return *count* jobs of *size* events. With order per user each touches one lane."""
    payloads = [seal(make_events(n * size, size)) for n in range(min(_DIFFERENT, count))]

    def new_id(number: int) -> str:
        return new_job_id(1 << number % LANES) if ordering == "per_user" else new_job_id()

    return [NewJob(new_id(n), payloads[n % len(payloads)], size) for n in range(count)]


def main(url: str, size: int, group: int, count: int, partitions: int, ordering: str, wait: str = "") -> None:
    """Measure, and print microseconds of the server for each job, and bytes for each event."""
    server = redis.Redis.from_url(url)
    server.flushall()

    def spent(step: Callable[[], object]) -> tuple[float, float]:
        """Return the server's microseconds, and the seconds that *step* took."""
        cpu, begin = cpu_us(server), time.perf_counter()
        step()
        return cpu_us(server) - cpu, time.perf_counter() - begin

    jobs = make_jobs(count, size, ordering)
    groups = [jobs[start : start + group] for start in range(0, count, group)]
    storing, taking = (open_queue(url, partitions, ordering) for _ in range(2))
    held: list[list[str]] = []

    def commit() -> None:
        for some in groups:
            assert storing.commit(some).accepted == len(some)
            if wait:
                server.execute_command("WAIT", 1, 1000)

    def claim() -> None:
        left = count
        while left > 0:
            claimed = taking.claim(_TOKEN, ClaimTerms(limit=group, visibility_timeout=_LEASE))
            held.append([job.id for job in claimed.jobs])
            left -= len(claimed.jobs) or left
            if ordering == "per_user":  # else nothing else of the lane would be handed out
                taking.ack(held[-1])

    def ack() -> None:
        for ids in held if ordering != "per_user" else ():
            taking.ack(ids)

    before = server.info("memory")["used_memory"]
    received = server.info("stats")["total_net_input_bytes"]
    commit_us, seconds = spent(commit)
    received = server.info("stats")["total_net_input_bytes"] - received
    memory = server.info("memory")["used_memory"] - before
    claim_us, _ = spent(claim)
    ack_us, _ = spent(ack)
    done = sum(map(len, held))
    if done < count:
        sys.exit(f"only {done} of {count} jobs were claimed")
    payload = sum(len(job.payload) for job in jobs) / count
    found = {
        "commit_us": commit_us / count,
        "claim_us": claim_us / count,
        "ack_us": ack_us / count,
        "payload_bytes": payload,
        "event_bytes": sum(map(len, make_events(0, 500))) / 500,
        "memory_job_bytes": memory / count,
        "wire_job_bytes": received / count - payload,
        "commit_seconds": seconds / len(groups),
    }
    for backend in (storing, taking):
        backend.close()
    print(json.dumps(found))


def cpu_us(server: redis.Redis) -> float:
    """Return the processor time of the main thread of *server*, in microseconds."""
    told = server.info("cpu")
    return (told["used_cpu_user_main_thread"] + told["used_cpu_sys_main_thread"]) * 1e6


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:6]), *sys.argv[6:])
