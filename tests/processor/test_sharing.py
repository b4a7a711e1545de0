"""Jobs that wait share a request, and each keeps what is its own: its lease, its attempts, its progress and its end."""

from __future__ import annotations

import importlib
import itertools

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._delivery import parcel as _parcel
from eventspool._delivery.attempt import Outcome
from eventspool._delivery.sharing import Report
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import Cut, seal
from eventspool._job import NewJob, Settlement, SettlementKind, new_job_id
from processor.conftest import DOWN, OK, make_job, names_of, until

both = pytest.mark.parametrize("ordering", list(Ordering), ids=lambda ordering: ordering.value)
NAMES = [f"e{n:02}" for n in range(16)]


def make_jobs(names=NAMES):
    return [make_job(name) for name in names]


def flat(sent):
    return list(itertools.chain.from_iterable(sent))


@both
def test_jobs_that_wait_share_a_request_in_their_order(rig, ordering):
    rig = rig(ordering=ordering, most_jobs=64).share()
    rig.commit(*make_jobs())
    rig.start().empty()
    assert rig.plane.sent == [NAMES]
    assert {end.job_id for end in rig.await_settled(16)} == set(rig.ids)
    assert not any(end.failure for end in rig.settled)


def test_a_process_that_begins_sends_the_first_job_alone_and_more_with_each_answer(rig):
    rig = rig(ordering=Ordering.FIFO, most_jobs=64)
    rig.commit(*make_jobs())
    rig.start().empty()
    assert [len(names) for names in rig.plane.sent] == [1, 2, 4, 8, 1]
    assert flat(rig.plane.sent) == NAMES


def test_a_lone_job_waits_for_no_company(rig):
    rig = rig(most_jobs=64).share().start()
    for name in ("a", "b"):
        rig.commit(make_job(name))
        rig.empty()
    assert rig.plane.sent == [["a"], ["b"]]


@both
def test_an_answer_that_names_events_is_about_their_jobs_alone(rig, ordering):
    """The positions are those in the request; each job keeps its own."""
    rig = rig(
        DeliveryResult(200, body=b'{"errors":[{"index":2,"message":"bad"}]}'), ordering=ordering, most_jobs=64
    )
    rig.share()
    first, second, third = rig.commit(make_job("a", "b"), make_job("c", "d"), make_job("e"))
    rig.start().empty()
    assert len(rig.plane.sent) == 1
    [failed] = rig.failed
    assert (failed.id, failed.reason, failed.events) == (second.id, "rejected", 1)
    assert "bad" in failed.error
    assert rig.failure(second.id).indices == (0,)
    ends = {end.job_id: end.failure for end in rig.await_settled(3)}
    assert ends[first.id] is ends[third.id] is None


@both
@pytest.mark.parametrize("status", [400, 422])
def test_a_poison_event_is_found_by_bisection_and_costs_no_other_job_anything(rig, ordering, status):
    rig = rig(
        lambda names: DeliveryResult(status) if "e05" in names else OK, ordering=ordering, most_jobs=64
    ).share()
    jobs = rig.commit(*make_jobs())
    rig.start().empty()
    assert [job.id for job in rig.failed] == [jobs[5].id]
    assert sorted(flat(rig.plane.accepted)) == [name for name in NAMES if name != "e05"]
    assert len(rig.plane.sent) <= 2 * 4 + 1
    if ordering is Ordering.FIFO:
        assert flat(rig.plane.accepted) == [name for name in NAMES if name != "e05"]


@both
@pytest.mark.parametrize("status", [404, 409, 451])
def test_a_final_answer_to_one_job_takes_no_companion_to_the_failed_queue(rig, ordering, status):
    """A request with one job goes there as a whole. A gateway that bars one event must not bar those of other callers."""
    rig = rig(
        lambda names: DeliveryResult(status) if "e05" in names else OK, ordering=ordering, most_jobs=64
    ).share()
    jobs = rig.commit(*make_jobs())
    rig.start().empty()
    assert [(job.id, job.reason) for job in rig.failed] == [(jobs[5].id, "rejected")]
    assert flat(rig.plane.accepted) == [name for name in NAMES if name != "e05"]
    assert len(rig.plane.sent) <= 2 * 4 + 1


@both
def test_an_answer_that_rejects_without_a_name_has_the_parcel_cut_between_jobs(rig, ordering):
    def answer(names):
        return DeliveryResult(200, body=b'{"ok":false}') if "b" in names else OK

    rig = rig(answer, ordering=ordering, most_jobs=64).share()
    jobs = rig.commit(make_job("a", "b", "c"), make_job("d"), make_job("e"))
    rig.start().empty()
    assert rig.failure(jobs[0].id).indices == (1,)
    assert len(rig.failed) == 1
    assert set(flat(rig.plane.accepted)) == {"a", "b", "c", "d", "e"}


