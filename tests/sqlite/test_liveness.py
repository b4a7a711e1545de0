"""How long a silent processor counts as live, and when the file forgets it."""

from __future__ import annotations

import sqlite3

import pytest

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import LONG


def stored(path, table):
    with sqlite3.connect(path) as db:
        tokens = {token for (token,) in db.execute(f"select token from {table}")}
    db.close()
    return tokens


def test_a_processor_counts_for_half_a_minute_after_it_was_last_seen(make, clock):
    backend = make(clock=clock)
    backend.renew("t", [], visibility_timeout=LONG, note="{}")
    seen = clock.now
    for passed, live in ((29.9, 1), (0.1, 1), (0.1, 0)):
        clock.now += passed
        assert backend.stats().processors == live
        assert backend.processors() == [("t", seen, "{}")] * live


def test_the_next_processor_has_the_dead_ones_forgotten(make, clock, path):
    """Their notes go with them, and no other processor does."""
    backend = make(clock=clock)
    for token in ("dead", "quiet"):
        backend.renew(token, [], visibility_timeout=LONG, note="{}")
        clock.now += 20.0
    backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert stored(path, "processors") == {"quiet", "t"}
    assert stored(path, "notes") == {"quiet"}


def test_queues_of_one_file_forget_only_their_own(make, clock, path):
    one, two = make(clock=clock, queue_name="one"), make(clock=clock, queue_name="two")
    one.renew("a", [], visibility_timeout=LONG, note="{}")
    clock.now += 60.0
    two.renew("b", [], visibility_timeout=LONG, note="{}")
    assert stored(path, "processors") == stored(path, "notes") == {"a", "b"}
    assert [token for token, _, _ in two.processors()] == ["b"]
    assert one.stats().processors == 0


def test_an_idle_processor_writes_at_most_once_a_second(make, clock):
    backend = make(clock=clock)
    backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    first = clock.now
    for passed, seen in ((0.9, first), (0.1, first + 1.0), (0.9, first + 1.0)):
        clock.now += passed
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        [(_, noted, _)] = backend.processors()
        assert noted == pytest.approx(seen, rel=0.0, abs=0.001)


def test_nothing_is_left_of_who_leaves(make, path):
    backend = make()
    for token in ("a", "b"):
        backend.renew(token, [], visibility_timeout=LONG, note="{}")
    backend.leave("a")
    assert stored(path, "processors") == stored(path, "notes") == {"b"}


def test_one_that_left_and_comes_back_is_seen_at_once(make, clock):
    backend = make(clock=clock)
    for _ in range(2):
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        assert backend.stats().processors == 1
        backend.leave("t")
        assert backend.stats().processors == 0
