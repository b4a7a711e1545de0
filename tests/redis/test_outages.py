"""What a server refuses, how we say it, and that nothing is lost or counted by it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import traceback

import pytest
import redis

from eventspool import QueueError
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering, RedisOpts
from eventspool._contract.tools import (
    bury,
    claim_soon,
    eventually,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    retry,
)
from eventspool._exceptions import QueueUnavailable
from eventspool._figures import Depth
from eventspool._job import PURGED, JobState, NewJob, new_job_id
from redis_servers import NEWEST, OLDEST, available_servers, make_backend, move_clock, running

CANARY = "canary-4711"


@pytest.fixture(params=[n for n in (OLDEST, *NEWEST) if n in available_servers()])
def broken(request):
    """A server of one's own, to break; with two leased jobs, one waiting and one failed."""
    with running(request.param) as server, redis.Redis.from_url(server.url, protocol=2) as raw:
        backend = make_backend(server)
        backend.open()
        [failed] = bury(backend, 1)
        jobs = [NewJob(new_job_id(), CANARY.encode() * 10, 1) for _ in range(3)]
        backend.commit(jobs)
        claim_soon(backend, "t", limit=2)
        yield Broken(server, raw, backend, jobs, failed)
        backend.close()


class Broken:
    def __init__(self, server, raw, backend, jobs, failed):
        self.server, self.raw, self.backend, self.failed = server, raw, backend, failed
        self.leased, self.waiting = jobs[:2], jobs[2]

    def writes(self):
        """Every call that writes, on one of the jobs."""
        held, backend = self.leased[0].id, self.backend
        yield lambda: backend.commit([NewJob(new_job_id(), CANARY.encode() * 50, 1)])
        yield lambda: backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60))
        yield lambda: backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60, probe=True))
        yield lambda: backend.ack([held])
        for settlement in (retry(held), release(held), fail(held, payload=CANARY.encode())):
            yield lambda settlement=settlement: backend.settle("t", [settlement])
        yield lambda: backend.renew("t", [held], visibility_timeout=60)
        yield lambda: backend.leave("t")
        yield lambda: backend.replay([self.failed])
        yield lambda: backend.purge(JobState.FAILED, [self.failed])

    def assert_refused(self, code):
        for write in self.writes():
            with pytest.raises(QueueUnavailable, match=rf"\({code}\)") as caught:
                write()
            assert_clean(caught.value)

    def assert_unharmed(self):
        """The same leases, the same attempts: none of the refused calls left a trace."""
        assert self.backend.stats().failed.jobs == 1
        assert self.backend.stats().leased.jobs == 2
        assert self.backend.settle("t", [release(job.id) for job in self.leased]) == [True, True]
        assert {j.id: j.attempts for j in claim_soon(self.backend, "u", limit=9)} == {
            job.id: 0 for job in (*self.leased, self.waiting)
        }
        assert self.backend.repair() == 0


def assert_clean(error):
    """Neither the error nor anything that hangs on to it tells of the payload or of the driver."""
    assert error.__cause__ is None
    assert error.__context__ is None
    text = "".join(traceback.format_exception(error)) + repr(error.args)
    assert CANARY not in text
    assert "redis.exceptions" not in text


def is_ready(raw):
    with contextlib.suppress(redis.ConnectionError):
        return raw.ping()


def test_a_full_server_takes_no_jobs_but_drains(broken):
    broken.raw.config_set("maxmemory", "1")
    with pytest.raises(QueueUnavailable, match=r"\(OOM\)") as caught:
        broken.backend.commit([NewJob(new_job_id(), CANARY.encode() * 50, 1)])
    assert_clean(caught.value)
    backend, (first, second), third = broken.backend, broken.leased, broken.waiting
    assert backend.renew("t", [first.id], visibility_timeout=60) == set()
    assert backend.settle("t", [retry(first.id)]) == [True]
    assert backend.settle("t", [fail(second.id, payload=b"rest")]) == [True]
    assert backend.payload(second.id) == b"rest"
    assert backend.replay([second.id]) == 1
    assert ids_of(backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60, probe=True)).jobs) == [
        third.id
    ]
    claimed = backend.claim("t", ClaimTerms(limit=9, visibility_timeout=60)).jobs
    assert {j.id: j.attempts for j in claimed} == {first.id: 1, second.id: 0}
    assert backend.ack([first.id, second.id, third.id]) == 3
    assert backend.purge(JobState.FAILED, [broken.failed]) == 1
    assert backend.lookup([broken.failed]) == {broken.failed: PURGED}
    assert backend.stats().waiting == backend.stats().failed == Depth()
    broken.raw.config_set("maxmemory", "0")
    assert broken.raw.hlen(backend._payloads) == 0


def test_a_full_server_drains_in_order(broken):
    fifo = make_backend(broken.server, ordering=Ordering.FIFO)
    jobs = new_jobs(3)
    fifo.commit(jobs)
    broken.raw.config_set("maxmemory", "1")
    for job in jobs:
        assert ids_of(fifo.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs) == [job.id]
        assert fifo.renew("t", [job.id], visibility_timeout=60) == set()
        assert fifo.ack([job.id]) == 1
    fifo.leave("t")
    fifo.close()


