"""A queue over several partitions is one queue: it keeps the contract, and one partition that is away stops only itself."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from eventspool._backends import create_backend
from eventspool._backends.partitioned.backend import PartitionedBackend
from eventspool._backends.partitioned.ring import ROOT, Division, Ring
from eventspool._backends.redis.store import find_tag
from eventspool._claim import LIMITED, ClaimTerms
from eventspool._config import Ordering, QueueOpts
from eventspool._contract.suite import QueueContract
from eventspool._contract.tools import LONG, bury, drain, eventually, ids_of, new_job, new_jobs, retry
from eventspool._exceptions import ConfigError, QueueError, QueueUnavailable, Unconfirmed
from eventspool._figures import Depth
from eventspool._job import LOST, CommitResult, JobState, new_job_id
from eventspool._operate.diagnosis import diagnose, find_obstacle, observe
from eventspool._operate.overview import count_jobs
from eventspool._operate.queue import Queue
from eventspool._routing import Route, Routing
from partitioned_queues import make_partitioned
from redis_servers import NEWEST, make_backend, new_queue_name, running


class Partitioned(QueueContract):
    """What holds of every queue holds of one with partitions, too, but where the order of several commits is concerned."""

    partitions = 4

    @pytest.fixture
    def backend_factory(self, server):
        name = new_queue_name()
        with ExitStack() as stack:

            def make(ordering=Ordering.NONE, **options):
                # A queue that keeps an order is tried with one partition: the contract's jobs name no user.
                partitions = self.partitions if ordering is Ordering.NONE else 1
                backend = make_partitioned(
                    [server], name, ordering=ordering, partitions=partitions, **options
                )
                stack.callback(backend.close)
                backend.open()
                return backend

            yield make


@pytest.mark.rotating("a contract through one partition", turns=3)
class TestUndivided(Partitioned):
    partitions = 1


class TestPartitioned(Partitioned):
    def test_what_is_gone_is_lost_where_the_queue_is_not_the_one_that_took_it(self, backend, other):
        kept, gone = new_jobs(2)
        epoch = backend.commit([kept, gone]).epoch
        assert epoch
        backend.ack([gone.id])
        both = [gone.id, kept.id]
        assert other.lookup(both) == other.lookup(both, epoch=epoch) == {kept.id: None}
        emptied = epoch.rpartition("/")[0] + "/1"
        assert other.lookup(both, epoch=emptied) == {gone.id: LOST, kept.id: None}

    def test_all_processors_together_are_handed_out_what_the_rate_allows(self, backend, other):
        """Of the rate each partition has its part."""
        backend.commit([new_job(1) for _ in range(200)])
        terms = {"limit": 200, "visibility_timeout": LONG, "events_per_second": 40.0}
        began, handed = time.monotonic(), 0
        for each in (backend, other, backend, other):
            handed += len(each.claim("t", ClaimTerms(**terms)).jobs)
        assert 0 < handed <= 40 + 40 * (time.monotonic() - began) + 8

    def test_a_job_larger_than_the_burst_goes_after_a_silence_and_is_paid_for_afterwards(self, backend):
        backend.commit([new_job(100)])
        terms = {"limit": 1, "visibility_timeout": LONG, "events_per_second": 5.0}
        assert len(backend.claim("t", ClaimTerms(**terms)).jobs) == 1

    def test_concurrent_commits_store_each_job_once(self, backend, other):
        """It holds for jobs that come out of another queue, one step after the other; two producers never make one job."""
        jobs = [replace(job, is_foreign=True) for job in new_jobs(20)]
        assert backend.commit(jobs[:15]).accepted == 15
        assert other.commit(jobs[5:]) == CommitResult(5, duplicates=10)
        assert backend.stats().waiting.jobs == 20

    def test_jobs_beyond_max_jobs_are_rejected_and_the_rest_stored(self, backend_factory):
        backend = backend_factory(max_jobs=8)
        jobs = new_jobs(10)
        result = backend.commit(jobs)
        assert (result.accepted, len(result.rejected)) == (8, 2)
        assert backend.lookup(ids_of(jobs)).keys() == set(ids_of(jobs)) - set(result.rejected)
        backend.ack(ids_of(jobs[:4]))
        assert backend.commit(jobs[8:]) == CommitResult(2)

    def test_bytes_beyond_max_bytes_are_rejected(self, backend_factory):
        jobs = new_jobs(9)
        size = len(jobs[0].payload)
        backend = backend_factory(max_bytes=8 * size)
        assert backend.commit(jobs).rejected == (jobs[8].id,)
        assert backend.stats().waiting == Depth(8, 8, 8 * size)
        backend.ack([jobs[0].id])
        assert backend.commit([jobs[8]]) == CommitResult(1)

    def test_failed_jobs_count_towards_the_bounds(self, backend_factory):
        backend = backend_factory(max_jobs=4)
        buried = bury(backend, 4)
        job = new_job()
        assert backend.commit([job]).rejected == (job.id,)
        backend.purge(JobState.FAILED, buried[:1])
        assert backend.commit([job]).accepted == 1

    def test_a_job_larger_than_the_queue_may_be_is_told_apart_and_holds_up_nothing(self, backend_factory):
        before, after = new_jobs(2)
        large = new_job(filling="x" * 3000)
        backend = backend_factory(max_bytes=4000)
        assert backend.commit([before, large, after]) == CommitResult(2, impossible=(large.id,))

    @pytest.mark.skip(reason="each partition remembers so many")
    def test_only_so_many_purged_jobs_are_remembered_and_the_last_ones_are(self): ...

    @pytest.mark.skip(reason="several partitions have no strict order")
    def test_a_processor_without_ordering_leaves_alone_what_a_fifo_processor_leases_or_delays(self): ...

    @pytest.mark.skip(reason="several partitions have no strict order")
    @pytest.mark.parametrize("how", ["leave", "settle"])
    def test_fifo_a_job_that_was_leased_without_ordering_is_due_when_it_is_given_back(self, how): ...

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    @pytest.mark.parametrize("state", JobState)
    @pytest.mark.parametrize("what", ["goes", "moves"])
    def test_a_list_goes_on_where_its_last_job_was(self, backend_factory, ordering, state, what):
        if (ordering, state, what) == (Ordering.NONE, JobState.WAITING, "moves"):
            pytest.skip("which jobs a claim takes first is not said of several partitions")
        super().test_a_list_goes_on_where_its_last_job_was(backend_factory, ordering, state, what)

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_a_paused_queue_hands_nothing_out(self, backend_factory, ordering):
        backend = backend_factory(ordering=ordering)
        backend.commit(jobs := new_jobs(1))
        backend.pause(True)
        backend.commit(more := new_jobs(2))
        for probe in (False, True):
            claim = backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, probe=probe))
            assert (claim.jobs, claim.wait is not None and claim.wait <= 1.0) == ((), True)
        backend.pause(False)
        assert set(ids_of(drain(backend, "t"))) <= set(ids_of([*jobs, *more]))
        assert not backend.stats().paused

    def test_committing_again_changes_nothing(self, backend):
        jobs = new_jobs(3)
        backend.commit(jobs[:2])
        assert backend.commit(jobs[:2]) == CommitResult(0, duplicates=2)
        assert backend.commit(jobs) == CommitResult(1, duplicates=2)
        assert sorted(ids_of(drain(backend, "t"))) == sorted(ids_of(jobs))

    def test_jobs_come_out_in_the_order_they_were_committed(self, backend):
        """Those of one commit do; of several commits it is not said."""
        jobs = new_jobs(12)
        backend.commit(jobs)
        assert ids_of(drain(backend, "t", limit=5)) == ids_of(jobs)

    def test_a_job_that_was_stored_while_it_fitted_is_known_and_not_impossible(self, backend_factory):
        job = replace(new_job(filling="x" * 3000), is_foreign=True)
        backend_factory().commit([job])
        assert backend_factory(max_bytes=4000).commit([job]) == CommitResult(0, duplicates=1)

    def test_replay_starts_failed_jobs_afresh(self, backend):
        buried = bury(backend, 3)
        assert backend.replay([buried[0], buried[2], "never-stored"]) == 2
        claimed = drain(backend, "t")
        assert {(j.id, j.attempts, j.progress, j.stalled) for j in claimed} == {
            (buried[0], 0, "", False),
            (buried[2], 0, "", False),
        }
        assert ids_of(backend.jobs(JobState.FAILED, limit=9)) == [buried[1]]


# -- storing ---------------------------------------------------------------------------------------------------------------


def counts(backend):
    """Return how many unfinished jobs each partition has."""
    return [each.unfinished.jobs for each in backend.partitions()]


def test_a_commit_goes_to_one_partition_and_the_next_one_to_the_next(factory):
    backend = factory()
    for _ in range(8):
        assert backend.commit(new_jobs(5)).accepted == 5
    assert counts(backend) == [10, 10, 10, 10]


def test_the_epoch_of_a_commit_says_which_partition_is_asked(factory):
    backend = factory()
    jobs = new_jobs(3)
    epoch = backend.commit(jobs).epoch
    name, _, own = epoch.partition("/")
    assert name.startswith("1.4.")
    assert own.isdigit()
    other = factory()
    assert other.lookup(ids_of(jobs), epoch=epoch) == dict.fromkeys(ids_of(jobs))


def test_a_job_of_another_queue_that_is_found_again_is_looked_up_in_the_partition_that_has_it(factory):
    """A move was cut off when the first jobs were stored. It is repeated with more jobs, which go to the next partition."""
    first, rest = ([replace(job, is_foreign=True) for job in new_jobs(2)] for _ in range(2))
    factory().commit(first)
    backend = factory()
    result = backend.commit([*first, *rest])
    assert (result.accepted, result.duplicates) == (2, 2)
    everything = ids_of([*first, *rest])
    assert backend.lookup(everything, epoch=result.epoch) == dict.fromkeys(everything)


def test_a_queue_that_was_used_without_partitions_keeps_one_until_it_is_resized(factory, caplog):
    plain = factory(partitions=1)
    plain.commit(new_jobs(2))
    backend = factory(partitions=4)
    assert backend.partitions() == []
    assert backend.commit(new_jobs(2)).accepted == 2
    assert plain.stats().waiting.jobs == 4
    assert sum("queue resize" in record.message for record in caplog.records) == 1


def test_processes_with_different_options_agree(factory):
    first, second = factory(partitions=4), factory(partitions=8)
    assert len(second.partitions()) == 4
    third = factory(partitions=1)
    third.commit(new_jobs(1))
    assert len(third.partitions()) == 4
    assert first.stats().waiting.jobs == 1


def test_a_process_that_keeps_strict_order_is_told_that_several_partitions_have_none(factory):
    factory(partitions=4)
    with pytest.raises(QueueError, match="ordering='per_user'"):
        factory(partitions=1, ordering=Ordering.FIFO)


def test_a_full_partition_is_passed_over(factory):
    backend = factory(max_jobs=8)
    for _ in range(4):
        assert backend.commit(new_jobs(1)).accepted == 1
    assert backend.commit(new_jobs(4)).accepted == 4
    assert counts(backend) == [2, 2, 2, 2]


def test_with_order_per_user_a_job_goes_where_its_route_says_and_one_of_another_division_comes_back(factory):
    backend = factory(ordering=Ordering.PER_USER)
    routing = backend.find_routing()
    assert (routing.generation, routing.partitions) == (1, 4)
    jobs = [replace(new_job(), route=Route(1, n % 3)) for n in range(6)]
    outdated, unrouted = replace(new_job(), route=Route(0, 0)), new_job()
    result = backend.commit([*jobs, outdated, unrouted])
    assert (result.accepted, set(result.stale)) == (6, {outdated.id, unrouted.id})
    assert counts(backend) == [2, 2, 2, 0]


# -- lists -----------------------------------------------------------------------------------------------------------------


def test_one_partition_that_has_all_jobs_may_use_the_rate_of_all(factory):
    backend = factory(ordering=Ordering.PER_USER)
    backend.commit([replace(new_job(10), route=Route(1, 2)) for _ in range(12)])
    terms = {"visibility_timeout": LONG, "events_per_second": 100.0, "chain": 50}
    claim = backend.claim("t", ClaimTerms(limit=50, **terms))
    assert len(claim.jobs) >= 10, "a second's worth goes at once"
    assert backend.stats().leased.jobs == len(claim.jobs) < 12
    backend.ack(ids_of(claim.jobs))
    assert (
        len(claim.jobs) + len(eventually(lambda: backend.claim("t", ClaimTerms(limit=50, **terms)).jobs))
        == 12
    )


@pytest.mark.parametrize("partitions", [1, 4])
def test_after_a_silence_no_more_goes_at_once_from_several_partitions(factory, partitions):
    backend = factory(partitions=partitions)
    for _ in range(8):
        backend.commit([new_job(100)])
    claims = [
        backend.claim(f"t{n}", ClaimTerms(limit=9, visibility_timeout=LONG, events_per_second=10.0))
        for n in range(4)
    ]
    assert sum(len(claim.jobs) for claim in claims) == 1
    assert [claim.obstacle for claim in claims[1:]] == [LIMITED] * 3
    left = drain(backend, "other")
    assert ([job.attempts for job in left], len(left)) == ([0] * 7, 7), "what did not go was given back"


def test_a_list_goes_on_behind_an_id_that_another_process_was_given(factory):
    backend = factory()
    ids = bury(backend, 9)
    listed, after = [], None
    while page := factory(observe=True).jobs(JobState.FAILED, limit=2, after=after):
        listed += ids_of(page)
        after = page[-1].id
    assert listed == ids


def test_an_observer_finds_the_partitions_by_itself(factory):
    backend = factory()
    for _ in range(4):
        backend.commit(new_jobs(2))
    observer = factory(observe=True, partitions=1)
    assert observer.stats().waiting.jobs == 8
    assert len(observer.jobs(JobState.WAITING, limit=99)) == 8
    assert {each.number for each in observer.partitions()} == {0, 1, 2, 3}
    assert all(each.node for each in observer.partitions())


# -- one that is away ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", range(4))
def test_an_observer_finds_the_order_that_one_partition_alone_knows(factory, partition):
    backend = factory(ordering=Ordering.PER_USER)
    backend.commit([replace(new_job(), route=Route(1, partition))])
    assert factory(observe=True).find_routing() == Routing(1, 4)
    backend.resize(2)
    assert factory(observe=True).find_routing() == Routing(2, 2)
    assert factory(observe=True).commit([job := new_job()]).stale == (job.id,), "it is to be cut by user"


@pytest.mark.parametrize("partition", range(2))
def test_an_observer_sees_which_partition_is_away(factory, partition):
    with running(NEWEST[0]) as first, running(NEWEST[0]) as second, running(NEWEST[0]) as third:
        name = new_queue_name()

        def make(part):
            server = first if part == ROOT else (second, third)[part.number]
            return make_backend(server, queue_name=name, tag=find_tag(name, part), ordering=None)

        operator = PartitionedBackend(make, ordering=None, partitions=1, name=name)
        operator.open()
        operator.resize(2)
        operator.close()
        (second, third)[partition].kill()
        observer = PartitionedBackend(make, ordering=None, partitions=1, name=name)
        observer.open()
        assert [each.away for each in observer.partitions()[1:]] == [n == partition for n in range(2)]
        observer.close()


@pytest.fixture
def two():
    """Two servers: the root and every second partition are on the first one."""
    with running(NEWEST[0]) as first, running(NEWEST[0]) as second:
        yield first, second


def test_one_partition_that_is_away_stops_only_itself(factory, two):
    _, second = two
    backend = factory(servers=two)
    held = [new_jobs(2) for _ in range(4)]
    for jobs in held:
        backend.commit(jobs)
    claimed = drain(backend, "t", limit=3)
    assert len(claimed) == 8
    second.stop()
    began = time.monotonic()
    stored = []
    while len(stored) < 12:
        jobs = new_jobs(2)
        for _ in range(3):
            try:
                assert backend.commit(jobs).accepted == 2
                break
            except QueueUnavailable:
                continue  # the caller repeats a commit whose outcome is not known
        else:
            raise AssertionError("one partition that is away stops commits")
        stored += ids_of(jobs)
    more = {job.id for job in drain(backend, "t", limit=4)}
    assert more == set(stored)
    assert backend.ack([job.id for job in claimed]) == 4
    assert backend.settle("t", []) == []
    backend.renew("t", list(more), visibility_timeout=LONG)
    assert time.monotonic() - began < 8
    with pytest.raises(QueueUnavailable):
        backend.stats()
    assert [each.away for each in backend.partitions()] == [False, True, False, True]
    stats, partitions = count_jobs(Queue(backend))
    assert (stats.waiting.jobs, len(partitions)) == (len(stored), 4)
    troubles = diagnose(observe(Queue(backend), "q"))
    assert ([each.code for each in troubles], find_obstacle(troubles)) == (["queue.partitions"], None)


def test_without_the_root_each_process_keeps_to_its_share_of_the_rate(factory, two):
    first, second = two
    backend = factory([first, second])
    for _ in range(8):
        backend.commit([new_job(100)])
    first.kill()
    terms = {"limit": 9, "visibility_timeout": LONG, "events_per_second": 10.0}
    assert len(eventually(lambda: backend.claim("t", ClaimTerms(**terms)).jobs)) == 1
    assert backend.claim("t", ClaimTerms(**terms)).obstacle == LIMITED


def test_what_was_delivered_while_its_partition_was_away_is_acknowledged_when_it_is_back(
    factory, two, monkeypatch
):
    backend = factory(servers=two)
    for _ in range(4):
        backend.commit(new_jobs(1))
    claimed = ids_of(drain(backend, "t"))
    away = backend._members.takers[1::2]

    def fail(*_):
        raise QueueUnavailable("away")

    with monkeypatch.context() as patch:
        for member in away:
            patch.setattr(member.backend, "ack", fail)
            patch.setattr(member.backend, "settle", fail)
        assert backend.ack(claimed[:2]) + backend.ack(claimed[2:3]) < 3
        assert backend.settle("t", [retry(claimed[3], delay=LONG)]) == [True]
        assert backend.stats().leased.jobs > 0
    assert eventually(
        lambda: (
            not backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
            and not backend.stats().leased.jobs
        )
    )
    assert backend.stats().delayed.jobs == 1
    assert backend.stats().delivered_events == 3


def test_a_call_waits_once_for_a_server_that_hangs_and_not_for_each_of_its_partitions(factory, two):
    _, second = two
    backend = factory(servers=two, ordering=Ordering.PER_USER, partitions=8)
    backend.commit([replace(new_job(), route=Route(1, n)) for n in range(8)])
    assert backend.ack(ids_of(drain(backend, "t"))) == 8
    jobs = [replace(new_job(), route=Route(1, n)) for n in range(8)]
    os.kill(second.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        result = backend.commit(jobs)
        assert result.accepted == 4
        assert set(result.away) == {job.id for job in jobs if job.route.partition % 2}
        assert len(drain(backend, "t")) == 4
        assert time.monotonic() - began < 3.0  # it takes a second to notice, and there are four of them
    finally:
        os.kill(second.pid, signal.SIGCONT)
    assert eventually(lambda: not backend.commit(jobs).away)


def leave_unconfirmed(monkeypatch, members):
    """Have commits to *members* stored, and confirmed by no replica."""

    def make_store(backend, commit):
        def store(jobs):
            commit(jobs)
            raise Unconfirmed("0 of 1 replicas have confirmed the last commit", backend.node)

        return store

    for member in members:
        monkeypatch.setattr(member.backend, "commit", make_store(member.backend, member.backend.commit))


def test_a_partition_without_replicas_is_not_away_and_its_jobs_are_delivered(factory, two, monkeypatch):
    backend = factory(servers=two, ordering=Ordering.PER_USER)
    drain(backend, "t")
    member = backend._members.takers[2]
    with monkeypatch.context() as patch:
        leave_unconfirmed(patch, [member])
        jobs = [replace(new_job(), route=Route(1, 2))]
        others = [replace(new_job(), route=Route(1, 1))]
        with pytest.raises(Unconfirmed):
            backend.commit(jobs)
        assert ids_of(drain(backend, "t")) == ids_of(jobs)
        assert not member.is_away
        began = time.monotonic()
        # What goes to the other partitions does not wait for its replicas each time.
        assert backend.commit(jobs + others).away == tuple(ids_of(jobs))
        assert time.monotonic() - began < 0.3
    assert eventually(lambda: not backend.commit(jobs).away)
    assert backend.stats().leased.jobs == 1


def test_what_no_replica_confirms_is_not_stored_in_a_second_partition_of_the_same_server(
    factory, monkeypatch
):
    backend = factory()
    backend.commit(new_jobs(1))
    jobs = new_jobs(1)
    with monkeypatch.context() as patch:
        leave_unconfirmed(patch, backend._members.takers)
        for _ in range(5):
            with pytest.raises(QueueUnavailable):
                backend.commit(jobs)
    assert backend.stats().waiting.jobs == 2
    assert eventually(lambda: backend.commit(jobs).duplicates == 1)
    assert backend.stats().waiting.jobs == 2


def test_a_server_without_replicas_is_passed_over_where_another_one_has_partitions(factory, two, monkeypatch):
    backend = factory(servers=two)
    for _ in range(4):
        backend.commit(new_jobs(1))  # so that each was met
    leave_unconfirmed(monkeypatch, backend._members.takers[1::2])
    for _ in range(4):
        assert backend.commit(new_jobs(1)).accepted == 1
    parts = backend.partitions()
    assert sum(each.unfinished.jobs for each in parts[::2]) == 6  # two were there before


def test_a_queue_all_of_whose_partitions_are_away_is_unavailable(factory, two):
    backend = factory(servers=two)
    backend.commit(new_jobs(1))
    for server in two:
        server.stop()
    for call in (
        lambda: backend.commit(new_jobs(1)),
        lambda: backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)),
        lambda: backend.renew("t", [], visibility_timeout=LONG),
        lambda: backend.jobs(JobState.FAILED, limit=1),
    ):
        for _ in range(6):
            with pytest.raises(QueueUnavailable):
                call()


# -- many ------------------------------------------------------------------------------------------------------------------


def test_few_connections_are_enough_for_many_partitions(server, raw):
    before = len(raw.client_list())
    opts = QueueOpts(
        url=f"{server.url}{'&' if '?' in server.url else '?'}max_connections=5",
        queue_name=new_queue_name(),
        partitions=16,
        ordering="none",
    )
    backend = create_backend(opts)
    with closing(backend):
        backend.open()
        for _ in range(32):
            assert backend.commit(new_jobs(1)).accepted == 1
        assert len(drain(backend, "t")) == 32, "each partition is reached"
        parts = backend._members.ring.newest.parts
        for home in parts:  # as processors come and go, and the homes of this one change
            backend._looks.arrange(list(parts), [home], 1)
            backend.wait(0.01)
        assert len(raw.client_list()) - before <= 8


def test_jobs_are_spread_evenly(factory):
    backend = factory(partitions=16)
    for _ in range(320):
        backend.commit(new_jobs(1))
    found = counts(backend)
    assert max(found) - min(found) <= 1


def test_a_number_of_partitions_out_of_bounds_is_refused(factory):
    backend = factory()
    for number in (0, 257):
        with pytest.raises(ConfigError):
            backend.resize(number)


def test_ids_are_new():
    assert new_job_id() != new_job_id()
    assert Ring((Division(1, 2),)).is_divided
