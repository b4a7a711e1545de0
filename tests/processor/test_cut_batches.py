"""Whose event it was: positions mean the batch as first stored, however often it was cut since."""

from __future__ import annotations

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import ids_of
from eventspool._delivery.attempt import deliver
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import open_envelope, seal
from eventspool._job import JobState, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._operate.erasure import erase_from
from eventspool._settling.settler import JobEnd

from .conftest import DOWN, OK, make_job, names_of, until

SIX = [f"e{i}" for i in range(6)]


def belonging(*users):
    """Return a job of one event per user, named e0, e1, …"""
    events = [
        json.dumps({"event": f"e{n}", "messageId": f"e{n}", "userId": user}).encode()
        for n, user in enumerate(users)
    ]
    return NewJob(new_job_id(), seal(events), len(events))


def erase(backend, user, state=JobState.WAITING):
    """Erase a user's events as an operator does."""
    return erase_from(backend, [ids_of(backend.jobs(state, limit=99))], user)


def refuse(*refused):
    """Return an answer that names the events that it refuses by where they stand in the request."""

    def answer(names):
        at = [names.index(name) for name in refused if name in names]
        return DeliveryResult(200, body=json.dumps({"errors": [{"index": i} for i in at]}).encode())

    return answer


def test_what_is_refused_of_a_batch_out_of_which_others_were_erased_is_told_by_its_first_position(rig):
    rig = rig(refuse("e1", "e4"))
    [job] = rig.commit(belonging("x", "a", "x", "a", "a", "x"))
    assert erase(rig.backend, "x").events == 3
    rig.start().empty()
    failure = rig.failure(job.id)
    assert (failure.indices, failure.purged) == ((1, 4), (0, 2, 5))
    assert names_of(rig.backend.payload(job.id)) == ["e1", "e4"]
    [end] = rig.settled
    assert (end.job_id, end.failure.reason, end.failure.indices, end.purged) == (
        job.id,
        "rejected",
        (1, 4),
        (0, 2, 5),
    )


def test_what_is_left_of_a_batch_is_delivered_and_what_was_erased_is_told_as_purged(rig):
    rig = rig(OK)
    [job] = rig.commit(belonging("x", "a", "x"))
    erase(rig.backend, "x")
    rig.start().empty()
    assert rig.plane.sent == [["e1"]]
    assert rig.settled == [JobEnd(job.id, purged=(0, 2), is_recorded=False)]


def test_a_cut_batch_that_is_given_up_as_a_whole_names_what_it_held(rig):
    rig = rig(DOWN, max_attempts=1)
    [job] = rig.commit(belonging("a", "x", "a"))
    erase(rig.backend, "x")
    rig.start().empty()
    assert (rig.failure(job.id).reason, rig.failure(job.id).indices) == ("max_attempts", (0, 2))


def test_a_cut_batch_that_stalled_names_what_it_held(rig):
    rig = rig(OK, max_attempts=1)
    [job] = rig.commit(belonging("a", "x", "a"))
    erase(rig.backend, "x")
    rig.backend.claim("dead", ClaimTerms(limit=1, visibility_timeout=0.0))
    rig.start().empty()
    assert (rig.failure(job.id).reason, rig.failure(job.id).indices) == ("stalled", (0, 2))


def test_a_replayed_part_of_a_batch_fails_by_its_first_positions_again(rig):
    rig = rig([refuse("e1", "e3", "e5"), refuse("e3")])
    [job] = rig.commit(make_job(*SIX))
    rig.start().empty()
    assert rig.failure(job.id).indices == (1, 3, 5)
    rig.backend.replay([job.id])
    rig.processor.wake()
    until(lambda: len(rig.settled) == 2)
    assert rig.failure(job.id).indices == (3,)
    assert names_of(rig.backend.payload(job.id)) == ["e3"]


def test_halves_of_a_cut_batch_keep_their_places(rig):
    """Cut again inside its lease: a 400 that only bisection explains."""

    def answer(names):
        return DeliveryResult(400) if "e4" in names else OK

    rig = rig(answer)
    [job] = rig.commit(belonging("x", "a", "a", "x", "a", "a"))
    erase(rig.backend, "x")
    rig.start().empty()
    assert (rig.failure(job.id).indices, rig.failure(job.id).purged) == ((4,), (0, 3))


CUTS = st.lists(
    st.tuples(st.sampled_from(["erase", "refuse", "replay", "move", "give up"]), st.integers(0, 5)),
    max_size=6,
)


class _Bare:
    """What ``deliver`` asks of a transport."""

    def __init__(self, answer):
        self._answer = answer

    def send(self, body, *, gzip):
        text = json.loads(body)
        return self._answer([event["event"] for event in text["batch"]])


@settings(max_examples=150, deadline=None)
@given(CUTS)
def test_whichever_ways_a_batch_was_cut_in_turn_every_position_names_its_event(cuts):
    backend = MemoryBackend()
    job = belonging(*"012345")
    backend.commit([job])
    erased, tokens = set(), itertools.count()
    for step, number in cuts:
        name = f"e{number}"
        stored = backend.lookup([job.id])
        if job.id not in stored or backend.payload(job.id) is None:  # delivered, or erased to its last event
            return
        failed = stored[job.id] is not None
        if step == "erase":
            if erase(backend, str(number), JobState.FAILED if failed else JobState.WAITING).events:
                erased.add(number)
        elif step == "replay":
            backend.replay([job.id])
        elif step == "move":
            payload, other = backend.payload(job.id), MemoryBackend()
            other.commit([NewJob(job.id, payload, open_envelope(payload).events)])
            backend = other
        elif not failed:
            token = f"t{next(tokens)}"
            [claimed] = backend.claim(token, ClaimTerms(limit=1, visibility_timeout=60.0)).jobs
            answer = refuse(name) if step == "refuse" else lambda names: DOWN
            outcome = deliver(claimed, _Bare(answer), gzip=False, is_stopping=lambda: False)
            failure = outcome.failure or (None if outcome.delivered else outcome.give_up(1))
            if failure is None:
                backend.ack([job.id])
                assert set(outcome.purged) == erased
                return
            backend.settle(token, [Settlement(job.id, SettlementKind.FAIL, failure=failure)])
            positions = range(6) if failure.indices is None else failure.indices
            assert [f"e{i}" for i in positions] == names_of(backend.payload(job.id))
            assert set(failure.purged) == erased
    payload = backend.payload(job.id)
    if payload is not None:
        here = open_envelope(payload).cut
        assert names_of(payload) == [f"e{i}" for i in (range(6) if here is None else here.here)]
