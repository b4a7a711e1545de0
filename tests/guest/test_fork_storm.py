"""
A thousand forks amid the work of eight threads that track: 84 (``EVENTSPOOL_FORKS``) in each of twelve portions.

In every second portion four threads fork, also at the same instant.
"""

from __future__ import annotations

import os

import pytest

from e2e.forking import EIGHT_THREADS, args, assert_once, run

__all__ = ["args"]

FORKS = int(os.environ.get("EVENTSPOOL_FORKS", "84"))
STORM = """
def work():
    for _ in range(3): track("C")
    result = client.flush(timeout=15)
    assert not result.pending, result
    stats = client.stats()
    assert stats.delivered == stats.accepted == 3, stats
    client.close(10)

def fork_often(number):
    dice, running = random.Random(f"{seed} {number}"), []
    for _ in range(forks // forkers):
        running.append(child(work))
        if len(running) * forkers >= 4: reap(running.pop(0))
        time.sleep(dice.choice([0, dice.uniform(0, 0.02)]))
    for pid in running: reap(pid)
    finished.append(number)

finished = []
forking = [threading.Thread(target=fork_often, args=(number,)) for number in range(forkers)]
for thread in forking: thread.start()
for thread in forking: thread.join()
assert len(finished) == forkers
finish()
client.close()
"""


@pytest.mark.timeout(150)
@pytest.mark.parametrize("forkers", [1, 4], ids=["one thread forks", "four threads fork"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_of_parent_and_children_arrives_once(plane, args, seed, forkers):
    """No deadlock in any child; the parent's events arrive by the parent, the children's by them."""
    code = f"{EIGHT_THREADS}\nseed, forks, forkers = {seed}, {FORKS}, {forkers}\n{STORM}"
    parents, children = run(code, args)
    assert len(children) == 3 * FORKS
    assert len(parents) > 100, "the parent tracked all the while"
    assert_once(plane, parents + children)