def test_on_a_full_server_whose_clock_is_set_back_time_goes_on(broken):
    backend, [first, second], third = broken.backend, broken.leased, broken.waiting
    backend.settle("t", [retry(first.id, delay=0.5)])
    move_clock(broken.raw, backend._prefix, -3600.0)
    broken.raw.config_set("maxmemory", "1")
    assert backend.stats().delayed.jobs == 1
    assert eventually(lambda: backend.stats().waiting.jobs == 2), "though it is only looked at"
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=60)).jobs) == [third.id, first.id]
    assert backend.ack([first.id, second.id, third.id]) == 3


def test_a_replica_whose_clock_is_behind_can_be_looked_at(broken):
    broken.backend.pause(False)  # notes the time
    move_clock(broken.raw, broken.backend._prefix, -3600.0)
    broken.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert broken.backend.stats().leased.jobs == 2
    assert broken.backend.stats().waiting.jobs == 1
    broken.raw.execute_command("REPLICAOF", "NO", "ONE")
    broken.assert_unharmed()


def test_a_replica_refuses_everything_and_nothing_is_counted(broken):
    broken.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    broken.assert_refused("READONLY")
    assert broken.backend.stats().leased.jobs == 2, "a replica can still be looked at"
    broken.raw.execute_command("REPLICAOF", "NO", "ONE")
    broken.assert_unharmed()


def test_a_server_without_its_replicas_refuses(broken):
    broken.raw.config_set("min-replicas-to-write", "1")
    broken.assert_refused("NOREPLICAS")
    broken.raw.config_set("min-replicas-to-write", "0")
    broken.assert_unharmed()


def test_a_server_that_cannot_save_refuses(broken):
    broken.raw.config_set("save", "3600 1")
    (broken.server.socket_path.parent / "dump.rdb").mkdir()
    broken.raw.bgsave()
    assert eventually(lambda: broken.raw.info("persistence")["rdb_last_bgsave_status"] == "err")
    broken.assert_refused("MISCONF")
    broken.raw.config_set("stop-writes-on-bgsave-error", "no")
    broken.assert_unharmed()


def test_a_server_that_is_loading_refuses(broken):
    # While it loads, a server looks up once in two megabytes.
    broken.raw.mset({f"filler-{n}": os.urandom(1 << 20) for n in range(50)})
    broken.raw.save()
    slow = ("--key-load-delay", "100000", "--rdbcompression", "no")
    broken.server._args = slow
    broken.server.restart()
    with pytest.raises(QueueUnavailable, match=r"\(LOADING\)") as caught:
        broken.backend.commit([NewJob(new_job_id(), CANARY.encode(), 1)])
    assert_clean(caught.value)
    with pytest.raises(QueueUnavailable, match=r"\(LOADING\)"):
        broken.backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60))
    broken.server._args = ()
    broken.server.restart()
    assert eventually(lambda: is_ready(broken.raw))
    broken.assert_unharmed()


def test_a_server_that_is_busy_refuses(broken):
    broken.raw.config_set("lua-time-limit", "1")

    def hog():
        with redis.Redis.from_url(broken.server.url) as client, pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=hog)
    thread.start()
    try:
        impatient = make_backend(broken.server, socket_timeout=30.0)
        with pytest.raises(QueueUnavailable, match=r"\(BUSY\)"):
            eventually(lambda: impatient.claim("t", ClaimTerms(limit=1, visibility_timeout=60)) and None)
        impatient.close()
    finally:
        broken.raw.execute_command("SCRIPT", "KILL")
        thread.join()
    broken.assert_unharmed()


@pytest.mark.filterwarnings(
    "ignore:.*unclosed:ResourceWarning"
)  # redis-py 5 drops the socket of a failed connect
@pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")
def test_a_dead_server_is_unavailable_and_comes_back(broken):
    broken.raw.save()
    broken.server.kill()
    for write in broken.writes():
        with pytest.raises(QueueUnavailable, match="cannot be reached") as caught:
            write()
        assert_clean(caught.value)
    with pytest.raises(QueueUnavailable):
        broken.backend.wait(5.0)
    broken.server.start()
    broken.assert_unharmed()


