"""What an event was marked with travels with its job, as long as that is open, and is bounded."""

from __future__ import annotations

import pytest

from eventspool._exceptions import DeliveryError
from eventspool._settling import watched as watched_module
from eventspool._settling.ledger import Ledger


@pytest.fixture
def ledger():
    return Ledger(lambda calls: [call() for call in calls])


def test_a_job_remembers_each_origin_of_its_events_once_and_in_order(ledger):
    one, other = object(), object()
    ledger.open_job("a", 0, [ledger.mark(b"{}", origin) for origin in (one, one, other, None, one)])

    assert ledger.origins("a") == (one, other)


def test_a_marked_event_is_its_bytes_and_may_have_a_callback_too(ledger):
    calls = []
    event = ledger.mark(ledger.watch(b"{}", lambda *args: calls.append(args), "m0"), "origin")
    ledger.open_job("a", 0, [event])
    assert (event, ledger.origins("a")) == (b"{}", ("origin",))
    ledger.settle("a")

    assert calls == [(None, "m0")]


def test_an_event_without_an_origin_stays_as_it_is(ledger):
    event = b"{}"

    assert ledger.mark(event, None) is event


def test_a_marked_event_without_a_callback_is_nobody_waiting(ledger):
    ledger.open_job("a", 0, [ledger.mark(b"{}", "origin")])

    assert not ledger.has_waiters


@pytest.mark.parametrize(
    "error", [None, DeliveryError("no", "rejected"), DeliveryError("closed", "lost")], ids=str
)
def test_origins_are_forgotten_with_the_end_of_the_job(ledger, error):
    ledger.open_job("a", 0, [ledger.mark(b"{}", "origin")])
    ledger.settle("a", error)

    assert ledger.origins("a") == ()


def test_there_is_an_end_to_the_origins_that_open_jobs_remember(ledger, monkeypatch):
    """In a long outage there would be one for every request."""
    monkeypatch.setattr(watched_module, "MAX_ORIGINS", 3)
    for number, job_id in enumerate("abc"):
        ledger.open_job(job_id, 2 * number, [ledger.mark(b"{}", (job_id, i)) for i in range(2)])
    assert [len(ledger.origins(job_id)) for job_id in "abc"] == [2, 0, 0]

    ledger.settle("b")
    ledger.settle("a")
    ledger.open_job("d", 6, [ledger.mark(b"{}", ("d", i)) for i in range(2)])
    assert len(ledger.origins("d")) == 2


def test_why_events_failed_or_were_lost_is_counted(ledger):
    for number, job_id in enumerate("abcd"):
        ledger.open_job(job_id, 2 * number, [b"{}", b"{}"])
    ledger.settle("a", DeliveryError("no", "rejected"), (1,))
    ledger.settle("b", DeliveryError("no", "too_large"))
    ledger.settle("c", DeliveryError("the queue was emptied", "lost"))
    ledger.lose(stored_too=False, error=DeliveryError("closed", "lost"))

    counts = ledger.counts()
    assert (counts.failed, counts.failed_reasons) == (3, {"rejected": 1, "too_large": 2})
    assert (counts.lost, counts.lost_reasons) == (4, {"emptied": 2, "unstored": 2})
