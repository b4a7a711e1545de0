"""A queue on a cluster, and behind sentinels: found by every address, told for what is wrong, and found again."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from dataclasses import replace

import pytest
import redis
import redis.sentinel

from eventspool import QueueError
from eventspool._backends import create_backend
from eventspool._backends.redis.replication import Replication
from eventspool._backends.redis.shared import SharedSource
from eventspool._claim import ClaimTerms
from eventspool._config import QueueOpts, RedisOpts
from eventspool._contract.suite import QueueContract
from eventspool._contract.tools import LONG, claim_soon, eventually, ids_of, new_job, new_jobs
from eventspool._doctor.redis_checks import check_redis
from eventspool._doctor.redis_facts import ask_redis, examine_redis
from eventspool._exceptions import QueueUnavailable
from redis_clusters import MASTER, running_cluster, running_sentinels
from redis_servers import (
    NEWEST,
    OLDEST,
    available_servers,
    documented_acl,
    make_backend,
    new_queue_name,
    running,
)

PASSWORD = "canary-password"
SERVERS = [name for name in (NEWEST[0], NEWEST[1], OLDEST) if name in available_servers()]


def kinds(what):
    """Return a parameter for each server; all tests of one are in one share, as it takes seconds to start."""
    return [
        pytest.param(
            name,
            id=f"{what} of {name}",
            marks=pytest.mark.rotating("topologies", f"{what} {name}", seldom=True),
        )
        for name in SERVERS
    ]


@pytest.fixture(scope="module", params=kinds("cluster"))
def cluster(request):
    with running_cluster(request.param) as found:
        yield found


@pytest.fixture(scope="module", params=kinds("sentinels"))
def watched(request):
    with running_sentinels(request.param) as found:
        yield found


def prefix_of(name):
    return f"test:{{{name}:0}}:"


def use(backend):
    """Do everything that producers, processors and operators do, once."""
    backend.open()
    jobs = new_jobs(3)
    assert backend.commit(jobs).accepted == 3
    assert ids_of(claim_soon(backend, "t", limit=3)) == ids_of(jobs)
    assert backend.renew("t", ids_of(jobs), visibility_timeout=LONG) == set()
    assert backend.stats().leased.jobs == 3
    assert backend.ack(ids_of(jobs)) == 3
    backend.wait(0.01)
    backend.close()


def tell(call):
    """Return what *call* says that is wrong; neither a password nor a word of the driver's."""
    with pytest.raises(QueueError) as caught:
        call()
    text = f"{caught.value!r} {caught.value.__context__!r}"
    assert PASSWORD not in text
    assert "redis.exceptions" not in text
    return str(caught.value)


def examine(url, **more):
    found = check_redis(ask_redis(RedisOpts(url=url), prefix="test", queue_name="examined", **more))
    return {each.check: f"{each.what} {each.action}" for each in found}


# Clusters


def test_any_nodes_url_works_like_the_owners(cluster, caplog):
    caplog.set_level(logging.WARNING)
    names = []
    for node in cluster.nodes:
        name = new_queue_name()
        names.append(name)
        use(make_backend(node.url, queue_name=name))
    said = [r.getMessage() for r in caplog.records if "write redis+cluster://" in r.getMessage()]
    owners = [cluster.owner(prefix_of(name)) is node for name, node in zip(names, cluster.nodes, strict=True)]
    assert len(said) == owners.count(False) > 0, "once for each that was led on"


def test_a_cluster_is_found_by_any_node_of_its_url(cluster):
    for node in cluster.nodes:
        use(make_backend(f"redis+cluster://127.0.0.1:{node.port}"))
    use(make_backend(f"valkey+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[-1].port}"))


@pytest.mark.rotating("a contract on a cluster", turns=3)
class TestCluster(QueueContract):
    @pytest.fixture
    def backend_factory(self, cluster):
        name = new_queue_name()
        made = []

        def factory(**options):
            backend = make_backend(cluster.url, queue_name=name, **options)
            backend.open()
            made.append(backend)
            return backend

        yield factory
        for backend in made:
            backend.close()


