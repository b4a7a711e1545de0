"""
Failovers and moves of slots under load: each share plays one or two of them, and ``python -m torture.failovers`` all.
"""

from __future__ import annotations

import pytest

from redis_servers import NEWEST, OLDEST, available_servers
from torture.failovers import find_gap, play

RUNS = [
    ("cluster", NEWEST[0], ("kill", "move")),
    ("sentinel", NEWEST[0], ("kill",)),
    ("cluster", NEWEST[1], ("kill", "move")),
    ("sentinel", NEWEST[1], ("relieve", "kill")),
    ("cluster", NEWEST[0], ("stop",)),
    ("sentinel", NEWEST[0], ("stop",)),
    ("cluster", OLDEST, ("kill", "move")),
    ("sentinel", OLDEST, ("kill",)),
    ("cluster", NEWEST[0], ("relieve", "move", "move")),
    ("sentinel", NEWEST[0], ("relieve", "relieve")),
]


@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.rotating("failovers", seldom=True)
@pytest.mark.parametrize(
    ("topology", "server", "steps"),
    [
        pytest.param(*run, id=f"{run[0]} of {run[1]} {' '.join(run[2])}")
        for run in RUNS
        if run[1] in available_servers()
    ],
)
def test_after_a_failover_acknowledgements_are_back_in_time_and_nothing_is_lost(topology, server, steps):
    account = play(topology, server, steps)
    print(account.describe())
    assert account.find_faults() == []


def test_the_longest_gap_is_that_around_the_fault():
    ledger = [(0.5, "a"), (1.0, "b"), (1.1, ""), (3.5, "c"), (3.6, "d")]
    assert find_gap(ledger, 1.2, 4.0) == 2.5
    assert find_gap(ledger[:3], 1.2, 4.0) == pytest.approx(2.8)
