"""What a look-up says after an operator emptied or purged the queue, or the server came back without its data."""

from __future__ import annotations

import pytest

from eventspool._contract.tools import eventually, ids_of, new_jobs
from eventspool._exceptions import QueueUnavailable
from eventspool._job import LOST, PURGED, JobState
from redis_servers import NEWEST, make_backend, running


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_jobs_are_lost_with_the_database(command):
    with running(NEWEST[1]) as server:
        backend = make_backend(server)
        [before], [after] = new_jobs(1), new_jobs(1)
        epoch = backend.commit([before]).epoch
        backend._connection.execute(command)
        assert backend.lookup([before.id], epoch=epoch) == {before.id: LOST}
        second = backend.commit([after]).epoch
        assert second not in ("", epoch)
        assert backend.lookup([before.id, after.id], epoch=epoch) == {before.id: LOST, after.id: None}
        backend.ack([after.id])
        assert backend.lookup([after.id], epoch=second) == {}
        backend.close()


@pytest.mark.parametrize("aof", [None, "always"])
def test_a_server_that_kept_its_data_is_the_same_queue_and_one_that_did_not_is_another(aof):
    with running(NEWEST[0], aof=aof) as server:
        backend = make_backend(server)
        jobs = new_jobs(2)
        epoch = backend.commit(jobs).epoch
        backend.ack([jobs[0].id])
        server.restart()
        assert eventually(lambda: found(backend, jobs, epoch) is not None)
        expected = {jobs[1].id: None} if aof else dict.fromkeys(ids_of(jobs), LOST)
        assert found(backend, jobs, epoch) == expected
        backend.close()


def test_what_is_missing_in_a_restored_snapshot_is_lost():
    """Although the snapshot is of the same queue. So are a replica that was behind, and a file that a power cut has shortened."""
    with running(NEWEST[0]) as server:
        backend = make_backend(server)
        [before], [after] = new_jobs(1), new_jobs(1)
        epoch = backend.commit([before]).epoch
        backend._connection.execute("SAVE")
        assert backend.commit([after]).epoch == epoch
        server.restart()
        assert eventually(lambda: found(backend, [before, after], epoch) is not None)
        assert found(backend, [before, after], epoch) == {before.id: None, after.id: LOST}
        backend.close()


def test_of_a_job_that_another_process_committed_nothing_is_concluded():
    """A known limit: as where another process has moved it out of a spill file that both use."""
    with running(NEWEST[0]) as server:
        backend, other = (make_backend(server, queue_name="shared") for _ in range(2))
        [before], [after] = new_jobs(1), new_jobs(1)
        epoch = backend.commit([before]).epoch
        backend._connection.execute("SAVE")
        other.commit([after])
        server.restart()
        assert eventually(lambda: found(backend, [before, after], epoch) is not None)
        assert found(backend, [before, after], epoch) == {before.id: None}
        backend.close()
        other.close()


def found(backend, jobs, epoch):
    try:
        return backend.lookup(ids_of(jobs), epoch=epoch)
    except QueueUnavailable:
        return None


def test_a_queue_of_an_older_release_gets_its_epoch_with_the_next_commit(make, raw):
    backend = make()
    backend.commit(new_jobs(1))
    raw.hdel(f"{make.prefix}m", "epoch")
    epoch = backend.commit(new_jobs(1)).epoch
    assert epoch
    assert make().commit(new_jobs(1)).epoch == epoch


def test_purged_jobs_are_forgotten_after_a_day(make, raw):
    backend = make()
    [before], [after] = new_jobs(1), new_jobs(1)
    key = f"{make.prefix}x"
    backend.commit([before, after])
    backend.purge(JobState.WAITING, [before.id])
    raw.zincrby(key, -86_400e6, before.id)
    backend.purge(JobState.WAITING, [after.id])
    assert backend.lookup(ids_of([before, after])) == {after.id: PURGED}
    assert raw.zcard(key) == 1
