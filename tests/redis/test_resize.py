"""The number of partitions changes while the queue is used: nothing is lost, and any process finishes what is half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from eventspool import QueueOpts, open_queue
from eventspool._backends import create_backend
from eventspool._backends.partitioned.ring import ROOT, Division, Part, Ring, read_ring
from eventspool._backends.redis.operated import _KEYS as KEYS
from eventspool._backends.redis.scripts import script
from eventspool._backends.redis.store import find_tag
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, bury, drain, eventually, ids_of, new_job, new_jobs
from eventspool._exceptions import ConfigError, QueueUnavailable
from eventspool._job import JobState
from eventspool._routing import Route
from redis_servers import new_queue_name

PROGRAM = Path(__file__).parent / "programs" / "sharing.py"


@pytest.fixture
def name():
    return new_queue_name()


@pytest.fixture
def factory(server, name):
    """Make opened handles on this test's own queue."""
    with ExitStack() as stack:

        def make(*, observe=False, **options):
            given = {"ordering": Ordering.NONE, **options}
            backend = create_backend(
                QueueOpts(url=server.url, queue_name=name, prefix="test", **given), observe=observe
            )
            stack.callback(backend.close)
            backend.open()
            return backend

        yield make


@pytest.fixture
def root(name):
    return f"test:{{{name}:0}}:"


def ring_of(raw, root):
    return read_ring((raw.hget(root + "m", "ring") or b"").decode())


def test_a_queue_grows_and_shrinks_while_it_is_used(factory, raw, root):
    producer, consumer, operator = factory(), factory(), factory(observe=True)
    stored, taken = [], []
    for partitions in (4, 2, 8, 1, 3):
        for _ in range(9):
            producer.commit(jobs := new_jobs(2))
            stored += ids_of(jobs)
        taken += (claimed := ids_of(drain(consumer, "t", limit=5)))
        consumer.ack(claimed)
        producer.commit(jobs := new_jobs(3))
        stored += ids_of(jobs)
        operator.resize(partitions)
        operator.resize(partitions)
        assert ring_of(raw, root).newest.partitions == partitions
        producer.commit(jobs := new_jobs(3))
        stored += ids_of(jobs)
    taken += (claimed := ids_of(drain(consumer, "t")))
    consumer.ack(claimed)
    assert sorted(taken) == sorted(stored)
    stats = operator.stats()
    assert (stats.accepted_events, stats.delivered_events) == (len(stored), len(stored))


def test_after_a_resize_new_jobs_go_to_the_new_partitions_alone(factory):
    producer = factory()
    producer.commit(new_jobs(5))
    producer.resize(2)
    for _ in range(4):
        assert producer.commit(new_jobs(1)).accepted == 1
    found = {(each.generation, each.number): each for each in producer.partitions()}
    assert {key: each.unfinished.jobs for key, each in found.items()} == {(0, 0): 5, (1, 0): 2, (1, 1): 2}
    assert [each.sealed for each in found.values()] == [True, False, False]


def test_what_is_empty_and_sealed_is_forgotten_and_still_counted(factory, raw, root, name):
    producer, consumer = factory(partitions=4), factory()
    for _ in range(8):
        producer.commit(new_jobs(1))
    producer.resize(2)
    purged, *others = [job.id for job in drain(consumer, "t")]
    consumer.ack(others)
    consumer.leave("t")
    assert consumer.purge(JobState.WAITING, [purged]) == 1
    old = [Part(1, 4, number) for number in range(4)]
    consumer._members.forget_empty()
    assert len(ring_of(raw, root).divisions) == 2, "one of them remembers that an operator has purged a job"
    for part in old:
        raw.delete(f"test:{{{find_tag(name, part)}}}:x")
    consumer._members.forget_empty()
    assert ring_of(raw, root).divisions == (Division(2, 2),)
    keys = [raw.keys(f"test:{{{find_tag(name, part)}}}:*") for part in old]
    assert all({key[-1:] for key in found} <= {b"m", b"c"} for found in keys), keys
    assert all(raw.hget(f"test:{{{find_tag(name, part)}}}:m", "sealed") == b"1" for part in old)
    for part in old:
        claim = producer._members.find(part).backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        assert (list(claim.jobs), claim.wait) == ([], None), (
            "a processor that knows an older ring finds nothing"
        )
    assert [raw.keys(f"test:{{{find_tag(name, part)}}}:*") for part in old] == keys
    stats = factory(observe=True).stats()
    assert (stats.accepted_events, stats.delivered_events, stats.purged_events) == (8, 7, 1)