@both
@pytest.mark.parametrize(
    "answer", [DOWN, DeliveryResult(error="no answer", timed_out=True)], ids=["503", "timeout"]
)
def test_a_job_that_brings_the_data_plane_down_takes_no_companion_to_the_failed_queue(rig, ordering, answer):
    attempts = {}
    rig = rig(
        lambda names: answer if "e05" in names else OK,
        ordering=ordering,
        most_jobs=64,
        max_attempts=3,
        backoff_max=0.004,
    ).share()
    settle = rig.backend.settle

    def note(token, settlements):
        for each in settlements:
            if each.kind is not SettlementKind.RELEASE:
                attempts[each.job_id] = attempts.get(each.job_id, 0) + 1
        return settle(token, settlements)

    rig.backend.settle = note
    jobs = rig.commit(*make_jobs())
    rig.start().empty()
    assert [(job.id, job.reason) for job in rig.failed] == [(jobs[5].id, "max_attempts")]
    assert set(attempts) == {jobs[5].id}
    sizes = [len(names) for names in rig.plane.sent if "e05" in names]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 16
    assert sizes.count(1) >= 3
    delivered = flat(rig.plane.accepted)
    if ordering is Ordering.FIFO:
        assert delivered == [name for name in NAMES if name != "e05"]
    assert set(delivered) == set(NAMES) - {"e05"}


def test_in_order_a_head_that_brings_the_data_plane_down_is_passed_and_nothing_else_is(rig):
    """Its halves fail so often that the breaker opens. What is then probed with is not to pass those that shared them."""
    names = [f"e{n:02}" for n in range(40)]
    rig = rig(
        lambda sent: DOWN if "e00" in sent else OK, ordering=Ordering.FIFO, most_jobs=16, max_attempts=8
    ).share(16)
    rig.commit(*make_jobs(names))
    rig.start().empty()
    assert [job.id for job in rig.failed] == rig.ids[:1]
    assert flat(rig.plane.accepted) == names[1:]


@both
def test_a_data_plane_that_wants_fewer_requests_gets_no_more_of_them(rig, ordering):
    rig = rig([DeliveryResult(429)] * 4 + [OK], ordering=ordering, most_jobs=64, backoff_max=0.004).share()
    rig.commit(*make_jobs())
    rig.start().empty()
    assert rig.plane.sent == [NAMES] * 5
    assert not rig.failed


def test_a_job_that_has_the_data_plane_want_fewer_requests_takes_no_companion_to_the_failed_queue(rig):
    rig = rig(
        lambda names: DeliveryResult(429) if "e05" in names else OK, most_jobs=64, max_attempts=2
    ).share()
    rig.commit(*make_jobs())
    rig.start().empty()
    assert [job.id for job in rig.failed] == [rig.ids[5]]
    assert set(flat(rig.plane.accepted)) == set(NAMES) - {"e05"}


@both
def test_jobs_whose_shared_request_failed_come_due_together(rig, ordering):
    rig = rig([DOWN, OK, OK], ordering=ordering, most_jobs=64, backoff_initial=0.05, backoff_max=0.1)
    rig.share()
    rig.commit(*make_jobs(NAMES[:4]))
    rig.start().empty()
    assert rig.plane.sent[0] == NAMES[:4]
    assert sorted(rig.plane.sent[1:]) == [NAMES[:2], NAMES[2:4]]


@both
def test_a_body_that_is_too_large_is_halved_and_none_so_large_is_made_again(rig, ordering):
    rig = rig(
        lambda names: DeliveryResult(413) if len(names) > 4 else OK,
        ordering=ordering,
        most_jobs=16,
        concurrency=1,
    ).share(16)
    rig.commit(*make_jobs())
    rig.start().empty()
    assert not rig.failed
    refused = sum(len(names) > 4 for names in rig.plane.sent)
    rig.commit(*make_jobs([f"f{n:02}" for n in range(16)]))
    rig.empty()
    assert sum(len(names) > 4 for names in rig.plane.sent) <= refused + 1
    assert sorted(flat(rig.plane.accepted)) == [*NAMES, *(f"f{n:02}" for n in range(16))]


