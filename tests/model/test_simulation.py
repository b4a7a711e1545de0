"""Ten thousand stories of arrivals, outages, refusals, crashes and closes, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._backends.memory.entries import Entries, PlacedEntries
from eventspool._delivery import assessor
from eventspool._delivery.attempt import Outcome
from eventspool._delivery.breaker import Breaker
from eventspool._delivery.verdict import Verdict

from .plane import OK, POISON, TOO_LARGE
from .replay import replay
from .scenario import Scenario
from .simulator import Broken

SEEDS = 10_000
SHARE = 1_000


def _play(seed, met=None):
    try:
        scenario = Scenario(seed)
        scenario.play()
    except Exception as error:
        command = f"PYTHONPATH=tests .venv/bin/python -m model.replay {seed}"
        raise AssertionError(f"{error!r} (again, step by step: {command})") from error
    if met is not None:
        met.update(_faults(scenario))


def _faults(scenario):
    """Name what happened in *scenario*."""
    lives, plane, backend = scenario.lives, scenario.plane, scenario.backend
    yield from {f"met {outage.answer.status}" for outage in plane.outages}
    yield from {f"jobs were {ending}" for life in lives for ending in life.process.shared}
    yield from {f"failed as {entry.failure.reason}" for entry in backend._entries.failed.values()}
    for name, happened in {
        "in strict order": scenario.fifo,
        "in memory": not scenario.durable,
        "several processes at once": len(lives) > 1,
        "crashed": any(life.crashed for life in lives),
        "closed": any(not life.process.alive and not life.crashed for life in lives),
        "queue away": backend.refused,
        "events refused": scenario.refused,
        "delivered twice": any(times > 1 for times in plane.taken.values()),
        "cut": plane.answered[TOO_LARGE] or plane.answered[POISON],
        "called back": any(life.process.called for life in lives),
        "lost with its process": any(life.process.ledger.counts().lost for life in lives),
        "ill": any(ill for *_, ill in plane.requests),
    }.items():
        if happened:
            yield name


@pytest.mark.rotating
@pytest.mark.parametrize("first", range(0, SEEDS, SHARE))
def test_nothing_accepted_is_lost_and_all_drains(first):
    met = Counter()
    for seed in range(first, first + SHARE):
        _play(seed, met)
    rare = {name: met[name] for name in _EXPECTED if met[name] < 10}
    assert not rare, f"too few of {SHARE} stories met these: {rare}"


_EXPECTED = (
    "met 503", "met 429", "met 302", "met 401", "met 403", "met None", "failed as rejected", "failed as max_attempts",
    "in strict order", "in memory", "several processes at once", "crashed", "closed", "queue away", "events refused",
    "delivered twice", "cut", "called back", "lost with its process", "ill",
    "jobs were delivered together", "jobs were put off together", "jobs were cut apart",
)  # fmt: skip


def test_a_seed_tells_the_same_story_each_time(capsys):
    stories = []
    for _ in range(2):
        replay(17)
        stories.append(capsys.readouterr().out)
    assert len(stories[0].splitlines()) > 20
    assert stories[0] == stories[1]


def _play_all(seeds):
    for seed in seeds:
        Scenario(seed).play()


# Each of these is a fault that somebody could write. A simulation that does not notice them proves nothing.


def _acknowledge_first(patch):
    claim = MemoryBackend.claim

    def claim_and_ack(self, *args, **options):
        claimed = claim(self, *args, **options)
        self.ack([job.id for job in claimed.jobs])
        return claimed

    patch.setattr(MemoryBackend, "claim", claim_and_ack)


def _take_failures_for_deliveries(patch):
    patch.setattr(Outcome, "delivered", property(lambda self: True, lambda self, value: None), raising=False)


def _probe_without_pause(patch):
    patch.setattr("eventspool._delivery.breaker.backoff_bound", lambda *args: 0.01)


def _go_on_after_many_failures(patch):
    begin = Breaker.__init__
    patch.setattr(Breaker, "__init__", lambda self, **options: begin(self, **options, threshold=50))
    patch.setattr("eventspool._backends.fleet.FAILURES", 50)


def _give_up_too_early(patch):
    patch.setattr(assessor, "is_exhausted", lambda *args: True)


def _call_refusals_final(patch):
    patch.setattr(
        "eventspool._delivery.attempt.judge", lambda result: _REJECT.get(result.status, Verdict.REJECTED)
    )


def _never_end_a_lease(patch):
    for kind in (Entries, PlacedEntries):
        take = kind.take
        patch.setattr(
            kind, "take", lambda self, *args, take=take: [e for e in take(self, *args) if not e.token]
        )


_REJECT = {OK.status: Verdict.DELIVERED}


@pytest.mark.parametrize(
    ("plant", "finding"),
    [
        (_acknowledge_first, "gone|called"),
        (_take_failures_for_deliveries, "gone|called"),
        (_probe_without_pause, "requests in an outage"),
        (_go_on_after_many_failures, "requests in an outage"),
        (_give_up_too_early, "given up after"),
        (_call_refusals_final, "rejected"),
        (_never_end_a_lease, "not drained"),
    ],
)
def test_a_planted_fault_is_found(plant, finding, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Broken, match=finding):
        _play_all(range(400))