def test_a_frozen_server_times_out(broken):
    impatient = make_backend(broken.server, socket_timeout=1.0)

    def open_in_time():
        with contextlib.suppress(QueueUnavailable):
            impatient.open()
            return True

    assert eventually(open_in_time)
    os.kill(broken.server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(QueueUnavailable, match="in time") as caught:
            impatient.commit([NewJob(new_job_id(), CANARY.encode(), 1)])
    finally:
        os.kill(broken.server.pid, signal.SIGCONT)
    assert_clean(caught.value)
    impatient.close()


@pytest.mark.parametrize(
    ("password", "code"),
    [(None, "NOAUTH"), ("wrong-" + CANARY, "WRONGPASS")],
    ids=["no-password", "wrong-password"],
)
def test_a_refused_password_is_named_loudly_and_never_repeated(broken, password, code):
    broken.raw.config_set("requirepass", "right-" + CANARY)
    path = broken.server.socket_path
    url = f"unix://{path}" if password is None else f"unix://:{password}@{path}"
    refused = make_backend(url)
    with pytest.raises(QueueUnavailable, match=r"[A-Z ]{12}.*\(" + code) as caught:
        refused.open()
    assert_clean(caught.value)
    for call in (refused.stats, lambda: refused.commit([new_job()])):  # longer ones are not even read
        with pytest.raises(QueueUnavailable, match=r"[A-Z ]{12}.*\(" + code):
            call()
    refused.close()
    accepted = make_backend(f"unix://:right-{CANARY}@{path}")
    accepted.open()
    assert CANARY not in repr(accepted)
    accepted.close()


def test_a_missing_permission_is_named_loudly(broken):
    broken.raw.execute_command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", "-hsetnx", "-zadd")
    poor = make_backend(f"unix://poor:pw@{broken.server.socket_path}", queue_name="poor")
    with pytest.raises(QueueUnavailable, match="PERMISSION") as caught:
        poor.commit([NewJob(new_job_id(), CANARY.encode(), 1)])
    assert_clean(caught.value)
    poor.close()


def test_a_cluster_without_slots_is_down():
    with running(
        OLDEST if OLDEST in available_servers() else NEWEST[0], "--cluster-enabled", "yes"
    ) as server:
        backend = make_backend(server)
        with pytest.raises(QueueUnavailable, match=r"\(CLUSTERDOWN\)") as caught:
            backend.commit([NewJob(new_job_id(), CANARY.encode(), 1)])
        assert_clean(caught.value)
        backend.close()


def test_foreign_data_under_our_keys_is_an_error_that_says_what_to_do(broken):
    backend = make_backend(broken.server, queue_name="taken")
    for key in "dqm":
        broken.raw.flushall()
        broken.raw.set(f"test:{{taken:0}}:{key}", "mine")
        with pytest.raises(QueueError, match=r"'taken'.*WRONGTYPE.*prefix") as caught:
            backend.commit([NewJob(new_job_id(), CANARY.encode(), 1)])
        assert not isinstance(caught.value, QueueUnavailable), "waiting does not mend it"
        assert_clean(caught.value)
    backend.close()


def test_codes_are_looked_for_in_the_servers_words_only():
    """redis-py puts the command before them, and a payload may hold anything."""
    from eventspool._backends.redis.errors import translate

    payload = "Command # 1 (HSETNX k id OOM READONLY) of pipeline caused error: "
    assert "(WRONGTYPE)" in str(translate(redis.ResponseError(payload + "WRONGTYPE Operation"), "q"))
    wrapped = "Error running script (call to f_1): @user_script:7: @user_script: 7: -READONLY You can't write"
    assert "(READONLY)" in str(translate(redis.ResponseError(wrapped), "q"))
    strange = translate(redis.ResponseError(f"ERR {CANARY}"), "q")
    assert type(strange) is QueueError
    assert CANARY not in str(strange)
    assert CANARY not in str(translate(ValueError(CANARY), "q"))


def test_logs_hold_nothing_of_a_payload(broken, caplog):
    caplog.set_level(logging.DEBUG)
    broken.raw.config_set("maxmemory", "1")
    for write in broken.writes():
        with contextlib.suppress(QueueUnavailable):
            write()
    assert CANARY not in caplog.text


def test_a_flushed_server_starts_an_empty_queue(broken):
    """Under load: producers and a processor go on without an error."""
    stop = threading.Event()
    errors = []

    def load(token):
        backend = make_backend(broken.server, queue_name="load")
        try:
            while not stop.is_set():
                backend.commit([new_job()])
                claimed = ids_of(backend.claim(token, ClaimTerms(limit=2, visibility_timeout=60)).jobs)
                backend.renew(token, claimed, visibility_timeout=60)
                backend.settle(token, [retry(i) for i in claimed[:1]])
                backend.ack(claimed[1:])
        except Exception as error:
            errors.append(error)
        backend.close()

    threads = [threading.Thread(target=load, args=(token,)) for token in "ab"]
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(0.02)
        broken.raw.flushall()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    backend = make_backend(broken.server, queue_name="load")
    assert backend.repair() == 0
    backend.leave("a")
    backend.leave("b")
    backend.ack([j.id for j in backend.jobs(JobState.WAITING, limit=1000)])
    assert backend.stats().waiting == Depth()
    backend.close()


def test_opts_without_a_url_reach_the_same_server(broken):
    with running(NEWEST[1], port=0) as server:
        backend = make_backend(server)
        backend.open()
        backend.close()
    refused = make_backend("", opts=RedisOpts(port=1, socket_connect_timeout=0.5))
    with pytest.raises(QueueUnavailable, match="cannot be reached"):
        refused.open()
