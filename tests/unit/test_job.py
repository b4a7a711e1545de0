"""Ids that carry their time, the words that others know the states by, and what is true where nothing was said."""

from __future__ import annotations

import time

import pytest

from eventspool._claim import ClaimedJob, new_token
from eventspool._figures import Depth, QueueStats
from eventspool._fleet import ProcessorInfo
from eventspool._job import (
    LOST,
    PURGED,
    CommitResult,
    JobState,
    Settlement,
    SettlementKind,
    created_at_from_id,
    new_job_id,
)


def test_a_job_id_carries_when_it_was_made():
    before = time.time()
    made = created_at_from_id(new_job_id())
    assert before - 0.001 <= made <= time.time()
    assert created_at_from_id("018bcfe56800" + "f" * 16) == 1_700_000_000.0


def test_ids_sort_by_their_time_and_never_meet():
    ids = [new_job_id() for _ in range(1000)]
    assert sorted(ids, key=created_at_from_id) == sorted(ids, key=lambda i: i[:12])
    assert len(set(ids)) == 1000
    assert {len(i) for i in ids} == {28}


@pytest.mark.parametrize("foreign", ["", "job-1", "018bcfe56800", "018bcfe56800" + "f" * 17, "x" * 28])
def test_a_foreign_id_carries_no_time(foreign):
    assert created_at_from_id(foreign) == 0.0


def test_tokens_are_64_random_bits():
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert {len(bytes.fromhex(token)) for token in tokens} == {8}


def test_states_and_settlements_are_known_by_the_words_that_scripts_and_commands_use():
    assert [*JobState] == ["waiting", "delayed", "leased", "failed"]
    assert [kind.value for kind in SettlementKind] == ["retry", "release", "fail"]


def test_an_empty_queue_counts_nothing():
    nothing = {"jobs": 0, "events": 0, "bytes": 0}
    assert QueueStats().as_dict() == {
        **dict.fromkeys(["waiting", "delayed", "leased", "failed"], nothing),
        "oldest_age": 0.0,
        "processors": 0,
        "paused": False,
        "accepted_events": 0,
        "delivered_events": 0,
        "failed_events": 0,
        "purged_events": 0,
        "moved_events": 0,
        "held_until": 0.0,
        "held_because": "",
        "most_bytes": None,
    }
    assert Depth() == Depth(0, 0, 0)


def test_a_job_that_never_failed_has_no_progress_and_did_not_stall():
    job = ClaimedJob("id", b"", 0)
    assert (job.progress, job.created_at, job.stalled) == ("", 0.0, False)


def test_a_commit_says_nothing_of_its_storage_unless_it_knows():
    result = CommitResult(1)
    assert (result.duplicates, result.rejected, result.epoch) == (0, (), "")


def test_what_is_lost_holds_no_event_and_says_why():
    assert (LOST.reason, LOST.events) == ("lost", 0)
    assert "emptied" in LOST.error
    assert (PURGED.reason, PURGED.events) == ("purged", 0)
    assert "purged" in PURGED.error


def test_a_settlement_is_due_at_once_and_saves_nothing_unless_told():
    settlement = Settlement("id", SettlementKind.RETRY)
    assert (settlement.delay, settlement.progress, settlement.failure) == (0.0, "", None)


def test_what_a_processor_did_not_say_is_empty():
    """An older one, of a version that did not know the field."""
    info = ProcessorInfo("token")
    assert (info.host, info.pid, info.version, info.last_error) == ("", 0, "", "")
    assert (info.started_at, info.seen_at, info.in_flight, info.sent, info.retried) == (0.0, 0.0, 0, 0, 0)
    assert (info.paused, info.latency_p50, info.latency_p99, info.statuses) == (False, None, None, {})
