"""A process that is killed again and again: only what it was sending pays for that."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from e2e.harness import Store, eventually, new_queue_name
from shares import taking_turns

JOBS = 40
WORKER = """
import json, sys, time, eventspool
client = eventspool.Client("canary-write-key", data_plane_url=sys.argv[1], persistence=json.loads(sys.argv[2]))
client.flush(timeout=0.01)
time.sleep(600)
"""


@pytest.fixture(params=taking_turns("sqlite", "redis"))
def store(request, tmp_path):
    """A queue on a file or a server."""
    if request.param == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    return Store("redis", request.getfixturevalue("redis_server").url, new_queue_name())


@pytest.mark.slow
def test_a_crash_loop_fails_no_batch_that_was_never_sent(clients, plane, store):
    """With a data plane that hangs, so that each process dies amid the request that it began with."""
    opts = store.opts(is_multi_processor=True, job_opts={"visibility_timeout": 2.0, "max_attempts": 3})
    producer = clients(persistence=opts, process=False, flush_at=1, durability="persisted")
    tracked = [producer.track("u1", "E") for _ in range(JOBS)]
    plane.script({"latency": 600.0})
    for _ in range(5):
        before = plane.stats().requests
        worker = subprocess.Popen([sys.executable, "-c", WORKER, plane.url, json.dumps(opts)])
        eventually(lambda before=before: plane.stats().requests > before)
        time.sleep(0.3)  # whatever it fetches ahead, it has
        worker.kill()
        worker.wait()
        with store.open() as queue:
            eventually(lambda queue=queue: not queue.stats().leased.jobs)
    plane.script()
    sent = set(plane.unique_ids())
    assert len(sent) < JOBS, "then there is nothing to see"
    clients(persistence=opts).flush()
    with store.open() as queue:
        eventually(
            lambda: (
                not (queue.stats().waiting.jobs or queue.stats().leased.jobs or queue.stats().delayed.jobs)
            )
        )
        failed = {queue.events(job.id)[0]["messageId"] for job in queue.jobs("failed", limit=JOBS)}
    assert failed <= sent
    assert set(tracked) - failed <= set(plane.unique_ids())
