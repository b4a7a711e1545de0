"""How long a processor that says nothing is thought alive, and when Redis forgets it."""

from __future__ import annotations

import time

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG


@pytest.fixture
def see(make, raw):
    """Note that processors were last seen so many seconds ago."""

    def note(**ago):
        now = time.time()
        seen = {token: str(round((now - seconds) * 1e6)) for token, seconds in ago.items()}
        raw.hset(make.prefix + "p", mapping=seen)
        raw.hset(make.prefix + "h", mapping=dict.fromkeys(seen, "{}"))

    return note


def known(raw, prefix):
    processors, notes = ({token.decode() for token in raw.hkeys(prefix + key)} for key in "ph")
    return processors, notes


def test_a_processor_counts_for_half_a_minute_after_it_was_last_seen(backend, see):
    see(lately=25.0, before=35.0)
    assert backend.stats().processors == 1
    assert [(token, note) for token, _, note in backend.processors()] == [("lately", "{}")]


def test_one_not_seen_for_five_minutes_is_forgotten_with_its_note(make, backend, raw, see):
    see(quiet=280.0, gone=320.0)
    raw.hset(make.prefix + "h", "stray", "{}")
    backend.renew("t", [], visibility_timeout=LONG)
    assert known(raw, make.prefix) == ({"quiet", "t"}, {"quiet"})


@pytest.mark.parametrize("ordering", Ordering)
def test_a_processor_that_finds_no_jobs_forgets_those_that_are_gone(make, raw, see, ordering):
    """In a partition without jobs no lease is renewed."""
    see(quiet=280.0, gone=320.0)
    make(ordering=ordering).claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert known(raw, make.prefix) == ({"quiet", "t"}, {"quiet"})


def test_all_processors_together_look_once_in_half_a_minute(make, backend, raw, see):
    """Each looks at all of them: with a thousand, that is a million."""
    see(gone=320.0)
    for ago, left in ((25.0, {"gone", "t"}), (35.0, {"t"})):
        raw.hset(make.prefix + "m", "swept", str(round((time.time() - ago) * 1e6)))
        backend.renew("t", [], visibility_timeout=LONG)
        assert known(raw, make.prefix)[0] == left
    see(gone=320.0)
    backend.renew("t", [], visibility_timeout=LONG)
    assert known(raw, make.prefix)[0] == {"gone", "t"}, "it has just looked"
