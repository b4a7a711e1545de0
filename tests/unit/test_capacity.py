"""The capacity model: what it makes of loads whose figures are known, and how its parts hang together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eventspool import ConfigError
from eventspool._backends.redis.codec import MAX_COMMIT_BYTES
from eventspool._buffering import maker, storing, thresholds
from eventspool._config import ClientOpts, Ordering
from eventspool._operate.capacity import (
    MEASURED,
    Constants,
    Load,
    advise,
    batching,
    find_limits,
    form_batches,
    list_constants,
    make_plan,
    settings,
)

MILLION = 1_000_000
EARLIER = Constants(
    commit_call_us=54.0,
    commit_job_us=6.0,
    commit_small_kb_us=0.65,
    commit_large_us=0.0,
    commit_kb_us=0.65,
    deliver_call_us=115.0,
    deliver_job_us=8.0,
    deliver_kb_us=0.38,
    aof_job_us=0.0,
    aof_kb_us=0.0,
    replica_job_us=0.0,
    replica_kb_us=0.0,
    lane_call_us=0.0,
    lane_job_us=0.0,
    partition_job_us=0.0,
    wake_us=0.0,
    idle_server_us=0.0,
    job_bytes=360.0,
    allocator_factor=1.0,
    wire_job_bytes=0.0,
    reference_event_bytes=560.0,
    stored=((1, 400), (2, 290), (4, 239), (16, 149), (31, 129), (156, 115), (900, 112)),
)
"""A set of constants whose results were reckoned by other means."""


def close(actual: float, wanted: float, share: float = 0.15) -> bool:
    return abs(actual / wanted - 1) <= share


def test_the_model_knows_the_flush_rules_of_the_clients():
    opts = ClientOpts(write_key="k")
    load = Load(events_per_second=1.0)

    assert (batching.PACE, batching.COMMIT_JOBS) == (thresholds._PACE, storing.JOBS_PER_COMMIT)
    assert batching._FEW == maker._FEW
    assert (load.flush_at, load.flush_interval) == (opts.flush_at, opts.flush_interval)
    plenty = batching.count_plenty(opts.flush_at, opts.max_internal_queue_size)
    assert (opts.flush_at, plenty, batching.PACE) == thresholds.Thresholds.of(opts, 1)
    assert load.max_batch_bytes * batching.COMMIT_JOBS <= MAX_COMMIT_BYTES


@pytest.mark.parametrize(
    ("rate", "partitions", "events", "jobs"),
    [
        (10, 1, 20, 0.5),
        (10, 8, 2.7, 3.7),
        (10, 16, 1.7, 5.8),
        (10, 64, 1.2, 8.6),
        (1000, 1, 83, 12),
        (1000, 8, 31, 32),
        (1000, 16, 16, 64),
        (1000, 64, 4, 251),
    ],
)
def test_order_per_user_cuts_a_producers_batches_up(rate, partitions, events, jobs):
    load = Load(events_per_second=rate, producers=1, ordering=Ordering.PER_USER)
    batches = form_batches(load, MEASURED, partitions)

    assert close(batches.events_per_batch, events, 0.05)
    assert close(batches.jobs_per_second, jobs, 0.05)


@pytest.mark.parametrize(
    ("rate", "events"), [(0.5, 11), (1, 20), (80, 20), (200, 50), (3900, 488), (8000, 500), (100_000, 500)]
)
def test_a_producer_flushes_by_number_by_time_and_under_load_by_pace(rate, events):
    """From a thousand events on, which wait at once, a flush has a full batch and the rest of the thousand."""
    assert close(
        form_batches(Load(events_per_second=rate, producers=1), MEASURED, 1).events_per_batch, events, 0.03
    )


@pytest.mark.parametrize(
    ("load", "jobs", "cores", "gigabytes"),
    [
        (Load(events_per_second=MILLION, producers=1000), 4000, 0.9, 414),
        (Load(events_per_second=MILLION, events_per_batch=20), 50_000, 10.8, 493),
        (
            Load(
                events_per_second=MILLION,
                producers=1000,
                ordering=Ordering.PER_USER,
                partitions=32,
                flush_at=250,
            ),
            125_000,
            24,
            605,
        ),
        (
            Load(
                events_per_second=MILLION,
                producers=1000,
                ordering=Ordering.PER_USER,
                partitions=32,
                flush_at=2000,
            ),
            16_129,
            3.2,
            439,
        ),
    ],
)
def test_a_million_events_a_second_ask_for_what_was_reckoned_by_hand(load, jobs, cores, gigabytes):
    plan = make_plan(replace(load, replicas=1, aof=False), EARLIER)

    assert close(plan.batches.jobs_per_second, jobs, 0.03)
    assert close(plan.redis_cores, cores)
    assert close(plan.backlog_payload_bytes / 1e9, gigabytes, 0.2)
    assert plan.out_bits == pytest.approx(2 * plan.in_bits)


@pytest.mark.parametrize(
    ("events", "group", "us"),
    [(1, 1, 141), (1, 8, 29), (20, 1, 216), (20, 8, 44), (500, 1, 260), (500, 8, 103), (900, 8, 135)],
)
def test_a_jobs_cost_is_a_line_of_calls_jobs_and_bytes(events, group, us):
    kb = EARLIER.stored_bytes(events, 560) * events / 1000

    assert close(EARLIER.commit_us(group, kb) + EARLIER.deliver_us(group, kb), us, 0.35)


def test_stored_bytes_lie_between_the_measured_sizes_and_grow_with_the_events():
    sizes = [
        MEASURED.stored_bytes(n, MEASURED.reference_event_bytes) for n in (0.5, 1, 1.5, 3, 10, 60, 400, 5000)
    ]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == sizes[1] == MEASURED.stored[0][1]
    assert sizes[-1] == MEASURED.stored[-1][1]
    assert MEASURED.stored_bytes(20, 2 * MEASURED.reference_event_bytes) == pytest.approx(
        2 * MEASURED.stored_bytes(20, MEASURED.reference_event_bytes)
    )


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.PER_USER])
@pytest.mark.parametrize("rate", [1, 100, 3000, 40_000, 700_000])
def test_a_partition_can_be_moved_and_a_node_holds_its_share(rate, ordering):
    plan = make_plan(Load(events_per_second=rate, outage_seconds=600, ordering=ordering))

    assert plan.partition_bytes <= MEASURED.partition_bytes or plan.partitions == 256
    assert plan.nodes <= plan.partitions
    assert plan.nodes == min(max(plan.nodes_by_memory, plan.nodes_by_cores), plan.partitions)
    if plan.nodes < plan.partitions or plan.nodes == 1:
        assert plan.maxmemory_bytes <= plan.load.node_bytes * 1.001
        assert plan.redis_cores / plan.nodes <= MEASURED.utilisation * 1.001
    assert plan.backlog_payload_bytes <= plan.max_bytes
    assert plan.backlog_jobs <= plan.max_jobs


def test_more_of_anything_never_asks_for_less():
    for change in ({"events_per_second": 20_000}, {"outage_seconds": 7200}, {"event_bytes": 1120.0}):
        load = Load(events_per_second=10_000, producers=10)
        less, more = make_plan(load), make_plan(replace(load, **change))
        assert (more.nodes, more.partitions, more.processors) >= (
            less.nodes,
            less.partitions,
            less.processors,
        )
        assert more.backlog_bytes > less.backlog_bytes


def test_strict_order_stays_in_one_partition_and_says_when_that_is_too_little():
    plan = make_plan(Load(events_per_second=50_000, ordering=Ordering.FIFO))

    assert (plan.partitions, plan.nodes, plan.processors) == (1, 1, 1)
    assert plan.drain_seconds is None
    assert any("strict order keeps the queue in one node" in sentence for sentence in advise(plan))
    assert any("does not keep up" in sentence for sentence in advise(plan))
    assert "strict_order" in {limit.name for limit in find_limits(plan)}


def test_a_queue_with_default_bounds_is_full_before_the_outage_ends():
    plan = make_plan(Load(events_per_second=10_000, producers=10))

    assert 600 < plan.full_seconds < 1200
    assert plan.full_by == "max_bytes"
    assert "full after" in advise(plan)[0]
    assert f"max_bytes={plan.max_bytes:_}" in settings(plan)[0]
    fixed = make_plan(replace(plan.load, max_bytes=plan.max_bytes, max_jobs=plan.max_jobs))
    assert fixed.full_seconds >= plan.load.outage_seconds
    assert not any("full after" in sentence for sentence in advise(fixed))


def test_memory_of_the_backlog_ends_first_and_a_core_of_redis_later():
    names = [limit.name for limit in find_limits(make_plan(Load(events_per_second=10_000, producers=10)))]

    assert names.index("movable") < names.index("memory") < names.index("redis_core")


def test_calls_that_wait_make_small_batches_and_waiting_for_replicas_costs():
    buffered, persisted, replicated = (
        make_plan(Load(events_per_second=2000, producers=2, durability=each))
        for each in ("buffered", "persisted", "replicated")
    )

    assert persisted.batches.events_per_batch < 3 < buffered.batches.events_per_batch
    assert replicated.server_job_us > persisted.server_job_us
    assert any("give each node two" in sentence for sentence in advise(replicated))
    assert 'durability="replicated"' in settings(replicated)[1]


def test_settings_can_be_copied():
    for load in (
        Load(events_per_second=100_000, ordering=Ordering.PER_USER),
        Load(events_per_second=10, replicas=0, spill_bytes=1 << 30, durability="persisted"),
    ):
        for line in settings(make_plan(load)):
            compile(line, "settings", "exec")


@pytest.mark.parametrize(
    "wrong",
    [
        {"events_per_second": 0},
        {"events_per_batch": 0.5},
        {"partitions": 257},
        {"partitions": 2, "ordering": Ordering.FIFO},
        {"durability": "replicated", "replicas": 0},
    ],
)
def test_a_load_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError):
        Load(**{"events_per_second": 1.0, **wrong})


def test_every_constant_says_what_it_means():
    for each in list_constants(MEASURED):
        assert each.meaning
        assert each.kind in ("measured", "chosen")
        assert each.value >= 0
