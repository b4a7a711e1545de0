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
                              queue is divided into partitions ("ring"), and whether this one takes no new jobs ("sealed")
                              and its division is forgotten ("retired");
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

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.partitioned.ring import count_partitions
from eventspool._backends.redis.codec import (
    STANDBY,
    cut,
    decode_claim,
    decode_claimed,
    decode_hold,
    decode_text,
    encode_chain,
    encode_settlement,
    encode_terms,
    encode_trouble,
    micros,
    queue_lease_ms,
)
from eventspool._backends.redis.commands import select_missing
from eventspool._backends.redis.probe import find_refused
from eventspool._backends.redis.risks import name_risks
from eventspool._backends.redis.scripts import load_scripts
from eventspool._backends.redis.settings import ask_info, ask_longest, ask_settings
from eventspool._backends.redis.storing import StoringQueue
from eventspool._backends.rules import PAUSE_POLL
from eventspool._claim import PAUSED, Claim
from eventspool._config import Ordering
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends.redis.replication import Replication
    from eventspool._backends.redis.shared import SharedSource
    from eventspool._claim import ClaimTerms
    from eventspool._config import RedisOpts
    from eventspool._fleet import Hold, Trouble
    from eventspool._job import Settlement

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


class RedisBackend(StoringQueue):
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
        source: SharedSource | None = None,
        replication: Replication | None = None,
        tag: str | None = None,
        partitions: int = 1,
    ) -> None:
        super().__init__(
            opts,
            queue_name=queue_name,
            prefix=prefix,
            ordering=ordering,
            max_jobs=max_jobs,
            max_bytes=max_bytes,
            source=source,
            replication=replication,
            tag=tag,
        )
        self._partitions = partitions
        self.is_sealed = False
        """The last claim found that the partition takes no new jobs, because the queue is divided anew."""
        self._standby = False
        self._examined = False

    # Life

    def open(self) -> None:
        """
        Connect and load the scripts. A process that stores is warned, once, where the server is set up to lose data.

        Raises:
            QueueError: The server refuses a process that stores and delivers a command for which there is no way round.
        """
        risks = self._connection.call(self._examine)
        self._examined = True
        if self._ordering is not None:
            self._clock.look(self._connection, self._prefix)
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
        info = ask_info(client)
        settings = ask_settings(client, "save", "appendfsync", "proto-max-bulk-len")
        self._movable.take(info, settings)
        return name_risks(info, settings, most)

    def close(self) -> None:
        """Release connections. Safe to call twice."""
        self._connection.close()

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
