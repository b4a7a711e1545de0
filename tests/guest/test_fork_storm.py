"""
A thousand forks amid the work of eight threads that track: 84 (``EVENTSPOOL_FORKS``) in each of twelve portions.

In every second portion four threads fork, also at the same instant. This is a hunt: which lock of Python's or of a library's
a child inherits is chance. ``e2e/test_fork.py`` has the forks of every commit.
"""

from __future__ import annotations

import os

import pytest

from e2e.forking import args, assert_once, run

__all__ = ["args"]

FORKS = int(os.environ.get("EVENTSPOOL_FORKS", "84"))


@pytest.mark.hunt
@pytest.mark.timeout(400)
@pytest.mark.parametrize("forkers", [1, 4], ids=["one thread forks", "four threads fork"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_of_parent_and_children_arrives_once(plane, args, seed, forkers):
    """No deadlock in any child; the parent's events arrive by the parent, the children's by them."""
    parents, children = run("storm", args, seed=seed, forks=FORKS, forkers=forkers)
    assert len(children) == 3 * FORKS
    assert len(parents) > 100, "the parent tracked all the while"
    assert_once(plane, parents + children)
