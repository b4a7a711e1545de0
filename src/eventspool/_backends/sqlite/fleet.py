"""
What the processors of a queue know together, as it stands in the file (see ``_backends.fleet``).

Each function works inside the caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.fleet import Budget, Doubt, FleetState, Holding
from eventspool._backends.sqlite.queues import keep_time
from eventspool._backends.sqlite.values import as_text

if TYPE_CHECKING:
    import sqlite3

    from eventspool._backends.sqlite.queues import Queue
    from eventspool._fleet import Hold, Trouble

__all__ = ["forget", "hear", "read_budget", "read_holding", "write_budget", "write_holding"]


def read_holding(db: sqlite3.Connection, queue: Queue) -> Holding | None:
    """Return what keeps all processors away, until a time that can be believed."""
    row = db.execute("select holding from fleet where queue = ?", (queue.key,)).fetchone()
    holding = Holding.read(row[0]) if row else None
    return holding if holding is not None and holding.is_believable(queue.now) else None


def write_holding(db: sqlite3.Connection, queue: Queue, holding: Holding) -> None:
    """Note how a hold goes on."""
    keep_time(db, queue)
    db.execute("update fleet set holding = ? where queue = ?", (as_text(holding.write()), queue.key))


def hear(
    db: sqlite3.Connection, queue: Queue, token: str, trouble: Trouble | None, *, is_probe: bool
) -> tuple[Hold | None, bool]:
    """Note what *token* has heard of the data plane. Return what keeps all away then, and whether something did before."""
    row = db.execute("select holding, doubt from fleet where queue = ?", (queue.key,)).fetchone()
    before = FleetState(Holding.read(row[0]), Doubt.read(row[1])) if row else FleetState()
    if trouble is None:
        db.execute("update queues set answered = ? where queue = ?", (queue.now, queue.key))
    [answered] = db.execute("select answered from queues where queue = ?", (queue.key,)).fetchone()
    answered = answered if isinstance(answered, int) else 0
    after = before.hear(token, trouble, is_probe=is_probe, answered=answered, now=queue.now)
    holding = after.holding
    if after != before:
        keep_time(db, queue)
        stored = as_text(holding.write()) if holding else None
        db.execute(
            "insert into fleet (queue, holding, doubt) values (:key, :holding, :doubt)"
            " on conflict (queue) do update set holding = :holding, doubt = :doubt",
            {"key": queue.key, "holding": stored, "doubt": after.doubt.write()},
        )
    return None if holding is None else holding.tell(queue.now), before.holding is not None


def forget(db: sqlite3.Connection, queue: Queue, token: str) -> None:
    """Let another processor probe at once, where *token* was to."""
    holding = read_holding(db, queue)
    after = FleetState(holding).forget(token).holding
    if after is not None and after != holding:
        write_holding(db, queue, after)


def read_budget(db: sqlite3.Connection, queue: Queue, rate: float) -> Budget:
    """Return how far the *rate* is used up."""
    row = db.execute("select paid from fleet where queue = ?", (queue.key,)).fetchone()
    return Budget(rate, row[0] if row and isinstance(row[0], int) else 0)


def write_budget(db: sqlite3.Connection, queue: Queue, budget: Budget) -> None:
    """Note how far it is used up."""
    db.execute(
        "insert into fleet (queue, paid) values (:key, :paid) on conflict (queue) do update set paid = :paid",
        {"key": queue.key, "paid": budget.paid},
    )
