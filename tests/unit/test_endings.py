"""What became of jobs is recorded and told, also where the queue cannot tell it of some of them."""

from __future__ import annotations

from types import SimpleNamespace

from eventspool._contract.tools import fail
from eventspool._delivery import endings as module
from eventspool._delivery.endings import Endings
from eventspool._exceptions import QueueUnavailable


class Queue:
    """A queue that refuses what is settled of *refused*, and cannot be asked about it while it is away."""

    def __init__(self, *refused):
        self.refused = refused
        self.is_away = True
        self.asked = []

    def settle(self, token, settlements):
        return [each.job_id not in self.refused for each in settlements]

    def lookup(self, ids):
        self.asked += ids
        if self.is_away:
            raise QueueUnavailable("one partition is away")
        return {job_id: fail(job_id).failure for job_id in ids}


def test_what_the_queue_cannot_tell_keeps_nothing_else_and_is_asked_again_later(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    queue, told = Queue("first", "second"), []
    endings = Endings(queue, "t", told.append)
    for job_id in ("first", "second", "third"):
        endings.add(fail(job_id))
    assert endings.settle()
    endings.tell()
    assert [end.job_id for end in told] == ["third"]
    assert queue.asked == ["first"], "once in a while is enough"
    assert not endings.are_urgent
    assert endings.deal_with("second")
    clock.now += 1.0
    assert endings.are_urgent
    queue.is_away = False
    endings.tell()
    assert [end.job_id for end in told] == ["third", "first", "second"]
    assert not endings.are_urgent
