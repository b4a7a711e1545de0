"""The trail: who did what to a queue, as operators read it."""

from __future__ import annotations

import json
import logging
import os

import pytest

from eventspool import ConfigError, Queue, QueueError, QueueUnavailable
from eventspool._backends.encrypted import EncryptedBackend
from eventspool._backends.memory import MemoryBackend
from eventspool._contract.tools import SOON, claim_soon, fail, ids_of
from eventspool._encryption import Keyring
from eventspool._envelope import Cut, open_envelope, seal
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._operate.edit import editable_text
from eventspool._operate.trail import KEPT, Action, find_actor


def event(user, name="Order", **fields):
    return {"type": "track", "event": name, "userId": user, "messageId": f"id-{user}", **fields}


def batch(*events):
    sealed = seal([json.dumps(each, separators=(",", ":")).encode() for each in events])
    return NewJob(new_job_id(), sealed, len(events))


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def queue(backend):
    return Queue(backend, actor="ann")


@pytest.fixture
def bury(backend):
    def bury(*jobs):
        backend.commit(jobs)
        claim_soon(backend, "t", limit=len(jobs))
        backend.settle("t", [fail(job.id, events=job.events) for job in jobs])
        return ids_of(jobs)

    return bury


def told(queue, **page):
    return [(each.actor, each.action, each.jobs, dict(each.selection)) for each in queue.trail(**page)]


def test_each_action_says_who_did_what_to_which_jobs(queue, bury, tmp_path):
    first, second, third = bury(batch(event("u1")), batch(event("u2")), batch(event("u3")))
    queue.retry_failed(ids=[first])
    queue.acting_as("bob").retry_failed(reason="rejected", older_than=0.0)
    queue.purge("waiting", ids=[second, third])
    queue.export(tmp_path / "out", "waiting")
    queue.pause("the warehouse moves")
    queue.resume()
    assert told(queue) == [
        ("ann", "resume", None, {}),
        ("ann", "pause", None, {}),
        ("ann", "export", None, {"state": "waiting"}),
        ("ann", "purge", 2, {"state": "waiting", "ids": [second, third]}),
        ("bob", "retry", 2, {"state": "failed", "reason": "rejected", "older_than": 0.0}),
        ("ann", "retry", 1, {"state": "failed", "ids": [first]}),
    ]
    assert [each.note for each in queue.trail(2)] == ["", "the warehouse moves"]
    assert told(queue, limit=1, before=queue.trail(2)[-1].position) == [
        ("ann", "export", None, {"state": "waiting"})
    ]


def test_what_changed_nothing_is_not_in_the_trail(queue, tmp_path):
    queue.retry_failed()
    queue.purge(ids=["never-stored"])
    queue.export(tmp_path / "out")
    queue.erase("u1")
    assert queue.trail() == []


def test_an_action_that_is_cut_off_is_told_as_far_as_it_came(queue, backend, bury, monkeypatch):
    ids = bury(*[batch(event(f"u{n}")) for n in range(3)])
    monkeypatch.setattr("eventspool._operate.selection.PAGE", 2)
    replay, calls = backend.replay, []

    def replay_once(page):
        if calls:
            raise QueueUnavailable("the server went away")
        calls.append(page)
        return replay(page)

    monkeypatch.setattr(backend, "replay", replay_once)
    with pytest.raises(QueueUnavailable):
        queue.retry_failed(ids=ids)
    assert told(queue)[0][:3] == ("ann", "retry", 2)


def test_the_action_stands_where_the_trail_cannot_be_written(queue, backend, bury, monkeypatch, caplog):
    bury(batch(event("u1")))

    def refuse(*_args, **_kwargs):
        raise QueueUnavailable("the server's memory is full")

    monkeypatch.setattr(backend, "append", refuse)
    with caplog.at_level(logging.WARNING, "eventspool"):
        assert queue.retry_failed() == 1
        queue.pause("why")
    assert queue.stats().paused
    assert "ann did this" in caplog.text
    assert "retry (1 jobs)" in caplog.text