def test_partitions_share_one_client_for_each_node(cluster):
    source = SharedSource(RedisOpts(url=cluster.url))
    backends = [
        make_backend(cluster.url, queue_name=f"{new_queue_name()}-{n}", source=source) for n in range(12)
    ]
    for backend in backends:
        backend.open()
        assert backend.commit([new_job()]).accepted == 1
    clients = {id(backend._connection._client) for backend in backends}
    assert 1 < len(clients) <= 3
    backends[0].close()
    assert all(backend.stats().waiting.jobs == 1 for backend in backends), (
        "closing one leaves the others their clients"
    )
    for backend in backends:
        backend.close()
    source.close()


def test_a_slot_that_moves_is_followed_at_once_and_by_who_waits(cluster):
    name = new_queue_name()
    backend, other = (make_backend(cluster.url, queue_name=name) for _ in range(2))
    backend.open()
    backend.commit(new_jobs(2))
    assert len(claim_soon(backend, "t", limit=9)) == 2
    backend.wait(0.01)
    heard = []
    thread = threading.Thread(target=lambda: heard.append(_wait_through(backend)))
    thread.start()
    time.sleep(0.2)
    cluster.move_slot(prefix_of(name))
    assert backend.stats().leased.jobs == 2, "MOVED is no outage"
    assert other.commit([new_job()]).accepted == 1
    thread.join(20)
    assert heard == [True]
    for each in (backend, other):
        each.close()


