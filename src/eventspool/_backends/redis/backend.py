"""
The queue in Redis or Valkey, from 6.2 on; shared by any number of processes and machines.

All keys of a queue carry one hash tag, so that they live in one cluster slot: ``<prefix>:{<queue_name>:0}:<key>``. The
second column is the name that the Lua scripts give to the key::

    d  PAYLOADS       HASH    id -> payload (an envelope)
    n  SIZES          HASH    id -> "events:bytes"
    q  ORDER          ZSET    id -> microseconds: when it is due, or when its lease ends. It has every unfinished job at all
                              times. FIFO, and per user: its place in the order, and nothing else
    t  LEASES         HASH    id -> "until:token" of leased jobs, "until:token~" where their holder does not mean to send
                              them. FIFO, and per user: "until:" of jobs that wait for their retry
    o  TRIES          HASH    id -> "attempts:progress" of jobs that have failed once or saved progress
    f  FAILED         ZSET    id -> failed at, microseconds
    i  CAUSES         HASH    id -> why it failed, as JSON
    m  META           HASH    totals; the last place given out ("last"); the time last noted and how far it is ahead of the
                              server's clock ("clock"); whether the queue is paused; whether its producers keep it in FIFO
                              order ("fifo", 1 or 0); the processor that has the FIFO queue ("holder", as "until:token");
                              whether the order per user is kept ("per_user", "lanes", "index_from", "halted"); how the
                              queue is divided into partitions ("ring"), and whether this one takes no new jobs ("sealed");
                              what its processors know of the data plane together ("hold", "doubt", "answered", "paid": see
                              lua/fleet.lua); and the "epoch": when its first job was committed. An operator who empties the
                              server deletes it, too, by which producers know that their jobs are lost
    w  WAKE           LIST    at most one wake token, for processors
    s  STANDBY_WAKE   LIST    the same for FIFO stand-bys
    l  LEGACY_HOLDER  STRING  "holder" of META again, with the lease as expiry, for processes of older versions. No other key
                              expires, so this is the only one that a server may evict (volatile-…)
    p  PROCESSORS     HASH    token -> last seen, microseconds
    h  NOTES          HASH    token -> how that processor fares, as JSON
    x  GONE           ZSET    id -> purged or moved at, microseconds: the last such jobs, for producers that look them up
    y  FATES          HASH    id -> "moved", or the positions of the events that were erased, where the job was not purged
                              as a whole
    k  LANES          ZSET    while the order per user is kept: the lane, the place and the id of each unfinished job, once for
                              each lane that it touches, all with the score 0 (``lua/lanes.lua``)
    j  JOURNALS       HASH    bounded journals, such as the trail of what operators did (``lua/journals.lua``)
    c  COMMITS        HASH    producer -> the number of its last commit (see ``history``), for the last 4,000 producers. META
                              has the highest number that was forgotten ("forgotten")

A commit is one transaction: the payloads go in by ``HSETNX``, which resending cannot overwrite, and a script indexes them.
Where they are small (durable calls) the script does both: that is one command and one reply in the place of four. Every other
step is one script, so after a crash at any instant it has happened or it has not. Large payloads stay out of Lua (half the
cost). Claiming moves a job's time on, so the jobs of a processor that has died come due by themselves.

Times are the server's, and go on where its clock is set back. For processes of older versions they do not go on: what such a
process leases or puts off is handed out early, until none is left; their own order and fencing hold.

A Redis that is full (``noeviction``) still drains: each script but the commit begins with a write that frees, not takes.

ACL: ``~<prefix>:*`` and ``+ping +select +info +eval +evalsha +script|load +multi +exec +time +hset +hsetnx +hget +hmget
+hgetall +hvals +hdel +hlen +hstrlen +hexists +hscan +zadd +zrem +zcard +zscore +zrank +zcount +zrange +zrangebyscore +llen
+rpush +blpop +get +set +del +pttl +wait +cluster|slots``, the last one for a cluster alone. ``CONFIG GET`` is tried at the
start, for warnings and limits; it need not be allowed. A user of the sentinels must be allowed ``sentinel|master`` there.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.partitioned.ring import count_partitions
from eventspool._backends.recent import RecentPayloads
from eventspool._backends.redis.codec import (
    MAX_IDS,
    SMALL_COMMIT_BYTES,
    STANDBY,
    cut,
    cut_commit,
    decode_claim,
    decode_claimed,
    decode_hold,
    decode_text,
    encode_chain,
    encode_job,
    encode_settlement,
    encode_terms,
    encode_trouble,
    micros,
    queue_lease_ms,
)
from eventspool._backends.redis.commands import select_missing
from eventspool._backends.redis.divided import DividedQueue
from eventspool._backends.redis.errors import TOO_BIG, error_code
from eventspool._backends.redis.history import History
from eventspool._backends.redis.packer import Packed
from eventspool._backends.redis.probe import find_refused
from eventspool._backends.redis.risks import name_risks
from eventspool._backends.redis.scripts import load_scripts
from eventspool._backends.redis.settings import ask_info, ask_longest, ask_settings
from eventspool._backends.rules import ORDER_RULES, PAUSE_POLL
from eventspool._claim import PAUSED, Claim
from eventspool._config import Ordering
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._job import MOVED, PURGED, CommitResult
from eventspool._routing import Routing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends.redis.replication import Replication
    from eventspool._backends.redis.topology import ClientSource
    from eventspool._claim import ClaimTerms
    from eventspool._config import RedisOpts
    from eventspool._fleet import Hold, Trouble
    from eventspool._job import NewJob, Settlement

__all__ = ["RedisBackend"]

_log = Log("eventspool.queue")

_WHILE_PAUSED: Final = -2
_BY_LANES: Final = -3
_UNINDEXED: Final = -4
"""What the claiming scripts reply in the place of a time (``lua/claiming.lua``)."""
_HELD_UP: Final = 2
_SEALED_TOO: Final = 4
"""
What they reply next to that, added up: another processor has the queue; jobs are held up by others of their lanes; the
partition is sealed.
"""
_CLAIMS: Final = {Ordering.NONE: "claim", Ordering.FIFO: "claim_fifo", Ordering.PER_USER: "claim_lanes"}
_TRIES: Final = 4
"""How often a claim is tried where it finds the index of lanes in need of repair, or another way to claim."""
_REWOUND: Final = -1
_SEALED: Final = -2
"""What the committing scripts reply in the place of a number: the server has lost commits, or the partition is sealed."""
_REJECTED_FROM: Final = 4
"""From there on the reply to a commit names what was rejected."""
_RECENT_BYTES: Final = 4 << 20
"""Most payload remembered after a commit."""


class RedisBackend(DividedQueue):
    """
    A queue in Redis (see the module and the ``Backend`` Protocol).

    Args:
        opts: Where Redis is.
        queue_name: Name of the queue.
        prefix: Put before every key.
        ordering: What the queue keeps. ``None`` for a caller who only looks and steers: what its producers have it keep.
        max_jobs: Most jobs stored, failed ones included.
        max_bytes: Most payload bytes stored.
        source: Where clients come from, where several queues share that. Whoever gives it closes it.
        replication: How a commit waits for replicas; ``None`` where it does not.
        tag: The hash tag of its keys, where the queue is one partition of another one.
        partitions: Over how many partitions it is to be spread, whose bounds these are together.
    """

    durable = True
    shared = True

    def __init__(
        self,
        opts: RedisOpts,
        *,
        queue_name: str,
        prefix: str,
        ordering: Ordering | None,
        max_jobs: int,
        max_bytes: int,
        source: ClientSource | None = None,
        replication: Replication | None = None,
        tag: str | None = None,
        partitions: int = 1,
    ) -> None:
        super().__init__(
            opts, queue_name=queue_name, prefix=prefix, ordering=ordering, source=source, tag=tag
        )
        self._bounds = (max_jobs, max_bytes)
        self._partitions = partitions
        self._replication = replication
        self._terms: tuple[tuple[str, str], Packed] = (("", ""), Packed())
        self._recent = RecentPayloads(_RECENT_BYTES)
        self.is_sealed = False
        """The last claim found that the partition takes no new jobs, because the queue is divided anew."""
        self._standby = False
        self._examined = False
        self._longest: float | None = float("inf")  # None: the server is to be asked

    # Life

    def open(self) -> None:
        """
        Connect and load the scripts. A process that stores is warned, once, where the server is set up to lose data.

        Raises:
            QueueError: The server refuses a process that stores and delivers a command for which there is no way round.
        """
        risks = self._connection.call(self._examine)
        self._examined = True
        for risk in risks:
            _log.warning("The Redis server of %s %s", self._name, risk)

    def _examine(self, client: Any) -> list[str]:
        """Load the scripts. The first time, find out for a process that stores what the server takes and puts at risk."""
        load_scripts(client)
        # A node of a cluster says to a command on one of the queue's keys where these are; other commands it takes anyway.
        ring, epoch = client.execute_command("HMGET", self._prefix + "m", "ring", "epoch")
        if self._examined or self._ordering is None:
            return []
        refused = select_missing(
            find_refused(client, self._payloads), replicated=self._replication is not None
        )
        if refused:
            raise self._connection.refuse(refused)
        self._longest = ask_longest(client)
        spread = count_partitions(decode_text(ring or b""), self._partitions, is_used=epoch is not None)
        most = self._bounds[1] // spread
        return name_risks(ask_info(client), ask_settings(client, "save", "appendfsync"), most)

    def close(self) -> None:
        """Release connections. Safe to call twice."""
        self._connection.close()

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent owns, without closing it."""
        self._recent = RecentPayloads(_RECENT_BYTES)
        self._history, self._numbering = History(), threading.Lock()
        self._connection.abandon()

    # Producing

    def find_routing(self) -> Routing | None:
        """Return that all of it is one partition, where the order per user is kept."""
        return Routing(0, 1) if self._ordering is Ordering.PER_USER else None

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """
        Store *jobs* in order, in transactions of at most ``MAX_COMMIT_BYTES``.

        Raises:
            QueueUnavailable: The server cannot be reached; or too few replicas have confirmed the commit. It is stored then,
                and the same commit again asks the replicas again, and stores nothing a second time: some of its jobs may have
                been delivered meanwhile.
        """
        with self._numbering:
            if not self._history.unconfirmed:
                return self._store(jobs)
            known, epoch = self._confirm(jobs)
            result = self._store([job for job in jobs if job.id not in known])
        return replace(result, duplicates=result.duplicates + len(known), epoch=result.epoch or epoch)

    def _confirm(self, jobs: Sequence[NewJob]) -> tuple[set[str], str]:
        """Have replicas confirm those of *jobs* that are stored, but were not acknowledged. Return these, and the epoch."""
        known = self._history.unconfirmed.intersection([job.id for job in jobs])
        if not known:
            return known, ""
        # A commit of nothing: it writes its number, behind what is to be confirmed.
        reply = self._connection.call(self._run_commit, "commit", self._find_ordering(), (), ())
        known &= self._history.unconfirmed  # the server may have lost some: they are stored anew
        self._history.confirm(known)
        return known, decode_text(reply[2])

    def _store(self, jobs: Sequence[NewJob]) -> CommitResult:
        ordering = self._find_ordering()
        if self._is_small(jobs) and (result := self._commit_small(jobs, ordering)) is not None:
            return result
        accepted = duplicates = 0
        rejected: list[str] = []
        impossible: list[str] = []
        stale: list[str] = []
        epoch = ""
        chunks = deque(cut_commit(jobs, self._find_longest()))
        while chunks:
            chunk = chunks.popleft()
            if rejected and ORDER_RULES[ordering].rejects_followers and not self._is_too_long(chunk):
                # Nothing may overtake a rejected job: those that are not stored already are rejected, too.
                stored = self._find_stored(chunk)
                duplicates += sum(job.id in stored for job in chunk)
                rejected += [job.id for job in chunk if job.id not in stored]
                continue
            reply = self._commit_chunk(chunk, ordering)
            if reply:
                accepted += max(reply[0], 0)
                duplicates += reply[1]
                epoch = epoch or decode_text(reply[2])
                (stale if reply[0] == _SEALED else rejected).extend(map(decode_text, reply[_REJECTED_FROM:]))
                if reply[0] == len(chunk) and chunk[0].failure is None:
                    self._recent.keep(chunk)
            elif len(chunk) > 1:
                chunks.extendleft([job] for job in reversed(chunk))
            elif self.lookup([chunk[0].id]).get(chunk[0].id, PURGED) is not PURGED:
                duplicates += 1  # It was stored when the server or the queue took longer ones.
            else:
                impossible.append(chunk[0].id)
        return CommitResult(
            accepted, duplicates, tuple(rejected), tuple(impossible), epoch, stale=tuple(stale)
        )

    def _is_small(self, jobs: Sequence[NewJob]) -> bool:
        size = sum([len(job.payload) for job in jobs])
        if size > min(SMALL_COMMIT_BYTES, self._find_longest()) or not 0 < len(jobs) <= MAX_IDS:
            return False
        return all(job.failure is None for job in jobs)

    def _commit_small(self, jobs: Sequence[NewJob], ordering: Ordering) -> CommitResult | None:
        """Store a few small jobs by one command, for callers wait. Return ``None`` where the server finds that too long."""
        told = list(chain.from_iterable([encode_job(job, job.payload) for job in jobs]))
        reply = self._connection.call(self._run_commit, "commit", ordering, jobs, told)
        if not reply:
            return None
        accepted, duplicates, epoch, _, *rejected = reply
        if accepted == len(jobs):
            self._recent.keep(jobs)
        refused, since = tuple(map(decode_text, rejected)), decode_text(epoch)
        if accepted == _SEALED:
            return CommitResult(0, duplicates, epoch=since, stale=refused)
        return CommitResult(accepted, duplicates, refused, (), since)

    def _find_stored(self, jobs: Sequence[NewJob]) -> set[str]:
        """Return the ids of those of *jobs* that the queue holds, unfinished or failed."""
        gone = (PURGED.reason, MOVED.reason)
        found = self.lookup([job.id for job in jobs]).items()
        return {job_id for job_id, failure in found if failure is None or failure.reason not in gone}

    def _commit_chunk(self, jobs: list[NewJob], ordering: Ordering) -> Any:
        """Return the script's reply; an empty one where a job is longer than the server takes, or than the queue may be."""
        try:
            return self._connection.call(self._transact, jobs, ordering)
        except QueueError:
            # A server closes the connection over a command that is too long. Ask before the next commit what it takes.
            self._longest = None
            raise

    def _transact(self, client: Any, jobs: list[NewJob], ordering: Ordering) -> Any:
        """Store *jobs*, which are all failed or all unfinished, in one transaction; reply as ``_commit_chunk``."""
        if self._longest is None or self._longest < max(len(job.payload) for job in jobs) <= self._bounds[1]:
            self._longest = ask_longest(client)  # An operator may have raised it meanwhile.
        if self._is_too_long(jobs):
            return []
        name = "commit" if jobs[0].failure is None else "commit_failed"
        told = list(chain.from_iterable(map(encode_job, jobs)))
        # Where the server does not know the script, it stores the payloads without an index. Sending all of it again completes
        # that. Should this process die in between, ``repair`` does.
        payloads = [("HSETNX", self._payloads, job.id, job.payload) for job in jobs]
        return self._run_commit(client, name, ordering, jobs, told, payloads)

    def _run_commit(
        self,
        client: Any,
        name: str,
        ordering: Ordering,
        jobs: Sequence[NewJob],
        told: Sequence[Any],
        before: Sequence[Sequence[Any]] = (),
    ) -> Any:
        """Have the script *name* store *jobs*, of which it is *told*. Return its reply; an empty one: that is too long."""
        history, replication = self._history, self._replication
        behind = () if replication is None else replication.command(client)
        terms = self._find_terms(ordering)
        while True:
            try:
                reply = self._connection.run_on(client, name, (terms, history.told, *told), before, behind)
            except Exception as error:
                if error_code(error) != TOO_BIG:
                    raise
                return []
            answer = None
            if replication is not None:
                reply, answer = reply
            if reply[0] != _REWOUND:
                break
            self._note_rewound(int(reply[1]))  # nothing was stored
        ids = [job.id for job in jobs]
        if len(reply) > _REJECTED_FROM:
            refused = set(map(decode_text, reply[_REJECTED_FROM:]))
            ids = [job_id for job_id in ids if job_id not in refused]
        history.note(reply[3], ids)
        if replication is not None:
            history.unconfirmed.update(ids)
            replication.require(answer, client)
            history.confirm(ids)
        return reply

    def _find_terms(self, ordering: Ordering) -> Packed:
        """Return what is the same in each commit, written once: each word costs a durable call a part of a microsecond."""
        known, terms = self._terms
        if known != (ordering, self._history.token):
            terms = Packed(ordering, *self._bounds, self._history.token)
            self._terms = (ordering, self._history.token), terms
        return terms

    def _is_too_long(self, jobs: Sequence[NewJob]) -> bool:
        return max(len(job.payload) for job in jobs) > self._find_longest()

    def _find_longest(self) -> float:
        """Return the most bytes that one job may have, as far as that is known."""
        return min(self._bounds[1], self._longest or float("inf"))

    # Consuming

    def claim(self, token: str, terms: ClaimTerms) -> Claim:
        """Lease due jobs, at most ``MAX_IDS``; then fetch their payloads."""
        wait, role, *found = self._run_claim(token, terms)
        self.is_sealed, is_standby, held_up = (
            role & _SEALED_TOO != 0,
            role & STANDBY != 0,
            role & _HELD_UP != 0,
        )
        self._note_role(standby=is_standby)
        if wait == _WHILE_PAUSED:
            return Claim(wait=PAUSE_POLL, obstacle=PAUSED)
        seconds = None if wait < 0 else wait / 1e6
        if len(found) < 2:
            return replace(decode_claim(role, seconds, (), found), held_up=held_up)
        ids = [decode_text(job_id) for job_id in found[::5]]
        sizes = found[4::5]
        payloads = self._fetch(ids, sizes, self._recent.take(zip(ids, sizes, strict=True)))
        return replace(decode_claim(role, seconds, decode_claimed(ids, payloads, found), ()), held_up=held_up)

    def _run_claim(self, token: str, terms: ClaimTerms) -> Any:
        """Return the reply of the script that claims by the queue's ordering."""
        ordering = self._find_ordering()
        name = _CLAIMS[ordering]
        for _ in range(_TRIES):
            told = encode_terms(token, terms, is_standby=self._standby)
            more = (*encode_chain(terms), ordering) if name == "claim_lanes" else ()
            reply = self._connection.run(name, *told, *more)
            if reply[0] == _BY_LANES:  # another process has the queue keep the order per user
                name = "claim_lanes"
            elif reply[0] == _UNINDEXED:
                while self._connection.run("index_lanes"):
                    pass
            else:
                return reply
        return [0, 0]

    def _note_role(self, *, standby: bool) -> None:
        """Holder and stand-by wait for different tokens. A wait under way must not go on for the wrong one."""
        if standby != self._standby:
            self._standby = standby
            self._connection.interrupt()

    def hold(self, token: str, trouble: Trouble | None, *, is_probe: bool) -> Hold | None:
        """Tell all processors of *trouble* with the data plane, or that it works."""
        failures, *more = encode_trouble(trouble)
        return decode_hold(self._connection.run("hold", token, int(is_probe), failures, *more))

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whichever processor holds them."""
        return self._run_in_chunks("ack", ids)

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise, each where *token* still holds it."""
        done: list[bool] = []
        for chunk in cut(settlements):
            endings = chain.from_iterable(map(encode_settlement, chunk))
            replies = self._connection.run("settle", self._find_ordering(), token, *endings)
            done += [reply == 1 for reply in replies]
        return done

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases (FIFO: of the queue too), and count *token* among the live processors."""
        lost: set[str] = set()
        terms = (token, micros(visibility_timeout), queue_lease_ms(visibility_timeout), note)
        for chunk in cut(ids) if ids else [ids]:
            lost.update(
                map(decode_text, self._connection.run("renew", self._find_ordering(), *terms, *chunk))
            )
        return lost

    def leave(self, token: str) -> None:
        """Give back every lease of *token*, and the queue where it is FIFO."""
        self._connection.run("leave", self._find_ordering(), token)

    def wait(self, timeout: float) -> bool:
        """Block in Redis until something was queued, or *timeout*. A FIFO stand-by waits for the queue to be given back."""
        return self._connection.wait(self._prefix + ("s" if self._standby else "w"), timeout)

    def interrupt(self) -> None:
        """End a ``wait`` that is under way in this process, from another thread."""
        self._connection.interrupt()