def test_no_process_keeps_the_partitions_of_divisions_that_are_forgotten(factory):
    producer, consumer = factory(partitions=4), factory()
    for partitions in (2, 3, 4):
        epoch = producer.commit(jobs := new_jobs(1)).epoch
        assert ids_of(drain(consumer, "t")) == ids_of(jobs)
        consumer.ack(ids_of(jobs))
        producer.resize(partitions)
        consumer._members.refresh()
        consumer._members.forget_empty()
        producer._members.refresh()
        for backend in (producer, consumer):
            assert len(backend._members.known) <= 1 + partitions
        assert producer.lookup(ids_of(jobs), epoch=epoch) == {}


def test_a_producer_that_slept_through_two_resizes_stores_nothing_in_what_is_gone(factory, raw, root):
    sleeper, other = factory(partitions=4), factory()
    sleeper.commit(new_jobs(1))
    other.resize(2)
    other.ack(ids_of(drain(other, "t")))
    other._members.forget_empty()
    other.resize(3)
    other.ack(ids_of(drain(other, "t")))
    other._members.forget_empty()
    assert ring_of(raw, root).divisions == (Division(3, 3),)
    sleeper._members._read_at = time.monotonic() + 1000
    for _ in range(4):
        assert sleeper.commit(new_jobs(1)).accepted == 1
    assert len(drain(other, "t")) == 4


def test_a_lookup_by_an_epoch_of_what_is_gone_says_that_the_job_was_delivered(factory):
    producer, other = factory(partitions=2), factory()
    result = producer.commit(jobs := new_jobs(1))
    other.resize(3)
    other.ack(ids_of(drain(other, "t")))
    other._members.forget_empty()
    assert len(other._members.ring.divisions) == 1
    assert producer.lookup(ids_of(jobs), epoch=result.epoch) == {}


def test_a_failed_job_of_an_old_partition_is_kept_and_replayed_there(factory):
    backend = factory(partitions=2)
    [failed] = bury(backend, 1)
    backend.resize(4)
    backend._members.forget_empty()
    assert backend.replay([failed]) == 1
    assert ids_of(drain(backend, "t")) == [failed]


def test_a_pause_holds_for_the_new_partitions(factory):
    backend = factory()
    backend.pause(True)
    backend.resize(4)
    backend.commit(new_jobs(1))
    assert backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
    factory(observe=True).pause(False)
    assert eventually(lambda: backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs)


# -- half done -------------------------------------------------------------------------------------------------------------


def announce(raw, root, partitions):
    ring = ring_of(raw, root).announce(partitions)
    raw.hset(root + "m", "ring", str(ring))
    return ring


def keys_of(name, part):
    return [f"test:{{{find_tag(name, part)}}}:{key}" for key in KEYS]


def seal(raw, name, part):
    raw.eval(script("seal").source, len(KEYS), *keys_of(name, part))


@pytest.mark.parametrize("sealed", [0, 1, 2, 4], ids=lambda count: f"{count} sealed")
@pytest.mark.parametrize("finder", ["producer", "consumer", "operator", "newcomer"])
def test_whoever_finds_a_resize_half_done_finishes_it(factory, raw, root, name, sealed, finder):
    producer, consumer = factory(partitions=4), factory()
    producer.commit(before := new_jobs(2))
    announce(raw, root, 2)
    for part in Division(1, 4).parts[:sealed]:
        seal(raw, name, part)
    if finder == "operator":
        factory(observe=True).resize(2)
    elif finder == "newcomer":
        factory()
    elif finder == "producer":
        producer._members._read_at = float("-inf")
        producer.commit([])
    else:
        consumer._members._read_at = float("-inf")
        consumer.claim("u", ClaimTerms(limit=1, visibility_timeout=0.05))
    ring = ring_of(raw, root)
    assert (ring.newest, ring.is_announced) == (Division(2, 2), False)
    producer.commit(after := new_jobs(2))
    everything = {*ids_of(before), *ids_of(after)}
    assert eventually(lambda: {*ids_of(drain(consumer, "t"))} and producer.stats().waiting.jobs == 0)
    assert set(producer.lookup(list(everything))) == everything