@both
def test_an_event_that_is_too_large_alone_has_the_others_share_requests_as_before(rig, ordering):
    names = [f"e{n:03}" for n in range(256)]
    rig = rig(
        lambda sent: DeliveryResult(413) if "e100" in sent else OK, ordering=ordering, most_jobs=64
    ).share()
    rig.commit(*make_jobs(names[:64]))
    rig.start().empty()
    rig.commit(*make_jobs(names[64:]))
    rig.empty()
    assert [job.reason for job in rig.failed] == ["too_large"]
    before = len(rig.plane.sent)
    rig.commit(*make_jobs(names))
    rig.plane.answer = OK
    rig.empty()
    assert len(rig.plane.sent) - before <= 8


@both
def test_a_refused_write_key_pauses_all_of_them_and_costs_none_an_attempt(rig, ordering):
    rig = rig(DeliveryResult(401), ordering=ordering, most_jobs=64).share()
    rig.commit(*make_jobs())
    rig.start()
    until(lambda: rig.processor.is_paused and len(rig.plane.sent) > 2)
    rig.processor.stop(5.0)
    assert set(rig.attempts.values()) == {0}
    assert len(rig.attempts) == 16
    assert [len(names) for names in rig.plane.sent[1:]] == [1] * (len(rig.plane.sent) - 1), "then it probes"


@both
def test_a_companion_that_cannot_be_opened_is_parked_and_the_others_go(rig, ordering):
    rig = rig(ordering=ordering, most_jobs=64).share()
    good = make_jobs()
    payload = bytearray(make_job("x").payload)
    payload[-1] ^= 1
    bad = NewJob(new_job_id(), bytes(payload), 1)
    rig.commit(*good[:8], bad, *good[8:])
    rig.start().empty()
    assert [(job.id, job.reason) for job in rig.failed] == [(bad.id, "corrupt")]
    assert flat(rig.plane.sent) == NAMES


@both
def test_a_companion_that_lies_about_its_text_holds_up_no_other(rig, ordering, monkeypatch):
    """Its checksum is good, as only a program that means harm would write it."""
    rig = rig(ordering=ordering, most_jobs=64).share()
    good = make_jobs(NAMES[:4])
    liar = make_job("x")
    monkeypatch.setattr("eventspool._envelope._deflate.crc32", lambda *_: 0)
    rig.commit(*good[:2], liar, *good[2:])
    rig.start().empty()
    assert set(NAMES[:4]) <= set(flat(rig.plane.accepted))


def test_which_event_failed_is_known_of_a_batch_out_of_which_events_were_taken(rig):
    """The second of three is erased; the data plane rejects the third, which is the last of its request."""
    rig = rig(DeliveryResult(200, body=b'{"errors":[{"index":2}]}'), most_jobs=64).share()
    whole, third = make_job("a"), make_job("b", "c")
    cut = NewJob(third.id, seal([b'{"event":"b"}', b'{"event":"c"}'], cut=Cut(b"hph")), 2)
    rig.commit(whole, cut)
    rig.start().empty()
    failure = rig.failure(cut.id)
    assert (failure.indices, failure.purged) == ((2,), (1,))
    assert names_of(rig.backend.payload(cut.id)) == ["c"]


@both
def test_what_is_left_of_a_parcel_is_given_back_when_the_process_ends(rig, ordering):
    """The data plane rejects the parcel, so it is halved; before the halves are sent, the process is to end."""

    def answer(_):
        rig_.processor.end()
        return DeliveryResult(400)

    rig_ = rig(answer, ordering=ordering, most_jobs=64).share()
    rig_.commit(*make_jobs())
    rig_.start()
    until(lambda: rig_.plane.sent)
    rig_.processor.stop(5.0)
    assert len(rig_.plane.sent) == 1
    assert list(rig_.attempts.values()) == [0] * 16
    stats = rig_.backend.stats()
    assert (stats.leased.jobs, stats.failed.jobs) == (0, 0)


def test_a_bug_on_this_side_costs_a_job_attempts_only_where_it_stands_alone(rig):
    rig = rig(
        lambda names: ZeroDivisionError() if "e05" in names else OK, most_jobs=64, max_attempts=2
    ).share()
    jobs = rig.commit(*make_jobs())
    rig.start().empty()
    assert [job.id for job in rig.failed] == [jobs[5].id]