def test_a_store_of_an_older_release_works_without_a_trail(bury, backend):
    class Older:
        def __getattr__(self, name):
            if name in {"append", "journal", "amend"}:
                raise AttributeError(name)
            return getattr(backend, name)

    bury(batch(event("u1")))
    queue = Queue(Older())
    assert queue.retry_failed() == 1
    queue.pause("why")
    assert (queue.stats().paused, queue.why_paused()) == (True, None)
    assert queue.erase("u1").is_complete
    with pytest.raises(QueueError, match="keeps no trail"):
        queue.trail()


def test_the_last_actions_are_remembered(queue):
    for _ in range(KEPT + 1):
        queue.resume()
    assert len(queue.trail(KEPT + 9)) == KEPT


def test_a_paused_queue_says_who_paused_it_since_when_and_why(queue):
    assert queue.why_paused() is None
    queue.pause("the warehouse moves")
    found = queue.why_paused()
    assert (found.reason, found.actor) == ("the warehouse moves", "ann")
    assert found.since == pytest.approx(queue.trail()[0].at, abs=SOON)
    queue.acting_as("bob").pause()
    assert (queue.why_paused().reason, queue.why_paused().actor) == ("", "bob")
    queue.resume()
    assert queue.why_paused() is None


def test_a_condition_that_names_a_user_is_told_without_the_user(queue, bury):
    bury(batch(event("u1")), batch(event("u2")))
    queue.erase("u1")
    assert told(queue) == [("ann", "erase", 1, {})]
    assert "u1" not in str(queue.trail())


def test_what_another_program_wrote_does_not_hide_the_rest(queue, backend):
    queue.resume()
    for body in (b"\xff", b"[]", b'{"action": 3, "actor": ["x"], "jobs": "y"}'):
        backend.append("trail", body, most=KEPT)
    assert [each.action for each in queue.trail()] == ["unreadable"] * 3 + ["resume"]


def test_an_entry_survives_its_stored_form():
    action = Action("edit", "ann", 1.5, 1, 2, {"ids": ["j"]}, "why", "{}", '{"a":1}', 7)
    entry = type("Entry", (), {"body": action.to_bytes(), "at": 1.5, "position": 7})
    assert Action.from_entry(entry) == action


def test_an_erasure_that_ends_half_done_is_in_the_trail_with_what_it_did(queue, backend, bury, monkeypatch):
    bury(batch(event("u1"), event("u2")), batch(event("u1")))

    def fail(state, ids):
        raise QueueUnavailable("it is away")

    monkeypatch.setattr(backend, "purge", fail)
    with pytest.raises(QueueUnavailable):
        queue.erase("u1")
    [erasure] = queue.trail()
    assert (erasure.action, erasure.jobs, erasure.events) == ("erase", 1, 1)


# Edits.


def test_an_edited_event_goes_out_again_and_the_trail_has_both(queue, backend, bury):
    [job] = bury(batch(event("u1"), event("u2", name="Poison"), event("u3")))
    mended = event("u2", name="Mended", properties={"price": 1})
    queue.edit(job, mended)
    assert queue.events(job) == [event("u1"), mended, event("u3")]
    [claimed] = claim_soon(backend, "t")
    assert (claimed.id, claimed.attempts) == (job, 0)
    [edit] = queue.trail()
    assert (edit.action, edit.actor, edit.jobs, edit.selection) == ("edit", "ann", 1, {"ids": [job]})
    assert json.loads(edit.before) == event("u2", name="Poison")
    assert json.loads(edit.after) == mended


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("[1]", "no JSON object"),
        ('{"type": "track",\n oops', "line 2, column 2"),
        ({"type": "track", "messageId": "id-other"}, "no event with the messageId 'id-other'"),
        ({"type": "track"}, "no event with the messageId None"),
        ({"type": "tack", "messageId": "id-u1"}, "type must be one of track"),
        ({"type": ["track"], "messageId": "id-u1"}, "type must be one of track"),
        ({"type": "track", "messageId": "id-u1", "x": "y" * 40_000}, "more than the 32768"),
        (event("u1"), "as it was"),
    ],
)
def test_an_edit_that_cannot_go_out_changes_nothing(queue, backend, bury, new, says):
    [job] = bury(batch(event("u1")))
    before = backend.payload(job)
    with pytest.raises(ConfigError, match=says):
        queue.edit(job, new)
    assert backend.payload(job) == before
    assert [each.id for each in queue.jobs("failed")] == [job]
    assert queue.trail() == []


