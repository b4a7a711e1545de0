"""How a run of events is sorted and cut where the order per user is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventspool._buffering.lanes import cut_by_lanes, find_places, sort_places
from eventspool._envelope import FRAME_BYTES
from eventspool._job import lanes_of, new_job_id
from eventspool._routing import ALL_LANES, LANES, Routing


def _event(number, user, size=0):
    return b'{"userId":"%d","n":%d,"x":"%s"}' % (user, number, b"x" * size)


def _cut(events, routing, *, few=4, max_batch_bytes=100_000):
    places = find_places(events, routing)
    order = sort_places(places)
    events, places = [events[at] for at in order], [places[at] for at in order]
    batches, at = [], 0
    for cut in cut_by_lanes(events, places, routing, few=few, max_batch_bytes=max_batch_bytes):
        batches.append((cut, events[at : at + cut.events], places[at : at + cut.events]))
        at += cut.events
    assert at == len(events)
    return batches


RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 200)), min_size=1, max_size=200)


@given(RUNS, st.integers(1, 9), st.integers(1, 30), st.sampled_from([200, 1_000, 100_000]))
def test_each_event_is_in_one_batch_of_its_partition_and_lane_and_behind_its_users_earlier_ones(
    run, partitions, few, limit
):
    routing = Routing(3, partitions)
    events = [_event(number, user, size) for number, (user, size) in enumerate(run)]
    batches = _cut(events, routing, few=few, max_batch_bytes=limit)
    by_user: dict[int, list[int]] = {}
    for cut, batch, places in batches:
        assert cut.events
        assert cut.route.generation == 3
        assert {place // LANES for place in places} == {cut.route.partition}
        assert {place % LANES for place in places} == {lane for lane in range(LANES) if cut.lanes >> lane & 1}
        assert len(batch) == 1 or FRAME_BYTES + sum(len(event) + 2 for event in batch) <= limit + 2
        for event in batch:
            number = events.index(event)
            by_user.setdefault(run[number][0], []).append(number)
    assert all(numbers == sorted(numbers) for numbers in by_user.values())
    assert sum(len(numbers) for numbers in by_user.values()) == len(events)


def test_few_events_make_one_batch_for_each_partition_and_many_make_batches_of_few_lanes():
    routing = Routing(0, 2)
    few = _cut([_event(n, n) for n in range(40)], routing, few=64)
    assert [cut.route.partition for cut, *_ in few] == [0, 1]
    many = _cut([_event(n, n) for n in range(4_000)], routing, few=64)
    assert len(many) == 2 * LANES
    assert all(cut.lanes.bit_count() == 1 for cut, *_ in many)
    some = _cut([_event(n, n) for n in range(2 * 64 * 4)], routing, few=64)
    assert 6 <= len(some) <= 8
    assert all(cut.lanes.bit_count() <= 8 for cut, *_ in some)


def test_a_lane_that_most_events_belong_to_makes_no_empty_or_tiny_batches_beside_it():
    batches = _cut([_event(n, 0 if n % 10 else n) for n in range(1_000)], Routing(0, 1), few=64)
    assert sum(cut.events for cut, *_ in batches) == 1_000
    assert len(batches) <= LANES
    assert sum(cut.events < 16 for cut, *_ in batches) <= 2


def test_a_cut_is_crossed_by_no_event():
    order = sort_places([3, 1, 2, 1, 0, 0], [2, 4])
    assert order == [1, 0, 3, 2, 4, 5]


def test_the_lanes_stand_in_the_id_unless_they_are_all():
    assert lanes_of(new_job_id(0b101)) == 0b101
    assert lanes_of(new_job_id(ALL_LANES)) == ALL_LANES
