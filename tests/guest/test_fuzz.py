"""
Hostile values for the event methods: no call lets an exception out or hangs, and each is counted.

Twenty processes make 50,000 calls each, a million in all; six of them keep their events in SQLite. Other values than
those of every run: ``EVENTSPOOL_FUZZ_SEED=7 pytest tests/guest/test_fuzz.py``, more of them: ``EVENTSPOOL_FUZZ_CALLS``. One
batch once more, as the failure says: ``EVENTSPOOL_FUZZ_SEED=20261127 EVENTSPOOL_FUZZ_BATCH=12``, with ``--whole``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.harness import unmeasured_environment
from eventspool.testing import DataPlane

CALLS = int(os.environ.get("EVENTSPOOL_FUZZ_CALLS", "50000"))
SEED = int(os.environ.get("EVENTSPOOL_FUZZ_SEED", "20261124"))
BATCH = os.environ.get("EVENTSPOOL_FUZZ_BATCH", "")
STORES = ["memory", "sqlite"] if BATCH else [*["memory", "memory", "sqlite"] * 6, "memory", "memory"]
LONGEST = 3.0
"""Seconds of the calling thread's processor, which a busy machine does not stretch as it does the clock's."""
_TESTS = Path(__file__).parent.parent


@pytest.fixture
def patient_plane():
    """A data plane that takes numbers of any length, as JSON allows."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    with DataPlane(keep_events=0, keep_requests=0) as plane:
        yield plane
    sys.set_int_max_str_digits(limit)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("portion", "store"), list(enumerate(STORES)))
def test_no_call_lets_an_exception_out_or_hangs_and_each_is_counted(patient_plane, tmp_path, portion, store):
    """In a process of its own; whatever was accepted, the data plane takes."""
    path = os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH"))))
    seed = SEED if BATCH else SEED + portion
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "guest.fuzz",
            patient_plane.url,
            patient_plane.write_key,
            str(seed),
            str(CALLS),
            BATCH,
            str(tmp_path) if store == "sqlite" else "",
        ],
        env={
            **unmeasured_environment(),
            "PYTHONPATH": path,
        },  # coverage would take longer than a million calls
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    last = result.stdout.splitlines()[-1:]
    assert result.returncode == 0, f"exit status {result.returncode} in {last}: {result.stderr[-4000:]}"
    counts = json.loads(last[0])
    print(counts)
    assert BATCH or counts["calls"] >= CALLS
    assert counts["slowest"][0] < LONGEST, counts["slowest"]
    assert counts["accepted"] == counts["counted"] == counts["delivered"] == patient_plane.stats().events
    assert counts["refused"] == counts["counted_refused"]
    assert set(counts["reasons"]) <= {"invalid", "unencodable", "too_large"}
    assert BATCH or min(counts[kind] for kind in ("accepted", "refused", "raised")) > CALLS // 100