NUMBERS = b'{ "type":"track", "messageId":"id-u1", "event":"Order", "properties":{"price":19.90,"n":0.1234567890123456789} }'


def test_an_edit_changes_no_number_that_nobody_touched(queue, bury):
    [job] = bury(NewJob(new_job_id(), seal([NUMBERS]), 1))
    [opened] = queue.events(job, is_exact=True)
    with pytest.raises(ConfigError, match="as it was"):
        queue.edit(job, editable_text(opened, indent=2))
    queue.edit(job, editable_text({**opened, "event": "Mended"}, indent=2))

    [edit] = queue.trail()
    assert '"price":19.90,"n":0.1234567890123456789' in edit.after


def test_an_event_with_half_a_pair_of_surrogates_opens_in_an_editor():
    half = {"event": "\ud83d", "user": "\u00e9"}

    assert editable_text(half).encode() == b'{"event":"\\ud83d","user":"\\u00e9"}'
    assert editable_text({"user": "\u00e9"}) == '{"user":"\u00e9"}'


@pytest.mark.parametrize(
    ("becomes", "says"),
    [
        (0, "was edited, but the job .* is not in the failed queue any more"),
        (
            QueueUnavailable("it is away"),
            "was edited, but its job was not put back: it is away. .*retry --id",
        ),
    ],
)
def test_an_edit_that_does_not_come_back_into_the_queue_says_so(
    queue, backend, bury, monkeypatch, becomes, says
):
    def replay(ids):
        if isinstance(becomes, Exception):
            raise becomes
        return becomes

    [job] = bury(batch(event("u1")))
    monkeypatch.setattr(backend, "replay", replay)
    with pytest.raises(QueueError, match=says):
        queue.edit(job, event("u1", name="Mended"))
    assert [each.action for each in queue.trail()] == ["edit"]


def test_an_event_without_a_message_id_is_named_by_its_place(queue, bury):
    foreign = {"type": "track", "userId": "u1", "event": "A"}
    [job] = bury(batch(foreign, foreign))
    with pytest.raises(ConfigError, match="2 events with the messageId None"):
        queue.edit(job, {**foreign, "event": "B"})
    with pytest.raises(ConfigError, match="none at 2"):
        queue.edit(job, {**foreign, "event": "B"}, index=2)
    with pytest.raises(ConfigError, match="must stay None"):
        queue.edit(job, {**foreign, "messageId": "new"}, index=1)
    queue.edit(job, {**foreign, "event": "B"}, index=1)
    assert [each["event"] for each in queue.events(job)] == ["A", "B"]


def test_only_a_failed_job_is_edited(queue, backend):
    job = batch(event("u1"))
    backend.commit([job])
    for job_id in (job.id, "never-stored"):
        with pytest.raises(QueueError, match="not in the failed queue"):
            queue.edit(job_id, event("u1", name="Mended"))


def test_an_edit_that_another_operator_overtakes_changes_nothing(queue, backend, bury, monkeypatch):
    [job] = bury(batch(event("u1"), event("u2")))
    payload = backend.payload

    def read_and_erase(job_id):
        found = payload(job_id)
        monkeypatch.setattr(backend, "payload", payload)
        Queue(backend).erase("u2")
        return found

    monkeypatch.setattr(backend, "payload", read_and_erase)
    with pytest.raises(QueueError, match="meanwhile"):
        queue.edit(job, event("u1", name="Mended"))
    assert queue.events(job) == [event("u1")], "what was erased must not come back"


