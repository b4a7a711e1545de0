# ruff: noqa: S608 - the only text put into a statement is written in this module
"""
How jobs are handed out, and how they come back. Each function works inside the caller's transaction.

A lease is a time in ``until`` and its holder's token; a job that is only put off has the time alone. Where jobs keep their
places, ``due`` stays as it is. Otherwise it follows ``until``, so that the next jobs are found by one index. Two processes
of different orderings may use one queue, so each heeds ``until`` as well.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eventspool._backends.fleet import Admission
from eventspool._backends.rules import PAUSE_POLL, PROBE_DEPTH, QUEUE_LEASE, count_within
from eventspool._backends.sqlite import fleet, rows
from eventspool._backends.sqlite.queues import hold, keep_time, note_processor
from eventspool._backends.sqlite.values import as_count, as_id, as_text, micros
from eventspool._claim import HELD, LIMITED, PAUSED, Claim, ClaimedJob
from eventspool._job import Failure, SettlementKind, created_at_from_id, new_job_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from eventspool._backends.rules import OrderRules
    from eventspool._backends.sqlite.queues import Queue
    from eventspool._claim import ClaimTerms
    from eventspool._job import Settlement

__all__ = ["Leases"]


class Leases:
    """
    Leases jobs, and ends leases.

    Args:
        rules: What the queue's ordering asks for.
    """

    def __init__(self, rules: OrderRules) -> None:
        self._one_holder = rules.one_holder
        self._keeps_places = rules.keeps_places
        # What a lease, and what its end, do to the job's place. A processor of another ordering may have moved it.
        self._when_leased = "" if rules.keeps_places else ", due = :until"
        self._when_back = ", due = min(due, :now)" if rules.keeps_places else ", due = :until"
        # A processor that keeps places leases and delays a job without changing `due`.
        self._due = (
            "" if rules.keeps_places else "and due <= :now and (typeof(until) != 'integer' or until <= :now)"
        )

    def claim(self, db: sqlite3.Connection, queue: Queue, token: str, terms: ClaimTerms) -> Claim:
        """Lease due jobs to *token*."""
        note_processor(db, queue, token)
        if queue.paused:
            return Claim(wait=PAUSE_POLL, obstacle=PAUSED)
        holding = fleet.read_holding(db, queue) if terms.sending else None
        admission, admitted = Admission(), None
        if holding is not None:
            admission, admitted = holding.admit(token, queue.now)
            if admission.wait:
                return Claim((), admission.wait / 1e6, holding.why, is_held_back=True)
            terms = replace(terms, limit=1, probe=True)
        held_until = (
            self._take_queue(db, queue, token, terms.visibility_timeout) if self._one_holder else None
        )
        if held_until is not None:
            return Claim(wait=max(held_until - queue.now, 0) / 1e6, obstacle=HELD)
        claim = self._claim(db, queue, token, terms)
        if admitted is None:
            return claim
        fleet.write_holding(db, queue, admitted)
        return replace(claim, is_probe=True, is_free=admission.is_free)

    def _claim(self, db: sqlite3.Connection, queue: Queue, token: str, terms: ClaimTerms) -> Claim:
        """Lease jobs, where nothing is in the way but the rate."""
        found = db.execute(
            f"select seq, id, attempts, token, stalled, progress, until, bytes, events from jobs where queue = :key"
            f" {self._due}"
            " order by due, seq limit :limit",
            {"key": queue.key, "now": queue.now, "limit": PROBE_DEPTH if terms.probe else terms.limit},
        ).fetchall()
        if terms.probe:
            found = heapq.nsmallest(terms.limit, found, key=self._probe_rank)
        elif self._keeps_places:  # nothing passes a job that waits for its retry
            ends = (row[6] if isinstance(row[6], int) else 0 for row in found)
            held = next((place for place, end in enumerate(ends) if end > queue.now), None)
            if held == 0:
                return Claim(wait=(found[0][6] - queue.now) / 1e6)
            found = found[:held]
        leased: tuple[ClaimedJob, ...] = ()
        within = count_within((as_count(row[7]) for row in found), terms.max_bytes)
        rate = terms.events_per_second if terms.sending else None
        if rate is not None and found:
            budget = fleet.read_budget(db, queue, rate)
            events = [as_count(row[8]) for row in found[:within]]
            within, budget, later = budget.take(events, queue.now)
            if within:
                fleet.write_budget(db, queue, budget)
            if later:
                until = queue.now + micros(terms.visibility_timeout)
                leased = tuple(self._lease(db, row, token, until, terms.sending) for row in found[:within])
                return Claim(leased, later / 1e6, "" if leased else LIMITED)
        if found:
            until = queue.now + micros(terms.visibility_timeout)
            keep_time(db, queue)
            leased = tuple(self._lease(db, row, token, until, terms.sending) for row in found[:within])
            if len(leased) == terms.limit:
                return Claim(leased)
            if within < len(found):
                return Claim(leased, 0.0)
        [first] = db.execute(
            "select min(next) from (select min(due) as next from jobs where queue = :key and due > :now"
            " union all select min(until) from jobs where queue = :key and until > :now)",
            {"key": queue.key, "now": queue.now},
        ).fetchone()
        return Claim(leased, (first - queue.now) / 1e6 if isinstance(first, int) else None)

    def _probe_rank(self, row: tuple[Any, ...]) -> tuple[int, int]:
        """Fewest attempts first. Where jobs keep their places: of those that had any, the one that was put off longest ago."""
        attempts, holder, stalled, _, until = row[2:7]
        takes_turns = self._keeps_places and as_count(attempts) and not holder
        put_off = until if takes_turns and isinstance(until, int) else 0
        return as_count(attempts) + rows.has_stalled(holder, stalled), put_off

    @staticmethod
    def _take_queue(
        db: sqlite3.Connection, queue: Queue, token: str, visibility_timeout: float
    ) -> int | None:
        """Lease the queue to *token*. Return the time until which nothing may be handed out, or None."""
        if queue.holder not in ("", token) and queue.held_until > queue.now:
            return queue.held_until
        if queue.holder != token:
            db.execute(
                f"update jobs set {rows.END_STALLED}, due = min(due, :now)"
                " where queue = :key and until is not null and token != ''",
                {"key": queue.key, "now": queue.now},
            )
        hold(db, queue, token, min(visibility_timeout, QUEUE_LEASE))
        # What comes next must not overtake the jobs that this token has leased already.
        [end] = db.execute(
            "select min(until) from jobs where queue = ? and until > ? and token != ''",
            (queue.key, queue.now),
        ).fetchone()
        return end if isinstance(end, int) else None

    def _lease(
        self,
        db: sqlite3.Connection,
        row: tuple[Any, ...],
        token: str,
        until: int,
        sending: bool,  # noqa: FBT001
    ) -> ClaimedJob:
        seq, job_id, attempts, holder, stalled, progress, *_ = row
        if not isinstance(
            job_id, str
        ):  # another program wrote it: such a job cannot be named, and so not be settled
            job_id = new_job_id()
            db.execute("update jobs set id = ? where seq = ?", (job_id, seq))
        ran_out = rows.has_stalled(holder, stalled)
        attempts = as_count(attempts) + ran_out
        db.execute(
            f"update jobs set token = :token, until = :until, attempts = :attempts, stalled = :mark"
            f" {self._when_leased} where seq = :seq",
            {
                "token": token,
                "until": until,
                "attempts": attempts,
                "mark": 0 if sending else rows.NOT_SENT,
                "seq": seq,
            },
        )
        return ClaimedJob(
            job_id,
            rows.payload_of(db, seq),
            attempts,
            str(progress),
            created_at_from_id(job_id),
            ran_out or (bool(stalled) and stalled != rows.NOT_SENT),
        )

    def settle(self, db: sqlite3.Connection, queue: Queue, token: str, settlement: Settlement) -> bool:
        """End a lease. False, and no change, where *token* does not hold the job."""
        row = db.execute(
            "select seq, attempts, events from jobs where queue = ? and id = ? and token = ?",
            (queue.key, as_id(settlement.job_id), token),
        ).fetchone()
        if row is None:
            return False
        seq, attempts, events = row
        attempts = as_count(attempts) + (settlement.kind is not SettlementKind.RELEASE)
        if settlement.kind is SettlementKind.FAIL:
            failure = settlement.failure or Failure("unknown", "", as_count(events))
            rows.bury(db, queue, seq, attempts, failure)
            return True
        until = queue.now + micros(settlement.delay)
        db.execute(
            f"update jobs set token = '', until = :put_off, stalled = 0, attempts = :attempts, progress = :progress"
            f" {self._when_back} where seq = :seq",
            {
                "now": queue.now,
                "until": until,
                "put_off": until if settlement.delay > 0 else None,
                "attempts": attempts,
                "progress": as_text(settlement.progress),
                "seq": seq,
            },
        )
        return True

    def renew(
        self, db: sqlite3.Connection, queue: Queue, token: str, ids: Sequence[str], visibility_timeout: float
    ) -> set[str]:
        """Extend leases. Return the ids whose lease was lost."""
        if self._one_holder and queue.holder == token:
            hold(db, queue, token, min(visibility_timeout, QUEUE_LEASE))
        until = queue.now + micros(visibility_timeout)
        renewal = (
            f"update jobs set until = :until {self._when_leased}"
            " where queue = :key and id = :id and token = :token"
        )
        return {
            i
            for i in ids
            if not db.execute(
                renewal, {"until": until, "key": queue.key, "id": as_id(i), "token": token}
            ).rowcount
        }

    @staticmethod
    def leave(db: sqlite3.Connection, queue: Queue, token: str) -> None:
        """Give back every lease of *token*, and strike it off the live processors."""
        parameters = {"now": queue.now, "key": queue.key, "token": token}
        db.execute(
            "update jobs set token = '', until = null, due = min(due, :now)"
            " where queue = :key and until is not null and token = :token",
            parameters,
        )
        db.execute("update queues set holder = '' where queue = :key and holder = :token", parameters)
        fleet.forget(db, queue, token)
        db.execute("delete from processors where queue = :key and token = :token", parameters)
        db.execute("delete from notes where queue = :key and token = :token", parameters)
