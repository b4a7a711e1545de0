"""The benchmark of the capacity model: its arithmetic on made-up costs, and small loads that it must foretell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.fitting import fit_constants, fit_line, reckon
from benchmarks.place import Place
from benchmarks.scenarios import scale
from eventspool._operate.capacity import MEASURED, Load, form_batches

TRUE = replace(
    MEASURED,
    commit_call_us=70.0,
    deliver_kb_us=0.7,
    lane_job_us=33.0,
    partition_job_us=6.0,
    aof_job_us=9.0,
    job_bytes=500.0,
)


def measured(cell):
    """Return what *cell* would be measured to cost if TRUE were the truth."""
    payload = TRUE.stored_bytes(cell.events, TRUE.reference_event_bytes) * cell.events
    kb = payload / 1000
    total = reckon(cell, TRUE, payload)
    deliver = TRUE.deliver_us(cell.group, kb)
    return {
        "commit_us": total - deliver,
        "claim_us": deliver * 0.7,
        "ack_us": deliver * 0.3,
        "payload_bytes": payload,
        "event_bytes": TRUE.reference_event_bytes,
        "commit_seconds": 0.0004 + 0.0001 * cell.wait,
        "wire_job_bytes": 350.0,
        "memory_job_bytes": TRUE.job_bytes + TRUE.allocator_factor * payload,
    }


def test_the_constants_that_made_the_costs_are_found_again():
    found = {cell: measured(cell) for cell in scale.cells()}
    python = {
        "produce": [
            (n, jobs, (n * 4.0 + jobs * 100) / 1e6) for n, jobs in ((1000, 1000), (1000, 50), (9000, 10))
        ],
        "deliver": [
            (n, jobs, (n * 0.5 + jobs * 200) / 1e6) for n, jobs in ((1000, 1000), (1000, 50), (9000, 10))
        ],
    }
    constants = fit_constants(found, python)

    for name in (
        "commit_call_us",
        "deliver_kb_us",
        "lane_job_us",
        "aof_job_us",
        "job_bytes",
        "allocator_factor",
    ):
        assert getattr(constants, name) == pytest.approx(getattr(TRUE, name), rel=0.01), name
    assert (constants.produce_event_us, constants.produce_job_us) == pytest.approx((4.0, 100.0))
    assert (constants.deliver_event_us, constants.deliver_process_job_us) == pytest.approx((0.5, 200.0))
    for cell, figures in found.items():
        total = figures["commit_us"] + figures["claim_us"] + figures["ack_us"]
        assert reckon(cell, constants, figures["payload_bytes"]) == pytest.approx(total, rel=0.02), cell


def test_a_line_has_no_weight_below_zero():
    assert fit_line([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]], [3.0, 2.0, 1.0])[1] == 0.0


@pytest.fixture(scope="module")
def place():
    with Place() as found:
        yield found


@pytest.mark.rotating("small loads, foretold", seldom=True)
@pytest.mark.parametrize("rate", [60.0, 400.0, 2000.0])
def test_a_real_producer_makes_the_batches_that_the_model_foretells(place, rate):
    url = place.queue_url("redis")
    found = place.run("scale_live.py", url, place.sink.url, str(rate), "3")
    batches = form_batches(Load(events_per_second=found["events_per_second"], producers=1), MEASURED, 1)

    assert found["events_per_second"] == pytest.approx(rate, rel=0.15)
    assert batches.events_per_batch == pytest.approx(found["events_per_batch"], rel=0.2)


def test_a_job_is_measured_in_every_kind_of_queue(place):
    url = place.queue_url("redis")
    for partitions, ordering in ((1, "none"), (3, "none"), (1, "per_user")):
        found = place.run("scale_jobs.py", url, "20", "4", "48", str(partitions), ordering)
        assert found["payload_bytes"] > 20 * 50
        assert min(found[name] for name in ("commit_us", "claim_us", "ack_us", "memory_job_bytes")) > 0