def test_two_operators_at_once_agree(factory, raw, root):
    from concurrent.futures import ThreadPoolExecutor

    operators = [factory(observe=True) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: pair[1].resize(2 + pair[0] % 2), enumerate(operators)))
    ring = ring_of(raw, root)
    assert not ring.is_announced
    generations = [each.generation for each in ring.divisions]
    assert generations == sorted(set(generations))


def test_a_server_that_was_emptied_learns_the_ring_again_and_nothing_that_is_stored_later_is_lost(
    factory, raw, root
):
    producer, consumer = factory(partitions=4), factory()
    producer.commit(new_jobs(1))
    raw.delete(*keys_of(root[6:-4], ROOT))
    newcomer = factory(partitions=1)
    newcomer.commit(early := new_jobs(1))
    producer.commit(meanwhile := new_jobs(1))
    producer._members._read_at = float("-inf")
    producer.commit(later := new_jobs(1))
    assert ring_of(raw, root).newest == Division(1, 4)
    newcomer.commit(last := new_jobs(1))
    wanted = {*ids_of(early), *ids_of(meanwhile), *ids_of(later), *ids_of(last)}
    found: set[str] = set()
    assert eventually(lambda: wanted <= (found.update(ids_of(drain(consumer, "t"))) or found))


# -- order -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consumers", ["per_user", "none"])
def test_with_order_per_user_a_division_hands_out_nothing_before_the_ones_before_it_are_drained(
    factory, consumers
):
    """While one process keeps the order per user, all do, also one that was told that no order matters."""
    backend = factory(ordering="per_user", partitions=2)

    def make():
        return replace(new_job(), route=Route(backend.find_routing().generation, 0))

    old = [make(), make()]
    backend.commit(old)
    other = factory(ordering=consumers)
    assert other.find_routing() == backend.find_routing()
    outdated = make()
    other.resize(3)
    assert backend.commit([outdated]).stale == (outdated.id,)
    new = make()
    assert backend.commit([new]).accepted == 1
    first = other.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    assert ids_of(first) == [old[0].id]
    seen = ids_of(drain(other, "t"))
    assert new.id not in seen, "an older job of the same user may be under way"
    other.ack(ids_of(old))
    assert eventually(
        lambda: ids_of(other.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [new.id]
    )


def test_with_order_per_user_a_job_whose_commit_was_not_answered_is_not_made_anew_where_it_is_stored(factory):
    backend = factory(ordering="per_user", partitions=2)
    generation = backend.find_routing().generation
    stored, new = (replace(new_job(), route=Route(generation, 1)) for _ in range(2))
    backend.commit([stored])
    factory(ordering="per_user").resize(3)
    backend.commit([replace(new_job(), route=Route(generation, 0))])  # it hears of the new division
    assert backend.find_routing().partitions == 3
    result = backend.commit([stored, new])
    assert (result.accepted, result.duplicates, result.stale) == (0, 1, (new.id,))
    assert backend.lookup([stored.id], epoch=result.epoch) == {stored.id: None}


# -- refusals --------------------------------------------------------------------------------------------------------------


def test_a_queue_in_strict_order_is_not_divided(factory):
    fifo = factory(ordering=Ordering.FIFO)
    fifo.commit(new_jobs(1))
    with pytest.raises(ConfigError, match="strict order"):
        factory(observe=True).resize(4)


def test_a_resize_begins_only_where_every_partition_can_be_reached(factory, raw, root, monkeypatch):
    backend = factory(partitions=2)
    backend.commit(new_jobs(1))

    def fail(*_):
        raise QueueUnavailable("away")

    member = backend._members.find(Part(1, 2, 1))
    monkeypatch.setattr(member.backend, "read_ring", fail)
    with pytest.raises(QueueUnavailable):
        backend.resize(4)
    assert ring_of(raw, root) == Ring((Division(1, 2),))


def test_a_process_of_a_version_that_knows_no_partitions_finds_a_sealed_queue_full(factory, raw, root, name):
    """Its script looks at the totals alone. What of its jobs got in all the same is handed out."""
    backend = factory()
    backend.commit(new_jobs(1))
    backend.resize(4)
    old = script("commit").source.replace("is_sealed or ", "").replace("is_sealed and SEALED or ", "")
    assert "is_sealed and" not in old

    def commit(job):
        keys = [root + key for key in KEYS]
        return raw.eval(
            old, len(KEYS), *keys, "none", 1_000_000, 1 << 30, "producer", 0, job.id, "1", job.payload
        )

    refused = new_job()
    assert commit(refused)[4:] == [refused.id.encode()]
    assert len(drain(backend, "t")) == 1
    backend.ack([job.id for job in backend.jobs(JobState.LEASED, limit=9)])
    assert commit(refused)[4:] == [refused.id.encode()], "the queue is empty now, and still sealed"
    raw.hset(root + "m", "bytes", "0")  # as such a process does when it acknowledges the last job
    stray = new_job()
    assert commit(stray)[0] == 1
    assert eventually(lambda: [job.id for job in drain(backend, "t")]) == [stray.id]


# -- processes -------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.rotating("resizes under kills", seldom=True)
@pytest.mark.parametrize("seed", range(4))
def test_resizes_under_load_and_kills_lose_nothing_and_stall_nobody(server, raw, root, name, tmp_path, seed):
    """1 -> 4 -> 2 -> 8 partitions, with two producers and three consumers, of which one after another is killed."""
    report = resize_under_load(server.url, name, tmp_path, seed=seed, seconds=8.0)
    assert report["lost"] == 0
    assert report["acked"] > 1000
    assert report["worst_stall"] <= 1.0
    assert ring_of(raw, root).newest.partitions == 8


def resize_under_load(url, name, folder, *, seed, seconds, path=(4, 2, 8)):
    """Run it; return how many acknowledged jobs were lost, and the longest time that a commit took."""
    import random

    dice = random.Random(seed)

    def start(role, number):
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), role, url, name, str(folder / f"{role}-{number}.log")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    running = {("produce", n): start("produce", n) for n in range(2)}
    running |= {("consume", n): start("consume", n) for n in range(3)}
    numbers = iter(range(100, 1000))
    resized: list[tuple[float, float]] = []
    try:
        with open_queue(url, queue_name=name, prefix="test") as queue:
            assert eventually(lambda: queue.stats().accepted_events > 100)
            steps = iter(path)
            began = time.monotonic()
            resize_at = began + seconds / 6
            while (now := time.monotonic()) < began + seconds:
                if now >= resize_at and (goal := next(steps, None)):
                    at = time.time()
                    queue.resize(goal)
                    resized.append((at, time.time()))
                    resize_at = now + seconds / 4
                victim = dice.choice([key for key in running if key[0] == "consume"])
                time.sleep(dice.uniform(0.2, 0.6))
                process = running.pop(victim)
                process.kill()
                process.wait()
                number = next(numbers)
                running["consume", number] = start("consume", number)
            for key in [key for key in running if key[0] == "produce"]:
                running[key].send_signal(signal.SIGTERM)
                assert running.pop(key).wait(30) == 0
            assert eventually(lambda: is_empty(queue), 60), queue.stats()
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    acked = lines(folder, "produce")
    taken = lines(folder, "consume")
    return {
        "acked": len(acked),
        "lost": len({each[1] for each in acked} - {each[1] for each in taken}),
        "worst_stall": max(float(each[2]) for each in acked),
        "resized": resized,
        "duplicates": len(taken) - len({each[1] for each in taken}),
    }


def is_empty(queue):
    stats = queue.stats()
    return not (stats.waiting.jobs or stats.delayed.jobs or stats.leased.jobs)


def lines(folder, role):
    return [
        line.split()
        for path in folder.glob(f"{role}-*.log")
        for line in path.read_text().splitlines()
        if line.count(" ") >= 1 + (role == "produce") and line.endswith(".")
    ]
