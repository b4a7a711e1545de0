"""
The queue in Redis or Valkey, from 6.2 on; shared by any number of processes and machines.

All keys of a queue carry one hash tag, so that they live in one cluster slot::

    <prefix>:{<queue_name>:0}:
      d  HASH    id -> payload (an envelope)
      n  HASH    id -> "events:bytes"
      q  ZSET    id -> microseconds: when it is due, or when its lease ends. Every unfinished job is here, always.
                 FIFO: its place in the order, and nothing else
      t  HASH    id -> "until:token" of leased jobs; FIFO: "until:" of jobs that wait for their retry
      o  HASH    id -> "attempts:progress" of jobs that have failed once or saved progress
      f  ZSET    id -> failed at, microseconds
      i  HASH    id -> why it failed, as JSON
      m  HASH    totals, the last place given out, the time last noted and how far it is ahead of the server's clock, whether
                 it is paused, whether its producers keep it in FIFO order, and its epoch: when its first job was committed.
                 Who empties the server takes it along
      w  LIST    at most one wake token, for processors;  s  the same for FIFO stand-bys
      l  STRING  "until:token" of the processor that has the FIFO queue, with its lease as expiry
      p  HASH    token -> last seen, microseconds;  h  token -> how that processor fares, as JSON
      x  ZSET    id -> purged at, microseconds: the last ones, for those who look for them

A commit is one transaction: the payloads go in by ``HSETNX``, which resending cannot overwrite, and a script indexes them.
Every other step is one script, so after a crash at any instant it has happened or it has not. Payloads stay out of Lua (half
the cost). Claiming moves a job's time on, so a dead holder's jobs come due by themselves.

Times are the server's, and go on where its clock is set back. Older processes then do not: what they lease or put off is
handed out early, until none is left; their own order and fencing hold.

A Redis that is full (``noeviction``) still drains: each script but the commit begins with a write that frees, not takes.

ACL: ``~<prefix>:*`` and ``+ping +select +info +eval +evalsha +script|load +multi +exec +time +hset +hsetnx +hget +hmget
+hgetall +hvals +hdel +hlen +hstrlen +hexists +hscan +zadd +zrem +zcard +zscore +zrank +zcount +zrange +zrangebyscore +llen
+rpush +blpop +get +set +del +pttl``. ``CONFIG GET`` is tried once at the start, for warnings; it need not be allowed.
"""

from __future__ import annotations

