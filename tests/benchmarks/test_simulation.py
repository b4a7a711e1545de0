"""The simulated fleet: the same seed is the same run, nothing disappears, and it does what a real producer does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scenarios import simulate as scenario
from benchmarks.simulation import Setup, simulate
from benchmarks.simulation.piles import Cohort, Histogram, Pile, share_out
from eventspool._config import Ordering
from eventspool._operate.capacity import MEASURED, Load, form_batches, make_plan

LOAD = Load(
    events_per_second=20_000,
    producers=20,
    partitions=4,
    max_bytes=200_000_000,
    max_jobs=10_000_000,
    spill_bytes=100_000_000,
)
SMALL = Setup(load=LOAD, seconds=60.0, outage=(20.0, 15.0), failovers=4)
VARIANTS = {
    "no order": SMALL,
    "per user": replace(SMALL, load=replace(LOAD, ordering=Ordering.PER_USER)),
    "strict order": replace(
        SMALL, load=replace(LOAD, ordering=Ordering.FIFO, partitions=1, events_per_second=5000)
    ),
    "a queue that is soon full": replace(SMALL, load=replace(LOAD, max_bytes=8_000_000)),
    "few events": replace(SMALL, load=replace(LOAD, events_per_second=50.0)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_accepted_event_is_delivered(name):
    outcome = simulate(VARIANTS[name], seed=3)

    assert outcome.accepted > 0
    assert outcome.accepted == outcome.delivered
    assert (outcome.lost, outcome.waiting, outcome.refused) == (0, 0, 0)
    assert outcome.drain_seconds is not None
    assert outcome.latency[0.5] <= outcome.latency[0.99] <= outcome.latency[1.0]
    assert outcome.latency[1.0] >= 15.0 * 0.9


@pytest.mark.parametrize("seed", range(5))
def test_accepted_is_delivered_waiting_and_lost_whatever_happens(seed):
    load = replace(LOAD, max_bytes=4_000_000, spill_bytes=1_000_000, max_internal_queue_size=2000)
    outcome = simulate(replace(SMALL, load=load, behind=1.0, patience=1.0, processors=1), seed)

    assert outcome.accepted == outcome.delivered + outcome.waiting + outcome.lost
    assert outcome.refused > 0
    assert outcome.peak_spill_bytes <= load.spill_bytes * 1.01


def test_only_replicas_that_are_waited_for_keep_what_a_failover_takes():
    behind = replace(SMALL, behind=1.0, outage=(0.0, 50.0), failovers=8)  # during which nothing is delivered
    replicated = replace(behind, load=replace(LOAD, durability="replicated"))

    assert simulate(behind, 1).lost > 0
    assert simulate(replicated, 1).lost == 0


def test_the_same_seed_is_the_same_run_and_another_one_is_not():
    assert simulate(SMALL, 5) == simulate(SMALL, 5)
    assert simulate(SMALL, 5) != simulate(SMALL, 6)


def test_without_trouble_it_agrees_with_the_plan():
    load = replace(LOAD, spill_bytes=0)
    calm = simulate(Setup(load=load, skew=0.0, outage=(0.0, 0.0), failovers=0, seconds=120.0), 2)
    plan = make_plan(load)
    cores = plan.batches.jobs_per_second * plan.server_job_us / 1e6

    assert calm.events_per_batch == pytest.approx(form_batches(load, MEASURED, 4).events_per_batch, rel=0.05)
    assert calm.utilisation * plan.partitions == pytest.approx(cores, rel=0.15)
    assert calm.latency[0.99] < 1.0


def test_an_outage_costs_the_memory_that_the_plan_has_for_it():
    load = replace(LOAD, outage_seconds=15.0)
    outcome = simulate(replace(SMALL, load=load, failovers=0), 2)

    assert outcome.peak_shard_bytes * 4 == pytest.approx(make_plan(load).backlog_bytes, rel=0.15)


def test_the_scenario_judges_what_it_plays():
    found = list(scenario.measure(None, rounds=1, quick=True, seed=4))

    assert {m.candidate for m in found} == set(scenario.CANDIDATES)
    assert all(bar.passed for bar in scenario.judge(found))
    lossy = replace(found[0], figures={**found[0].figures, "refused": 1.0})
    assert not all(bar.passed for bar in scenario.judge([lossy]))


def test_a_pile_gives_the_oldest_first_and_loses_nothing():
    pile = Pile()
    for moment in range(3):
        pile.put(Cohort(float(moment), 10, 2.0, 1000.0))
    taken = pile.take(float("inf"), 15)

    assert [(part.since, part.events) for part in taken] == [(0.0, 10), (1.0, 5)]
    assert pile.events == 15
    assert pile.drop_since(1.5) == 10
    assert (pile.events, pile.jobs, pile.payload) == (5, pytest.approx(1.0), pytest.approx(500.0))


@pytest.mark.parametrize(
    ("count", "weights"), [(7, [1, 1, 1]), (0, [2, 1]), (1000, [0.3, 0.1, 0.6]), (5, [0, 1, 0])]
)
def test_a_count_is_shared_out_to_the_last_one(count, weights):
    shares = share_out(count, weights)

    assert sum(shares) == count
    assert all(share >= 0 for share in shares)
    assert all(abs(share - count * w / sum(weights)) <= 1 for share, w in zip(shares, weights, strict=True))


def test_a_histogram_tells_values_apart_to_five_in_a_hundred():
    seen = Histogram()
    for value in range(1, 1001):
        seen.add(value / 100, 1)

    assert seen.at(0.5) == pytest.approx(5.0, rel=0.06)
    assert seen.at(0.99) == pytest.approx(9.9, rel=0.06)
    assert seen.at(1.0) == pytest.approx(10.0, rel=0.06)