def test_an_edit_keeps_what_was_delivered_or_erased_of_the_batch(queue, backend):
    job = batch(event("u0"), event("u1"), event("u2"), event("u3"))
    backend.commit([job])
    claim_soon(backend, "t")
    envelope = open_envelope(job.payload)
    rest = seal(envelope.split()[1:], cut=Cut(b"hhhh").keep([1, 2, 3], Cut.DONE), trace=b"spans")
    failure = Failure("rejected", "no", 3, rest, (1, 2, 3))
    backend.settle("t", [Settlement(job.id, SettlementKind.FAIL, failure=failure)])
    queue.erase("u3")
    queue.edit(job.id, event("u2", name="Mended"))
    stored = open_envelope(backend.payload(job.id))
    assert stored.cut.fates == b"dhhp"
    assert [json.loads(each)["event"] for each in stored.split()] == ["Order", "Mended"]
    assert backend.lookup([job.id]) == {job.id: None}


@pytest.mark.parametrize("name", ["Orders", "Ordes", "Order!"])
def test_the_stored_size_differs_so_that_no_producer_sends_what_was_replaced(queue, backend, bury, name):
    """A producer that has the payload in memory knows by its size alone that another one is stored."""
    [job] = bury(batch(event("u1", name="Order", note="a" * 300)))
    before = len(backend.payload(job))
    queue.edit(job, event("u1", name=name, note="a" * 300))
    assert len(backend.payload(job)) != before


def test_numbers_that_no_float_holds_are_kept(queue, bury, backend):
    [job] = bury(batch(event("u1")))
    text = '{"type":"track","messageId":"id-u1","userId":"u1","n":0.10,"big":123456789012345678901234567890}'
    queue.edit(job, text)
    assert open_envelope(backend.payload(job)).split() == [text.encode()]


# Erasure.


def test_an_erased_user_leaves_no_event_in_the_trail(queue, bury):
    one, two = bury(batch(event("u1")), batch(event("u2")))
    queue.edit(one, event("u1", name="Mended"))
    queue.edit(two, event("u2", name="Mended"))
    assert queue.erase("u1", dry_run=True).edits == 0
    done = queue.erase("u1")
    assert (done.events, done.edits, done.is_complete) == (1, 1, True)
    erase, kept, erased = queue.trail()
    assert (erase.action, erase.jobs) == ("erase", 1)
    assert (erased.action, erased.actor, erased.before, erased.after) == ("edit", "ann", None, None)
    assert json.loads(kept.after) == event("u2", name="Mended")
    assert "u1" not in str([erase, erased])
    assert queue.erase("u1").edits == 0


def test_an_event_that_an_edit_gave_to_another_user_is_erased_for_both(queue, bury):
    [job] = bury(batch(event("u1")))
    queue.edit(job, {**event("u1"), "userId": "u9"})
    assert queue.erase("u1").edits == 1
    assert queue.trail()[-1].after is None


def test_two_erasures_at_once_leave_nothing_of_either(queue, backend, bury, monkeypatch):
    [job] = bury(batch(event("u1")))
    queue.edit(job, {**event("u1"), "userId": "u2"})
    amend = backend.amend

    def amend_late(journal, position, expected, entry):
        monkeypatch.setattr(backend, "amend", amend)
        amend(journal, position, expected, expected.replace(b"Order", b"Other"))
        return amend(journal, position, expected, entry)

    monkeypatch.setattr(backend, "amend", amend_late)
    assert queue.erase("u1").edits == 1
    assert (queue.trail()[-1].before, queue.trail()[-1].after) == (None, None)


def test_an_entry_that_no_key_opens_makes_an_erasure_incomplete(backend, bury):
    [job] = bury(batch(event("u1")))
    Queue(EncryptedBackend(backend, Keyring([os.urandom(32)]))).edit(job, event("u1", name="Mended"))
    backend.purge(JobState.WAITING, [job])
    done = Queue(backend).erase("u1")
    assert (done.edits, done.unreadable_edits, done.is_complete) == (0, 1, False)


# Who.


def test_the_actor_is_who_the_environment_says_or_the_user_of_the_system():
    assert find_actor({"EVENTSPOOL_ACTOR": " ann "}) == "ann"
    user, _, host = find_actor({}).partition("@")
    assert user
    assert host == os.uname().nodename


def test_a_user_without_a_name_is_told_by_number(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert find_actor({}).startswith(f"{os.getuid()}@")
