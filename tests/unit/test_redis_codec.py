"""How a job's record is written into Redis and read back, whatever somebody else has made of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._backends.redis.codec import decode_failure, decode_job, decode_text, encode_failure
from eventspool._job import Failure, JobState

ID = "018bcfe56800" + "f" * 16
DAMAGED = Failure("unknown", "the record of this failure is damaged", 0)


def _stored(failure, **of_the_script):
    """Return the whole record: the script adds its part and the brace."""
    return json.loads(encode_failure(failure) + ", " + json.dumps(of_the_script)[1:])


def _job(state=JobState.WAITING, at=b"5000000", size=b"3:120", tries=b"2:0-1|", info=b""):
    return decode_job(state, ID.encode(), at, size, tries, info)


@given(st.binary())
def test_any_bytes_are_text_from_which_the_same_bytes_are_made(raw):
    assert decode_text(raw).encode("utf-8", "surrogateescape") == raw


def test_text_stays_what_it_is():
    assert decode_text("Käse") == "Käse"


@pytest.mark.parametrize("indices", [None, (), (0, 7)])
@pytest.mark.parametrize("status", [None, 422])
def test_a_failure_comes_back_as_it_was_stored(indices, status):
    failure = Failure("rejected", "no", 3, None, indices, status)
    stored = json.dumps(_stored(failure, events=3, attempts=4))
    assert decode_failure(stored.encode()) == (failure, 4)


def test_the_sentence_is_cut_at_500_characters():
    assert _stored(Failure("rejected", "x" * 1000, 1), events=1)["error"] == "x" * 500


def test_a_record_without_what_older_releases_did_not_store_is_read():
    assert decode_failure(b'{"reason":"stalled","error":"e","events":1}') == (Failure("stalled", "e", 1), 0)


def test_a_status_that_is_no_number_is_left_out():
    record = b'{"reason":"stalled","error":"e","events":1,"status":"422"}'
    assert decode_failure(record) == (Failure("stalled", "e", 1), 0)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff",
        b"{}",
        b'{"reason":"stalled","error":"e"}',
        b'{"reason":"stalled","events":1}',
        b'{"error":"e","events":1}',
        b'{"reason":"stalled","error":"e","events":"many"}',
        b'{"reason":"stalled","error":"e","events":1,"indices":7}',
        b'{"reason":"stalled","error":"e","events":1,"indices":[null]}',
        b'{"reason":"stalled","error":"e","events":1,"attempts":[]}',
    ],
)
def test_a_damaged_record_is_a_failure_that_says_so(record):
    assert decode_failure(record) == (DAMAGED, 0)


def test_an_unfinished_job_says_when_it_is_due_and_not_why_it_failed():
    job = _job()
    assert (job.id, job.state, job.events, job.bytes, job.attempts) == (ID, JobState.WAITING, 3, 120, 2)
    assert (job.created_at, job.next_attempt_at) == (1_700_000_000.0, 5.0)
    assert (job.reason, job.error, job.failed_at) == (None, None, None)


def test_a_failed_job_says_why_and_when_and_is_never_due():
    info = b'{"reason":"rejected","error":"no","events":3,"attempts":9}'
    job = _job(JobState.FAILED, tries=b"", info=info)
    assert (job.reason, job.error, job.attempts, job.next_attempt_at) == ("rejected", "no", 9, None)
    assert (job.events, job.bytes, job.failed_at) == (3, 120, 5.0)


@pytest.mark.parametrize("junk", [b"", b":", b"x:y", b"-1:-1", b"1.5:1.5", b"9" * 17 + b":" + b"9" * 17])
def test_sizes_and_attempts_that_are_no_numbers_are_zero(junk):
    job = _job(size=junk, tries=junk)
    assert (job.events, job.bytes, job.attempts) == (0, 0, 0)


def test_a_number_of_sixteen_digits_is_believed_as_times_have_as_many():
    assert _job(at=b"9" * 16).next_attempt_at == pytest.approx(9_999_999_999.999999)
    assert _job(at=b"9" * 17).next_attempt_at == 0.0