@pytest.mark.parametrize("name", ["attempt.open_envelope", "body.inflate"])
def test_a_bug_that_opening_a_job_meets_is_this_job_s_alone(rig, monkeypatch, name):
    """A ``MemoryError``, say, each time: the parcel is not begun again for ever."""
    bad = make_job("bad")
    call = getattr(importlib.import_module(f"eventspool._delivery.{name.split('.')[0]}"), name.split(".")[1])

    def fail(data, *rest):
        if bad.payload[24:] in data:
            raise MemoryError
        return call(data, *rest)

    monkeypatch.setattr(f"eventspool._delivery.{name}", fail)
    rig = rig(most_jobs=64, max_attempts=2).share()
    rig.commit(*make_jobs(NAMES[:4]), bad, *make_jobs(NAMES[4:]))
    rig.start().empty()
    assert set(NAMES) <= set(flat(rig.plane.accepted))
    assert [job.id for job in rig.failed] == ([bad.id] if name == "attempt.open_envelope" else [])


def test_a_job_that_was_begun_is_sent_alone(rig):
    rig = rig(most_jobs=64).share()
    jobs = rig.commit(make_job("a"), make_job("b", "c"), make_job("d"))
    rig.backend.claim("dead", ClaimTerms(limit=9, visibility_timeout=60.0))
    rig.backend.settle("dead", [Settlement(jobs[1].id, SettlementKind.RELEASE, progress="1-2|")])
    rig.backend.leave("dead")
    rig.start().empty()
    assert ["c"] in rig.plane.sent
    assert sorted(flat(rig.plane.sent)) == ["a", "c", "d"]


def test_of_jobs_under_suspicion_hardly_more_are_held_than_are_sent(rig):
    """Each of them may be what killed the process that held it: killed again, this one is to take few with it."""
    rig = rig(lambda _: (until(lambda: rig_held, timeout=5.0), OK)[1], most_jobs=64, concurrency=2).share()
    rig_held = []
    rig.commit(*make_jobs())
    rig.backend.claim("dead", ClaimTerms(limit=99, visibility_timeout=0.0))
    rig.start()
    until(lambda: rig.plane.sent)
    until(lambda: rig.backend.stats().leased.jobs == 3)
    assert [len(names) for names in rig.plane.sent] == [1] * len(rig.plane.sent)
    rig_held.append(True)
    rig.empty()
    assert sorted(flat(rig.plane.accepted)) == NAMES


def test_a_request_counts_once_however_many_jobs_it_carries(rig):
    rig = rig(most_jobs=64).share()
    attempts = []
    rig.processor.on_attempt = lambda job, outcome, *_: attempts.append((job.id, len(outcome.requests)))
    rig.commit(*make_jobs())
    rig.start().empty()
    assert attempts == [(job_id, 1) for job_id in rig.ids]
    assert sum(rig.processor._heartbeat._endings.values()) == 1
    assert rig.processor.sent == 16


def test_jobs_of_any_size_are_claimed_in_bounded_amounts(rig, monkeypatch):
    """Not a thousand jobs of half a megabyte at a time."""
    claimed = []
    rig = rig(most_jobs=_parcel.MOST_JOBS).share(_parcel.MOST_JOBS)
    claim = rig.backend.claim

    def note(*args, **options):
        result = claim(*args, **options)
        claimed.append(sum(len(job.payload) for job in result.jobs))
        return result

    monkeypatch.setattr(rig.backend, "claim", note)
    names = [f"{n}" * 400_000 for n in range(40)]
    for name in names:
        job = make_job(name)
        rig.commit(NewJob(job.id, seal([b'{"event":"%s"}' % name.encode()], compress=False), 1))
    rig.start().empty()
    assert sorted(flat(rig.plane.accepted)) == sorted(names)
    assert max(claimed) <= 16 * (1 << 20), "what sixteen requests can carry"


def test_a_parcel_that_is_cut_apart_ends_no_patience_that_another_was_asked_for(rig):
    """The senders are held up until the dispatcher has heard who asked for it, and not until it has heard of anything."""
    processor = rig().processor
    processor.exchange.reports.put(Report((), (("400", 0.01),)))
    processor.exchange.report(Report((Outcome("j", retry_after=5.0),)))
    processor.wait(0.0)
    processor._take(processor._heard[0])
    assert processor.exchange.is_held_up


def test_a_turn_that_was_cut_off_takes_no_room_for_ever(rig):
    """A ``MemoryError`` behind a job that has landed: its parcel is counted again, and lands with the last of the others."""
    rig = rig(most_jobs=64).share()
    rig.commit(*make_jobs())
    processor = rig.processor
    processor.turn(0.0)
    [(number, jobs)] = processor._in_flight._left.items()
    assert jobs == len(NAMES)
    processor._in_flight._left[number] = 99
    processor._in_flight._left[number + 1] = 1
    processor.recover(MemoryError())
    assert processor._in_flight._left == {number: len(NAMES)}
