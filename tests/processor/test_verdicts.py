"""What every verdict does to a job: what is delivered, what is in the failed queue, what is tried again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from eventspool._config import Ordering
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import seal
from eventspool._job import NewJob, new_job_id
from eventspool._settling.settler import JobEnd

from .conftest import DOWN, OK, make_job, names_of, until

TEN = [f"e{i}" for i in range(10)]


def _refusing(*poison, status=400, body=b""):
    """A data plane that refuses every batch with a poisonous event as a whole."""
    return lambda names: DeliveryResult(status, body=body) if set(poison) & set(names) else OK


def _delivered(rig):
    return [name for names in rig.plane.accepted for name in names]


def test_a_delivered_job_is_gone_and_told_of_once(rig):
    rig = rig().start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.plane.sent == [TEN]
    assert rig.settled == [JobEnd(job.id, is_recorded=False)]
    assert rig.backend.lookup([job.id]) == {}
    assert rig.processor.sent == 1


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("poison", [[0], [9], [2, 7, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_poison_events_are_found_and_all_others_delivered(rig, status, poison):
    bad = [TEN[i] for i in poison]
    rig = rig(_refusing(*bad, status=status)).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert _delivered(rig) == [name for name in TEN if name not in bad]
    [failed] = rig.failed
    failure = rig.failure(job.id)
    assert (failed.reason, failed.events, failure.status) == ("rejected", len(bad), status)
    assert names_of(rig.backend.payload(job.id)) == bad
    assert failure.indices == (None if len(poison) == 10 else tuple(poison))
    [end] = rig.await_settled(1)
    told = end.failure
    assert (end.job_id, told.reason, told.status, told.indices) == (
        job.id,
        "rejected",
        status,
        failure.indices,
    )
    assert told.payload is None or names_of(told.payload) == bad
    assert rig.processor.retried == 0


def test_a_batch_that_is_too_large_is_split_until_its_parts_fit(rig):
    rig = rig(lambda names: OK if len(names) <= 3 else DeliveryResult(413)).start()
    rig.commit(make_job(*TEN))
    rig.empty()
    assert _delivered(rig) == TEN
    assert max(map(len, rig.plane.accepted)) <= 3
    assert rig.failed == []


def test_an_event_that_is_too_large_by_itself_fails_alone(rig):
    rig = rig(_refusing("e4", status=413)).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert _delivered(rig) == [name for name in TEN if name != "e4"]
    assert [(j.reason, j.events) for j in rig.failed] == [("too_large", 1)]
    assert rig.failure(job.id).indices == (4,)


@pytest.mark.parametrize("status", [402, 404, 405, 410, 415, 451])
def test_any_other_4xx_fails_the_batch_as_it_is(rig, status):
    rig = rig(DeliveryResult(status)).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert len(rig.plane.sent) == 1
    assert [(j.reason, j.events) for j in rig.failed] == [("rejected", 10)]
    assert rig.backend.payload(job.id) == job.payload
    assert rig.await_settled(1)[0].failure.status == status


def test_events_that_a_2xx_answer_names_fail_and_the_others_are_delivered(rig):
    answer = {"ok": False, "errors": [{"index": 1, "message": "no id"}, {"index": 8, "message": "no event"}]}
    rig = rig(DeliveryResult(200, body=json.dumps(answer).encode())).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.plane.sent == [TEN]
    [failed] = rig.failed
    assert (failed.reason, failed.events) == ("rejected", 2)
    assert "no id" in failed.error
    assert rig.failure(job.id).indices == (1, 8)
    assert names_of(rig.backend.payload(job.id)) == ["e1", "e8"]


def test_a_2xx_answer_that_names_all_of_them_fails_the_whole_batch(rig):
    rig = rig(DeliveryResult(200, body=json.dumps({"errors": list(range(10))}).encode())).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.failure(job.id).indices is None
    assert rig.backend.payload(job.id) == job.payload


def test_a_2xx_answer_that_is_not_ok_and_names_nobody_is_bisected(rig):
    rig = rig(_refusing("e3", status=200, body=b'{"ok":false}')).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.failure(job.id).indices == (3,)


@pytest.mark.parametrize("said", ["\ud800", "x" * 70_000, {"a": ["\udfff"]}, None, 5])
def test_no_message_of_the_data_plane_has_delivered_events_sent_again(rig, said):
    answer = {"errors": [{"index": 0, "message": said}]}
    rig = rig(DeliveryResult(200, body=json.dumps(answer).encode())).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.plane.sent == [TEN]
    assert rig.failure(job.id).indices == (0,)
    assert len(rig.failure(job.id).error) <= 500


@pytest.mark.parametrize(
    "answer",
    [
        DeliveryResult(200, "https://x.example answered 200 with more than 16 MiB"),
        DeliveryResult(200, "https://x.example answered 200 but not all of it in time", timed_out=True),
        DeliveryResult(200, body=b'{"ok": true, "errors": [{"index": 1}', who="https://x.example"),
    ],
)
def test_of_what_an_unclear_answer_took_nobody_is_told_that_it_was_delivered(rig, answer):
    """It is tried again, costs an attempt each time, and is kept in the failed queue at last."""
    rig = rig(answer, max_attempts=2).start()
    [job] = rig.commit(make_job("e1", "e2"))
    rig.empty()
    [failed] = rig.failed
    assert (failed.reason, failed.attempts, failed.events) == ("max_attempts", 2, 2)
    assert failed.error.startswith("given up after 2 attempts: https://x.example answered 200 ")
    assert rig.plane.sent == [["e1", "e2"]] * 2
    assert rig.failure(job.id).status == 200


def test_an_unclear_answer_is_followed_by_one_that_is_understood(rig):
    torn = DeliveryResult(200, body=b'{"errors": [{"index": 1}')
    rig = rig([torn, DeliveryResult(200, body=b'{"errors": [{"index": 1}]}')]).start()
    [job] = rig.commit(make_job("e1", "e2", "e3"))
    rig.empty()
    assert rig.failure(job.id).indices == (1,)


@pytest.mark.parametrize(
    "result", [DOWN, DeliveryResult(408), DeliveryResult(302), DeliveryResult(error="no route")]
)
def test_what_may_pass_is_tried_again_and_then_given_up(rig, result):
    rig = rig(result, max_attempts=4).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.plane.sent == [TEN] * 4
    assert rig.processor.retried == 3
    [failed] = rig.failed
    assert (failed.reason, failed.events, failed.attempts) == ("max_attempts", 10, 4)
    assert "4 attempts" in failed.error
    assert result.describe() in failed.error
    assert rig.backend.payload(job.id) == job.payload
    assert rig.await_settled(1)[0].failure.status == result.status


def test_a_job_that_succeeds_at_its_last_attempt_is_delivered(rig):
    rig = rig([DOWN, DOWN, DOWN, OK], max_attempts=4).start()
    rig.commit(make_job(*TEN))
    rig.empty()
    assert rig.failed == []
    assert rig.settled[0].failure is None


def test_retry_for_keeps_a_young_job_alive_beyond_its_attempts(rig):
    rig = rig([DOWN] * 6 + [OK], max_attempts=2, retry_for=3_600.0).start()
    rig.commit(make_job("young"))
    rig.empty()
    assert rig.plane.count("young") == 7
    assert rig.failed == []


def test_retry_for_does_not_spare_a_job_its_attempts(rig):
    rig = rig(DOWN, max_attempts=2, retry_for=3_600.0).start()
    rig.commit(make_job("old", age=7_200.0))
    rig.empty()
    assert rig.plane.count("old") == 2
    assert [job.reason for job in rig.failed] == ["max_attempts"]


def test_progress_survives_retries_so_that_no_good_event_is_sent_twice(rig):
    """Every second request fails while the batch is being cut: the parts already taken do not come again."""
    rig = rig(max_attempts=100)
    taken, turn = [], iter(range(1_000))

    def answer(names):
        if next(turn) % 2:
            return DOWN
        if "e5" in names:
            return DeliveryResult(400)
        taken.extend(names)
        return OK

    rig.plane.answer = answer
    rig.start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    assert sorted(taken) == [name for name in TEN if name != "e5"]
    assert rig.failure(job.id).indices == (5,)


def test_progress_survives_a_restart(rig):
    rig = rig()
    in_middle = [DeliveryResult(400), OK, lambda names: rig.processor.stop(0.0) or OK]
    rig.plane.answer = [*in_middle, *[OK] * 10]
    rig.start()
    rig.commit(make_job("a", "b", "c", "d", "e", "f"))
    until(lambda: not rig.processor.in_flight and len(rig.plane.sent) >= 3)
    rig.renew().empty()
    delivered = _delivered(rig)
    assert sorted(delivered) == ["a", "b", "c", "d", "e", "f"]
    assert rig.failed == []


def test_giving_up_halfway_keeps_only_what_was_not_delivered(rig):
    """e5 is poison, and the data plane goes down before the second half is through."""

    def answer(names):
        if "e8" in names and len(names) < 5:
            return DOWN
        return DeliveryResult(400) if {"e5", "e8"} & set(names) else OK

    rig = rig(answer, max_attempts=3).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    delivered = _delivered(rig)
    failure = rig.failure(job.id)
    assert failure.reason == "max_attempts"
    assert sorted(delivered + names_of(rig.backend.payload(job.id))) == TEN
    assert [TEN[i] for i in failure.indices] == names_of(rig.backend.payload(job.id))
    assert {"e5", "e8"} <= set(names_of(rig.backend.payload(job.id)))
    assert len(set(delivered)) == len(delivered)


def test_a_replayed_failure_is_sent_as_the_smaller_batch_that_it_is(rig):
    rig = rig(_refusing("e2", "e6")).start()
    [job] = rig.commit(make_job(*TEN))
    rig.empty()
    rig.plane.answer = OK
    assert rig.backend.replay([job.id]) == 1
    rig.processor.wake()
    rig.empty()
    assert rig.plane.sent[-1] == ["e2", "e6"]
    assert rig.failed == []


def _corrupt():
    job = make_job("x")
    return NewJob(job.id, job.payload[:-1] + bytes([job.payload[-1] ^ 1]), 1)


def _newer():
    job = make_job("x")
    return NewJob(job.id, job.payload[:2] + b"\x03" + job.payload[3:], 1)


def _junk_events():
    return NewJob(new_job_id(), seal([b"{}"])[:20], 1)


@pytest.mark.parametrize("ordering", [Ordering.FIFO, Ordering.NONE])
@pytest.mark.parametrize(
    ("make", "reason"), [(_corrupt, "corrupt"), (_newer, "unsupported"), (_junk_events, "corrupt")]
)
def test_a_payload_that_cannot_be_read_is_parked_and_the_next_job_proceeds(rig, make, reason, ordering):
    rig = rig(ordering=ordering)
    rig.commit(make(), make_job("good"), make(), make_job("better"))
    rig.start().empty()
    assert rig.plane.sent in ([["good"], ["better"]], [["better"], ["good"]])
    assert [job.reason for job in rig.failed] == [reason, reason]
    assert [end.failure.reason for end in rig.await_settled(4) if end.failure] == [reason, reason]


def test_a_job_without_its_payload_is_parked_as_missing(rig):
    rig = rig()
    rig.commit(make_job("gone"), make_job("good"))
    rig.backend._entries.jobs[rig.ids[0]].payload = b""
    claim = rig.backend._lease

    def lease(entry, *terms):
        from dataclasses import replace

        claimed = claim(entry, *terms)
        return claimed if claimed.payload else replace(claimed, payload=None)

    rig.backend._lease = lease
    rig.start().empty()
    assert rig.plane.sent == [["good"]]
    assert [job.reason for job in rig.failed] == ["missing"]


def test_a_bug_on_this_side_costs_attempts_not_the_sender(rig):
    rig = rig([RuntimeError("payload"), RuntimeError("payload"), OK], max_attempts=3).start()
    rig.commit(make_job("a", "b"))
    rig.empty()
    assert rig.failed == []
    rig.plane.answer = RuntimeError("payload")
    rig.commit(make_job("c", "d"))
    rig.empty()
    [failed] = rig.failed
    assert (failed.reason, failed.events) == ("max_attempts", 2)
    assert "RuntimeError" in failed.error
    assert "payload" not in failed.error
    rig.plane.answer = OK
    rig.commit(make_job("e"))
    rig.empty()


def test_a_half_delivered_batch_that_is_given_up_without_another_answer_keeps_only_the_rest(rig):
    """What came up on our side says nothing of what the attempt before had delivered."""
    rig = rig([RuntimeError("ours")] * 9, max_attempts=3).start()
    [job] = rig.commit(replace(make_job("a", "b", "c", "d"), progress="2-4|", attempts=1))
    rig.empty()
    failure = rig.failure(job.id)
    assert (failure.reason, failure.indices, failure.events) == ("max_attempts", (2, 3), 2)
    assert names_of(rig.backend.payload(job.id)) == ["c", "d"]
    assert [end.failure.indices for end in rig.await_settled(1)] == [(2, 3)]


def test_what_comes_amid_a_request_does_not_undo_the_answers_before_it(rig):
    rig = rig([DeliveryResult(400), OK, RuntimeError("ours"), *[OK] * 9], max_attempts=9).start()
    rig.commit(make_job("a", "b", "c", "d"))
    rig.empty()
    assert rig.plane.sent.count(["a", "b"]) == 1


def test_what_an_attempt_before_was_refused_with_is_said_at_the_end(rig):
    down_once = [DeliveryResult(400), DeliveryResult(400), DOWN, OK]
    rig = rig(down_once, max_attempts=9).start()
    [job] = rig.commit(make_job("a", "b"))
    rig.empty()
    failure = rig.failure(job.id)
    assert (failure.reason, failure.indices, failure.status) == ("rejected", (0,), 400)
    assert "400" in failure.error