def _wait_through(backend):
    """Wait for a job as a processor does, which goes on after an outage."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if backend.wait(5.0):
                return True
        except QueueUnavailable:
            time.sleep(0.05)
    return False


def test_a_slot_that_is_on_its_way_is_an_outage_that_is_told_so(cluster):
    name = new_queue_name()
    backend = make_backend(cluster.url, queue_name=name)
    backend.open()
    backend.commit(new_jobs(2))
    source = cluster.owner(prefix_of(name))
    [target, *_] = [n for n in cluster.nodes if n is not source and n.role() == "master"]
    slot = source.ask("CLUSTER", "KEYSLOT", prefix_of(name))
    ids = [str(each.ask("CLUSTER", "MYID")) for each in (source, target)]
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    said = tell(lambda: backend.commit([new_job()]))
    assert "the cluster is moving the queue to another node" in said
    assert re.search(r"\((TRYAGAIN|ASK)\)", said)
    for each in (source, target):
        each.ask("CLUSTER", "SETSLOT", slot, "STABLE")
    assert backend.commit([new_job()]).accepted == 1
    assert {job.attempts for job in claim_soon(backend, "t", limit=3)} == {0}
    backend.close()


def test_doctor_knows_a_cluster_and_what_it_cannot_move(cluster):
    node = cluster.owner("test:{examined:0}:doctor")
    other = next(each for each in cluster.nodes if each is not node)
    assert f"write redis+cluster://127.0.0.1:{node.port}" in examine(node.url)["redis.cluster"]
    assert f"write redis+cluster://127.0.0.1:{node.port}" in examine(other.url)["redis.cluster"]
    assert "redis.cluster" not in examine(cluster.url)
    is_old = "valkey_version" not in node.client.info("server") or OLDEST in str(node.server._binary)
    assert ("redis.slot_size" in examine(cluster.url, max_bytes=1 << 30)) == is_old
    assert "redis.slot_size" not in examine(cluster.url, max_bytes=1 << 28)


def test_a_queue_of_many_small_partitions_is_not_said_to_be_too_large_to_move(cluster, caplog):
    name = new_queue_name()
    divided = QueueOpts(url=cluster.url, queue_name=name, prefix="test", ordering="none", partitions=8)
    undivided = replace(divided, queue_name=new_queue_name(), partitions=1)
    is_old = "redis.slot_size" in examine(cluster.url, max_bytes=1 << 30)
    for opts, warned in [(divided, False), (replace(divided, partitions=1), False), (undivided, is_old)]:
        caplog.clear()
        backend = create_backend(opts)
        backend.open()
        backend.close()
        assert any("a partition is full at" in each.message for each in caplog.records) == warned
        found, _ = examine_redis(opts)
        assert any(each.check == "redis.slot_size" for each in found) == warned


def test_the_least_user_finds_the_queue_on_a_cluster(cluster):
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "least", "reset", "on", f">{PASSWORD}", "~test:*", *documented_acl())
    use(make_backend(cluster.url.replace("://", f"://least:{PASSWORD}@")))
    said = tell(make_backend(cluster.url.replace("://", f"://least:x{PASSWORD}@")).open)
    assert said.count("REFUSES THE USER NAME OR PASSWORD") == len(cluster.nodes)


def test_nodes_that_do_not_answer_are_all_named(unused_port):
    said = tell(make_backend(f"redis+cluster://:{PASSWORD}@127.0.0.1:{unused_port},nowhere.invalid:7").open)
    assert f"the node at 127.0.0.1:{unused_port} cannot be reached: nothing listens there" in said
    assert (
        "the node at nowhere.invalid:7 cannot be reached: there is no address for that host name (DNS)"
        in said
    )


def test_a_server_that_is_no_node_is_told(unused_port):
    with running(NEWEST[0], port=unused_port):
        said = tell(make_backend(f"redis+cluster://127.0.0.1:{unused_port}").open)
    assert f"the node at 127.0.0.1:{unused_port} is no node of a cluster" in said


# Ready-made clients


def test_a_ready_made_client_of_a_cluster_leads_to_it_and_is_left_alone(cluster):
    [host, *_] = cluster.nodes
    theirs = redis.RedisCluster(host="127.0.0.1", port=host.port, decode_responses=True)
    backend = make_backend("", opts=RedisOpts(client=theirs))
    use(backend)
    theirs.set("mine", "1")
    theirs.close()
    use(backend)


def test_a_ready_made_client_of_sentinels_leads_to_the_master(watched):
    places = [("127.0.0.1", each.port) for each in watched.sentinels]
    sentinels = redis.sentinel.Sentinel(places, socket_timeout=2.0)
    theirs = sentinels.master_for(MASTER, decode_responses=True, db=2)
    backend = make_backend("", opts=RedisOpts(client=theirs))
    use(backend)
    theirs.close()
    use(backend)
    for each in sentinels.sentinels:
        each.close()


# Sentinels


class TestSentinel(QueueContract):
    @pytest.fixture
    def backend_factory(self, watched):
        name = new_queue_name()
        made = []

        def factory(**options):
            backend = make_backend(watched.url, queue_name=name, **options)
            backend.open()
            made.append(backend)
            return backend

        yield factory
        for backend in made:
            backend.close()


def test_the_master_is_found_while_one_sentinel_answers(watched):
    alive = watched.sentinels[-1].port
    use(make_backend(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{alive}/{MASTER}/1"))
    use(make_backend(f"valkey+sentinel://127.0.0.1:{alive}/{MASTER}"))


def test_what_sentinels_do_not_know_is_told(watched):
    first, *_ = watched.sentinels
    said = tell(make_backend(f"redis+sentinel://127.0.0.1:{first.port},127.0.0.1:1/other").open)
    assert f"the one at 127.0.0.1:{first.port} knows no master 'other'" in said
    assert "the one at 127.0.0.1:1 cannot be reached: nothing listens there" in said
    master = watched.master()
    said = tell(make_backend(f"redis+sentinel://127.0.0.1:{master.port}/{MASTER}").open)
    assert f"the one at 127.0.0.1:{master.port} is no sentinel" in said


def test_a_sentinels_port_as_that_of_a_server_is_told_with_what_to_write(watched):
    first, *_ = watched.sentinels
    for tail in ("", "/1"):
        backend = make_backend(f"redis://127.0.0.1:{first.port}{tail}")
        for call in (backend.open, lambda backend=backend: backend.commit([new_job()])):
            said = tell(call)
            assert (
                f"is a sentinel, which keeps no queue: write redis+sentinel://127.0.0.1:{first.port}/{MASTER}"
                in said
            )
        backend.close()
    found = examine(f"redis://127.0.0.1:{first.port}")
    assert f"write redis+sentinel://127.0.0.1:{first.port}/{MASTER}" in found["redis.role"]
    assert found.keys() == {"redis.role"}


def test_a_replica_names_its_master(watched):
    master = watched.master()
    replica = next(each for each in watched.nodes if each is not master)
    backend = make_backend(replica.url)
    said = tell(lambda: backend.commit([new_job()]))
    assert (
        f"it is a read-only replica, perhaps after a failover; its master is 127.0.0.1:{master.port} (READONLY)"
        in said
    )
    backend.close()
    assert f"its master is 127.0.0.1:{master.port}" in examine(replica.url)["redis.role"]
    assert "min-replicas-to-write" in examine(watched.url)["redis.replicas"]


def test_a_demoted_master_keeps_nobody_waiting(watched):
    backend = make_backend(watched.url)
    backend.open()
    heard = []
    thread = threading.Thread(target=lambda: heard.append(_wait_through(backend)))
    thread.start()
    time.sleep(0.2)
    watched.fail_over()

    def commit():
        try:
            return backend.commit([new_job()]).accepted == 1
        except QueueUnavailable:
            return False

    assert eventually(commit, timeout=20)
    began = time.monotonic()
    thread.join(20)
    assert heard == [True]
    assert time.monotonic() - began < 3.0
    backend.close()


def test_a_commit_that_is_to_be_confirmed_leaves_a_master_that_answers_and_has_been_replaced(watched):
    backend, jobs = make_backend(watched.url, replication=Replication(1, 0.3)), [new_job(), new_job()]

    def commit(job):
        with contextlib.suppress(QueueUnavailable):  # a machine that is busy with other tests may need longer
            return backend.commit([job]).epoch
        return ""

    assert eventually(lambda: commit(jobs[0]), timeout=20)
    old = watched.master()
    old.ask("ACL", "SETUSER", "default", "-replicaof", "-slaveof")  # so the sentinels cannot tell it
    watched.fail_over()
    assert eventually(lambda: old.client.info("replication")["connected_slaves"] == 0, timeout=20)
    assert eventually(lambda: commit(jobs[1]), timeout=20)
    assert old.role() == "master"
    assert backend.lookup(ids_of(jobs[1:])) == {jobs[1].id: None}
    backend.close()
    old.ask("ACL", "SETUSER", "default", "+replicaof", "+slaveof")
    old.ask("REPLICAOF", "127.0.0.1", watched.master().port)
    watched.wait_until_whole()


def test_sentinels_that_want_a_password_say_so():
    lines = (f"requirepass {PASSWORD}",)
    with running_sentinels(replicas=0, sentinel_lines=lines, wait=False) as watched:
        said = tell(make_backend(watched.url).open)
        assert said.count("REQUIRES A PASSWORD of its own") == 3
        said = tell(make_backend(f"{watched.url}?sentinel_password=x{PASSWORD}").open)
        assert said.count("REFUSES THE USER NAME OR PASSWORD") == 3
        use(make_backend(f"{watched.url}?sentinel_password={PASSWORD}"))


def test_a_forked_child_looks_for_the_queue_by_itself(cluster):
    backend = make_backend(cluster.url)
    backend.open()
    backend.commit(new_jobs(2))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            backend.abandon()
            [job] = backend.claim("child", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
            status = 0 if backend.ack([job.id]) == 1 else 2
            backend.close()
        finally:
            os._exit(status)
    for _ in range(20):
        assert backend.stats() is not None
    assert os.waitpid(pid, 0)[1] == 0
    assert len(claim_soon(backend, "t", limit=2)) == 1
    backend.close()
