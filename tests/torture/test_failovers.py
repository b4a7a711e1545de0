"""
Failovers and moves of slots under load: each share plays one or two of them, and ``./run torture failovers`` all.
"""

from __future__ import annotations

import pytest

from redis_servers import NEWEST, OLDEST, available_servers
from torture.failovers import Account, Fault, Terms, count_inversions, find_gap, find_longest_gap, play

PLAIN, BY_USER = Terms(), Terms(durability="replicated", ordering="per_user", partitions=6)
RUNS = [
    ("cluster", NEWEST[0], ("kill", "move"), BY_USER),
    ("sentinel", NEWEST[0], ("kill",), BY_USER),
    ("cluster", NEWEST[1], ("kill", "move"), BY_USER),
    ("sentinel", NEWEST[1], ("relieve", "kill"), BY_USER),
    ("cluster", NEWEST[0], ("stop",), PLAIN),
    ("sentinel", NEWEST[0], ("stop",), PLAIN),
    ("cluster", OLDEST, ("kill", "move"), BY_USER),
    ("sentinel", OLDEST, ("kill",), PLAIN),
    ("cluster", NEWEST[0], ("relieve", "move", "move"), Terms(partitions=6)),
    # Without waiting for replicas, what the old master takes until it hears of the new one is lost.
    ("sentinel", NEWEST[0], ("relieve", "relieve"), BY_USER),
]


@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.alone
@pytest.mark.rotating("failovers", seldom=True)
@pytest.mark.parametrize(
    ("topology", "server", "steps", "terms"),
    [
        pytest.param(*run, id=f"{run[0]} of {run[1]} {' '.join(run[2])}")
        for run in RUNS
        if run[1] in available_servers()
    ],
)
def test_after_a_failover_acknowledgements_are_back_in_time_and_nothing_is_lost(
    topology, server, steps, terms
):
    account = play(topology, server, steps, terms)
    print(account.describe())
    assert account.find_faults() == []


def test_the_longest_gap_is_that_around_the_fault():
    ledger = [(0.5, "a"), (1.0, "b"), (1.1, ""), (3.5, "c"), (3.6, "d")]
    assert find_gap(ledger, 1.2, 4.0) == 2.5
    assert find_gap(ledger[:3], 1.2, 4.0) == pytest.approx(2.8)


def test_each_user_is_waited_for():
    ledger = [(0.5, "a.0"), (0.6, "b.0"), (1.5, "a.1"), (2.0, "a.2"), (4.6, "b.1"), (4.7, "a.3")]
    assert find_gap(ledger, 1.0, 5.0) == pytest.approx(2.6)
    assert find_longest_gap(ledger, 1.0, 5.0) == pytest.approx(4.0)


def test_an_event_that_came_after_a_later_one_of_its_user_is_an_inversion():
    assert count_inversions(["a.0", "b.0", "a.1", "b.10", "a.2"]) == 0
    assert count_inversions(["a.0", "a.2", "b.0", "a.1"]) == 1


def test_what_must_not_be_is_told():
    account = Account("cluster", "a server", [Fault("kill", 0.0, 1.0, 5.5)], in_order=True)
    account.acknowledged, account.lost, account.inversions, account.left = 10, 1, 2, 3
    assert len(account.find_faults()) == 4
