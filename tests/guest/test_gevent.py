"""A worker of gunicorn's that is forked first and patched by gevent afterwards, with us imported and used before both."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.harness import Store, new_queue_name, run_python

PROGRAM = Path(__file__).parent / "programs/greened.py"


@pytest.mark.alone
@pytest.mark.rotating
@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_no_wait_of_ours_halts_the_green_threads(plane, tmp_path, kind, request):
    """
    What waits in a call of C's halts them all: a request would stand still for seconds, in each of some runs.

    A machine that is busy may halt them once, too.
    """
    store = {
        "memory": lambda: None,
        "sqlite": lambda: Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name()),
        "redis": lambda: request.getfixturevalue("redis_store"),
    }[kind]()
    args = [store.url, store.queue_name] if store else []
    longest = []
    while len(longest) < 3 and min(longest, default=1.0) > 0.5:
        result = run_python(PROGRAM, plane.url, plane.write_key, *args, measured=False)
        longest.append(float(result.stdout))
    assert min(longest) < 0.5, longest
    assert plane.stats().unique == 5 * len(longest)
