"""Which jobs share a request: those that come next to each other, as many as fit, and the fewer the more they failed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._claim import ClaimedJob
from eventspool._delivery.parcel import MOST_JOBS, Packer
from eventspool._envelope import FRAME_BYTES, SEPARATOR, Cut, seal
from unit.test_stored_forms import DEFLATED

LARGE = 10_000
EVENT = b'{"event":"e"}'


def make_job(job_id, *events, **about):
    return ClaimedJob(job_id, seal(list(events or [EVENT])), about.pop("attempts", 0), **about)


def make_packer(most=64, max_bytes=LARGE):
    """Return a packer that has heard good answers until *most* jobs may share a request."""
    packer = Packer(max_bytes, most)
    while packer.jobs_for(1) < most:
        packer.note_answer(["j"] * packer.jobs_for(1))
    return packer


def ids_of(parcels):
    return [[job.id for job in parcel.jobs] for parcel in parcels]


def test_the_first_jobs_of_a_process_travel_alone_and_each_good_answer_doubles_the_company():
    packer = Packer(LARGE)
    jobs = [make_job(f"{n}") for n in range(8)]
    sizes = []
    for _ in range(3):
        parcels = packer.pack(jobs)
        sizes.append(len(parcels[0].jobs))
        packer.note_answer(ids_of(parcels)[0])
    assert sizes == [1, 2, 4]


def test_an_answer_to_fewer_than_may_share_a_request_lets_no_more_share_it():
    packer = make_packer(4)
    packer.note_answer(["a"])
    assert packer.jobs_for(1) == 4


def test_a_claim_asks_for_what_fills_the_requests_and_for_no_more_than_a_thousand():
    packer = make_packer(MOST_JOBS)
    assert packer.jobs_for(8) == MOST_JOBS
    assert make_packer(4).jobs_for(8) == 32


def test_a_claim_of_lone_jobs_is_bounded_by_their_number_alone():
    assert Packer(LARGE).bytes_for(8) is None


def test_a_claim_is_bounded_by_what_was_seen_of_how_well_jobs_compress():
    packer = make_packer(4)
    before = packer.bytes_for(1)
    packer.pack(make_job(f"{n}", *[b'"%s"' % (b"x" * 100)] * 20) for n in range(100))
    assert 0 < packer.bytes_for(1) < before / 5
    assert packer.bytes_for(2) == pytest.approx(2 * packer.bytes_for(1), abs=1)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=30),
    st.integers(FRAME_BYTES + 1, 700),
    st.integers(1, 9),
)
def test_parcels_keep_the_order_and_the_bounds_and_none_could_take_the_next_job(sizes, max_bytes, most):
    packer = make_packer(most, max_bytes)
    jobs = [make_job(f"{n}", b"1" * size) for n, size in enumerate(sizes)]
    parcels = packer.pack(jobs)
    assert [job for parcel in parcels for job in parcel.jobs] == jobs

    def body_bytes(parcel, *more):
        texts = [sizes[int(job.id)] for job in (*parcel.jobs, *more)]
        return FRAME_BYTES + sum(texts) + len(SEPARATOR) * (len(texts) - 1)

    for parcel in parcels:
        assert len(parcel.jobs) <= most
        assert len(parcel.jobs) == 1 or body_bytes(parcel) <= max_bytes
    for parcel, after in itertools.pairwise(parcels):
        assert len(parcel.jobs) == most or body_bytes(parcel, after.jobs[0]) > max_bytes


@pytest.mark.parametrize(
    "job",
    [
        make_job("x", progress="0-1,1-2|"),
        make_job("x", attempts=1),
        ClaimedJob("x", None, 0),
        ClaimedJob("x", b"junk", 0),
        ClaimedJob("x", DEFLATED, 0),
        ClaimedJob("x", seal([]), 0),
    ],
    ids=["begun", "tried", "missing", "junk", "older", "empty"],
)
def test_a_job_that_is_begun_under_suspicion_or_unlike_others_travels_alone(job):
    parcels = make_packer().pack([make_job("a"), make_job("b"), job, make_job("c"), make_job("d")])
    assert ids_of(parcels) == [["a", "b"], ["x"], ["c", "d"]]


def test_a_job_out_of_which_events_were_taken_shares_requests():
    cut = ClaimedJob("x", seal([EVENT], cut=Cut(b"dh")), 0)
    assert ids_of(make_packer().pack([make_job("a"), cut])) == [["a", "x"]]


def test_jobs_whose_request_failed_travel_in_halves_and_at_last_alone():
    packer = make_packer(8)
    jobs = [make_job(f"{n}") for n in range(8)]
    sizes = []
    for _ in range(4):
        parcels = packer.pack(jobs)
        sizes.append([len(parcel.jobs) for parcel in parcels])
        for parcel in parcels:
            packer.note_failure([job.id for job in parcel.jobs])
    assert sizes == [[8], [4, 4], [2] * 4, [1] * 8]


def test_jobs_of_which_there_were_too_many_requests_go_on_together_unless_they_hear_nothing_else():
    packer = make_packer(8)
    jobs = [make_job(f"{n}") for n in range(8)]
    sizes = []
    for _ in range(17):
        parcels = packer.pack(jobs)
        sizes.append([len(parcel.jobs) for parcel in parcels])
        for parcel in parcels:
            packer.note_throttled([job.id for job in parcel.jobs])
    assert sizes == [[8]] * 8 + [[4, 4]] * 8 + [[2] * 4]
    assert packer.jobs_for(1) == 8, "other jobs are not concerned"
    packer.note_answer([job.id for job in jobs])
    assert len(packer.pack(jobs)) == 1


def test_others_are_not_packed_with_a_job_that_is_to_travel_alone():
    packer = make_packer(8)
    packer.note_failure(["a", "b"])
    for _ in range(3):
        packer.note_answer([f"{n}" for n in range(packer.jobs_for(1))])
    parcels = packer.pack([make_job(name) for name in "xaybz"])
    assert ids_of(parcels) == [["x"], ["a"], ["y"], ["b"], ["z"]]


def test_an_answer_ends_the_suspicion():
    packer = make_packer(8)
    packer.note_failure(["a", "b"])
    packer.note_answer(["a"])
    for _ in range(3):
        packer.note_answer([f"{n}" for n in range(packer.jobs_for(1))])
    assert ids_of(packer.pack([make_job("a"), make_job("c"), make_job("b")])) == [["a", "c"], ["b"]]


def test_a_body_that_was_too_large_is_not_made_again():
    packer = make_packer(64, 5_000)
    jobs = [make_job(f"{n}", b"1" * 500) for n in range(20)]
    packer.note_too_large(4_000)
    assert all(len(parcel.jobs) * 500 <= 2_000 for parcel in packer.pack(jobs))
    packer.note_too_large(9_000)
    assert all(len(parcel.jobs) * 500 <= 2_000 for parcel in packer.pack(jobs))


def test_where_larger_bodies_were_taken_of_late_it_was_an_event_that_is_too_large():
    packer = make_packer(64, 5_000)
    jobs = [make_job(f"{n}", b"1" * 500) for n in range(9)]
    packer.note_taken(4_000)
    packer.note_too_large(1_100)
    assert len(packer.pack(jobs)) == 1
    for _ in range(200):  # by now the data plane may take less than it did
        packer.note_taken(1_000)
        packer.note_answer(["a", "b"])
    packer.note_too_large(1_100)
    assert len(packer.pack(jobs)) > 4


def test_that_a_body_was_too_large_is_forgotten_with_many_good_answers():
    packer = make_packer(64, 5_000)
    jobs = [make_job(f"{n}", b"1" * 500) for n in range(9)]
    packer.note_too_large(100)
    for _ in range(50):
        packer.note_answer(["a"])
    assert len(packer.pack(jobs)) == 9
    for _ in range(600):
        packer.note_answer(["a"])
    assert len(packer.pack(jobs)) == 1


def test_what_is_remembered_of_jobs_is_bounded():
    packer = make_packer(4)
    for number in range(20_000):
        packer.note_failure([f"{number}a", f"{number}b"])
        packer.note_throttled([f"{number}a", f"{number}b"])
    assert len(packer._companies) == len(packer._throttled) == 10_000