import logging
from itertools import chain, count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventspool._backends._recent import RecentPayloads
from eventspool._backends._redis_codec import decode_failure, decode_job, decode_text, encode_failure
from eventspool._backends._redis_connection import Connection
from eventspool._backends._redis_risks import ask_risks
from eventspool._backends._redis_scripts import scripts
from eventspool._envelope import MAX_PAYLOAD_BYTES, OVERSIZED, count_events
from eventspool._job import (
    LOST,
    PURGED,
    PURGED_FOR,
    PURGED_KEPT,
    Claim,
    ClaimedJob,
    CommitResult,
    Depth,
    Failure,
    JobState,
    QueueStats,
    SettlementKind,
    created_at_from_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eventspool._config import RedisOpts
    from eventspool._job import Job, NewJob, Settlement

__all__ = ["RedisBackend"]

_log = logging.getLogger("eventspool.queue")
_T = TypeVar("_T")

MAX_IDS: Final = 1000
"""Most jobs in one call of a script: Lua cannot unpack many more, and no call may hold the server up for long."""
MAX_COMMIT_BYTES: Final = 4 << 20
"""Most payload in one transaction."""
MAX_QUEUE_LEASE: Final = 10.0
"""Longest that a dead processor keeps a FIFO queue, in seconds."""
_FETCH: Final = 64
"""Payloads fetched in one reply."""
_KEYS: Final = "dnqtofimwslphx"
_RECENT_BYTES: Final = 4 << 20
"""Most payload remembered after a commit."""


class RedisBackend:
    """
    A queue in Redis (see the module and the ``Backend`` Protocol).

    Args:
        opts: Where Redis is.
        queue_name: Name of the queue.
        prefix: Put before every key.
        fifo: One processor at a time, in strict order. ``None``, to look and steer only: as its producers have it.
        max_jobs: Most jobs stored, failed ones included.
        max_bytes: Most payload bytes stored.
        client: A ready client of redis-py or valkey-py to use instead of *opts*. It stays open on ``close``.
    """

    durable = True
    shared = True

    def __init__(
        self,
        opts: RedisOpts,
        *,
        queue_name: str,
        prefix: str,
        fifo: bool | None,
        max_jobs: int,
        max_bytes: int,
        client: Any = None,
    ) -> None:
        self._name = f"queue {queue_name!r}"
        self._prefix = f"{prefix}:{{{queue_name}:0}}:"
        self._payloads = f"{self._prefix}d"
        self._order = fifo
        self._bounds = (max_jobs, max_bytes)
        self._connection = Connection(opts, client, [self._prefix + key for key in _KEYS], self._name)
        self._recent = RecentPayloads(_RECENT_BYTES)
        self._standby = False
        self._warned = False

    # Life

    def open(self) -> None:
        """Connect and load the scripts. Warn, once and who stores, where the server is set up to lose data."""

        def prepare(client: Any) -> list[str]:
            client.ping()
            pipeline = client.pipeline(transaction=False)
            for each in scripts():
                pipeline.script_load(each.source)
            pipeline.execute()
            return [] if self._warned or self._order is None else ask_risks(client)

        risks = self._connection.call(prepare)
        self._warned = True
        for risk in risks:
            _log.warning("The Redis server of %s %s", self._name, risk)

    def close(self) -> None:
        """Release connections. Safe to call twice."""
        self._connection.close()

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent owns, without closing it."""
        self._recent = RecentPayloads(_RECENT_BYTES)
        self._connection.abandon()

    @property
    def _fifo(self) -> int:
        """Whether the order is kept. Who follows asks each time: the first producer, or one of the other mode, may come."""
        if self._order is None:
            return int(
                decode_text(self._connection.execute("HGET", self._prefix + "m", "fifo") or b"") == "1"
            )
        return int(self._order)

    # Producing

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs* in order, in transactions of at most ``MAX_COMMIT_BYTES``."""
        accepted = duplicates = 0
        rejected: list[str] = []
        epoch = ""
        for chunk in _commit_chunks(jobs):
            if self._fifo and rejected:  # nothing may overtake a rejected job
                rejected += [job.id for job in chunk]
                continue
            reply = self._commit_chunk(chunk)
            accepted += reply[0]
            duplicates += reply[1]
            epoch = epoch or decode_text(reply[2])
            rejected += map(decode_text, reply[3:])
            if reply[0] == len(chunk):
                self._recent.keep(chunk)
        return CommitResult(accepted, duplicates, tuple(rejected), epoch)

    def _commit_chunk(self, jobs: list[NewJob]) -> list[Any]:
        index = [self._fifo, *self._bounds, *chain.from_iterable((job.id, job.events) for job in jobs)]

        def transact(client: Any) -> list[Any]:
            def send(command: Sequence[Any]) -> list[Any]:
                # Where the server did not know the script, the payloads are stored without an index. Sending all of it
                # again completes that, and so does `repair`, should we die in between.
                pipeline = client.pipeline(transaction=True)
                for job in jobs:
                    pipeline.execute_command("HSETNX", self._payloads, job.id, job.payload)
                pipeline.execute_command(*command)
                reply: list[Any] = pipeline.execute()[-1]
                return reply

            return self._connection.with_script("commit", index, send)

        return self._connection.call(transact)

    # Consuming

    def claim(self, token: str, *, limit: int, visibility_timeout: float, probe: bool = False) -> Claim:
        """Lease up to *limit* (at most ``MAX_IDS``) due jobs; then fetch their payloads."""
        args: list[Any] = [token, max(1, min(limit, MAX_IDS)), _micros(visibility_timeout), int(probe)]
        if self._fifo:
            wait, standby, *found = self._connection.run(
                "claim_fifo", *args, _queue_lease_ms(visibility_timeout), int(self._standby)
            )
            self._note_role(standby=bool(standby))
        else:
            wait, *found = self._connection.run("claim", *args)
        seconds = None if wait < 0 else wait / 1e6
        if not found:
            return Claim(wait=seconds)
        ids = [decode_text(job_id) for job_id in found[::5]]
        sizes = found[4::5]
        payloads = self._fetch(ids, sizes, self._recent.take(zip(ids, sizes, strict=True)))
        return Claim(
            tuple(
                ClaimedJob(
                    job_id,
                    payload,
                    int(attempts),
                    decode_text(progress),
                    created_at_from_id(job_id),
                    bool(stalled),
                )
                for job_id, payload, attempts, progress, stalled in zip(
                    ids, payloads, found[1::5], found[2::5], found[3::5], strict=True
                )
            ),
            seconds,
        )

    def _note_role(self, *, standby: bool) -> None:
        """Holder and stand-by wait for different tokens. A wait under way must not go on for the wrong one."""
        if standby != self._standby:
            self._standby = standby
            self._connection.interrupt()

    def _fetch(
        self, ids: Sequence[str], sizes: Sequence[int], known: Mapping[str, bytes] = MappingProxyType({})
    ) -> list[bytes | None]:
        """Return the payloads but for *known* ones; ``OVERSIZED`` for what is larger than any batch: it stays there."""
        found: dict[str, bytes] = {**known}
        stored = zip(ids, sizes, strict=True)
        fetched = [i for i, size in stored if size <= MAX_PAYLOAD_BYTES and i not in known]
        for chunk in _chunks(fetched, _FETCH):
            found.update(zip(chunk, self._connection.execute("HMGET", self._payloads, *chunk), strict=True))
        return [found.get(i, OVERSIZED) or None for i in ids]

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whoever holds them."""
        return sum(int(self._connection.run("ack", *chunk)) for chunk in _chunks(ids))

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise, each where *token* still holds it."""
        done: list[bool] = []
        for chunk in _chunks(settlements):
            args: list[Any] = []
            for each in chunk:
                failure = each.failure or Failure("unknown", "", 0)
                kind = each.kind.value
                info = encode_failure(failure) if each.kind is SettlementKind.FAIL else ""
                args += (
                    each.job_id,
                    kind,
                    _micros(each.delay),
                    each.progress,
                    info,
                    failure.events,
                    failure.payload or b"",
                )
            done += [reply == 1 for reply in self._connection.run("settle", self._fifo, token, *args)]
        return done

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases (FIFO: of the queue too), and count *token* among the live processors."""
        lost: set[str] = set()
        for chunk in _chunks(ids) if ids else [ids]:
            terms = (_micros(visibility_timeout), _queue_lease_ms(visibility_timeout), note)
            lost.update(map(decode_text, self._connection.run("renew", self._fifo, token, *terms, *chunk)))
        return lost

    def leave(self, token: str) -> None:
        """Give back every lease of *token*, and the queue where it is FIFO."""
        self._connection.run("leave", self._fifo, token)

    def wait(self, timeout: float) -> bool:
        """Block in Redis until something was queued, or *timeout*. A FIFO stand-by waits for the queue to be given back."""
        return self._connection.wait(self._prefix + ("s" if self._standby else "w"), timeout)

    def interrupt(self) -> None:
        """End a ``wait`` that is under way in this process, from another thread."""
        self._connection.interrupt()

    # Watching and operating

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are still stored."""
        found: dict[str, Failure | None] = {}
        for chunk in _chunks(ids):
            for job_id, reply in zip(chunk, self._connection.run("lookup", epoch, *chunk), strict=True):
                if reply == 1:
                    found[job_id] = None
                elif reply == -1:
                    found[job_id] = LOST
                elif reply == -2:
                    found[job_id] = PURGED
                elif reply != 0:
                    found[job_id] = decode_failure(reply)[0]
        return found

    def stats(self) -> QueueStats:
        """
        Count by the index, in one step.

        Jobs are exact. Events and bytes of *delayed* are exact up to 1,000 jobs and estimated from these beyond; *waiting*
        is what remains. The oldest job is sought among the next 100, the leased, and 1,000 delayed ones.
        """
        figures = [int(figure) for figure in self._connection.run("stats", self._fifo)]
        waiting, delayed, leased, failed = (Depth(*figures[at : at + 3]) for at in range(0, 12, 3))
        oldest_ms, processors, now_us, paused, *totals = figures[12:]
        oldest_age = 0.0 if oldest_ms < 0 else max(0.0, now_us / 1e6 - oldest_ms / 1e3)
        return QueueStats(waiting, delayed, leased, failed, oldest_age, processors, bool(paused), *totals)

    def processors(self) -> list[tuple[str, float, str]]:
        """List the processors seen within the last half minute, with their notes."""
        reply = self._connection.run("processors")
        return [
            (decode_text(token), int(seen) / 1e6, decode_text(note))
            for token, seen, note in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        ]

    def reasons(self) -> Mapping[str, Depth]:
        """
        Count the failed jobs by reason.

        The scripts keep these counts. Where they do not add up, since older processes do not, they are made anew, a page at
        a time: some seconds per million jobs, in which nobody is held up.
        """
        sound, *kept = self._connection.run("reasons")
        if sound:
            return _depths(kept)
        found: dict[str, Depth] = {}
        for start in count(0, MAX_IDS):
            page = self._connection.run("reasons_page", start, MAX_IDS)
            if not page:
                break
            for reason, more in _depths(page).items():
                so_far = found.get(reason, Depth())
                found[reason] = Depth(
                    so_far.jobs + more.jobs, so_far.events + more.events, so_far.bytes + more.bytes
                )
        figures = [(reason, f"{d.jobs}:{d.events}:{d.bytes}") for reason, d in found.items()] or [("", "")]
        self._connection.run("reasons", *chain.from_iterable(figures))
        return found

    def jobs(self, state: JobState, *, limit: int, after: str | None = None) -> list[Job]:
        """
        List jobs by their due (or failed) time, at most 1,000.

        Where *after* has left that state meanwhile, the list goes on at its creation time: jobs may come again, none is
        passed over.
        """
        after_created = int(created_at_from_id(after or "") * 1e6)
        limit = max(0, min(limit, MAX_IDS))
        reply = self._connection.run("jobs", self._fifo, state.value, limit, after or "", after_created)
        return [decode_job(state, *reply[at : at + 5]) for at in range(0, len(reply), 5)]

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope, or ``None``."""
        return self._fetch([job_id], [self._connection.execute("HSTRLEN", self._payloads, job_id)])[0]

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs to the end of the queue, with no attempts counted."""
        return sum(int(self._connection.run("replay", self._fifo, *chunk)) for chunk in _chunks(ids))

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*, never a leased job."""
        if state is JobState.LEASED:
            return 0
        terms = (self._fifo, state.value, PURGED_KEPT, _micros(PURGED_FOR))
        return sum(int(self._connection.run("purge", *terms, *chunk)) for chunk in _chunks(ids))

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs."""
        self._connection.run("pause", int(paused))

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""
        return sum(int(self._connection.run("expedite", self._fifo, *chunk)) for chunk in _chunks(ids))

    def rewrite(self, job_id: str, expected: bytes, payload: bytes, events: int) -> bool:
        """Put *payload* in the place of *expected*."""
        return bool(self._connection.run("rewrite", job_id, expected, payload, events))

    def repair(self) -> int:
        """Queue payloads again that no index knows, and set damaged sizes and totals right."""
        complete, sane = self._connection.run("audit")
        found = 0
        if not complete:
            for page in self._stored_events():
                found += int(self._connection.run("reindex", *chain.from_iterable(page)))
        if not sane:
            self._connection.run("recount")
        if found:
            _log.warning("Found %d jobs without an index in %s and queued them again.", found, self._name)
        return found

    def _stored_events(self) -> Iterator[Sequence[tuple[str, int]]]:
        """Scan all payloads for their ids and numbers of events."""
        cursor = 0
        while True:
            cursor, page = self._connection.execute("HSCAN", self._payloads, cursor, "COUNT", 100)
            yield from _chunks(
                [(decode_text(job_id), count_events(stored)) for job_id, stored in page.items()]
            )
            if not cursor:
                return


def _depths(reply: Sequence[Any]) -> dict[str, Depth]:
    return {decode_text(reply[at]): Depth(*reply[at + 1 : at + 4]) for at in range(0, len(reply), 4)}


def _micros(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _queue_lease_ms(visibility_timeout: float) -> int:
    return max(1, round(min(visibility_timeout, MAX_QUEUE_LEASE) * 1000))


def _chunks(items: Sequence[_T], size: int = MAX_IDS) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _commit_chunks(jobs: Sequence[NewJob]) -> Iterator[list[NewJob]]:
    chunk: list[NewJob] = []
    size = 0
    for job in jobs:
        if chunk and (len(chunk) == MAX_IDS or size + len(job.payload) > MAX_COMMIT_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(job)
        size += len(job.payload)
    if chunk:
        yield chunk
