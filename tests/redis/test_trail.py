"""An event is edited and the trail kept in a queue of several partitions, encrypted, as in every other."""

from __future__ import annotations

import base64
import json
import os

import pytest
import redis

from eventspool import QueueOpts, open_queue
from eventspool._backends import create_backend
from eventspool._contract.tools import claim_soon, fail, ids_of
from eventspool._envelope import seal
from eventspool._job import NewJob, new_job_id
from redis_servers import NEWEST, new_queue_name, running


@pytest.fixture(scope="module")
def newest():
    with running(NEWEST[0]) as server:
        yield server


def test_an_edit_and_the_trail_in_a_divided_and_encrypted_queue(newest):
    key = base64.b64encode(os.urandom(32)).decode()
    name = new_queue_name()
    opts = QueueOpts(url=newest.url, queue_name=name, partitions=3, ordering="none", encryption_key=key)
    events = [
        {"type": "track", "event": "Secret", "userId": f"u{n}", "messageId": f"id-{n}"} for n in range(6)
    ]
    jobs = [NewJob(new_job_id(), seal([json.dumps(each).encode()]), 1) for each in events]
    backend = create_backend(opts)
    backend.open()
    try:
        for job in jobs:
            backend.commit([job])
        left = len(jobs)
        while left:
            claimed = claim_soon(backend, "t", limit=left)
            backend.settle("t", [fail(each.id) for each in claimed])
            left -= len(claimed)
        with open_queue(newest.url, name, encryption_key=key, actor="ann") as queue:
            for job, event in zip(jobs[:2], events[:2], strict=True):
                queue.edit(job.id, {**event, "event": "Mended"})
                assert queue.events(job.id)[0]["event"] == "Mended"
            assert sorted(ids_of(queue.jobs("waiting"))) == sorted(ids_of(jobs[:2]))
            queue.resize(2)
            told = [(each.actor, each.action) for each in queue.trail()]
            assert told == [("ann", "resize"), ("ann", "edit"), ("ann", "edit")]
            assert queue.erase("u0").edits == 1
            assert [each.after is None for each in queue.trail()] == [True, True, False, True]
        with open_queue(newest.url, name) as blind:
            assert {each.action for each in blind.trail()} == {"unreadable"}
        with redis.Redis.from_url(newest.url) as raw:
            stored = [raw.hvals(each) for each in raw.scan_iter("*:j")]
        assert stored
        assert b"Secret" not in b"".join(value for values in stored for value in values)
    finally:
        backend.close()
