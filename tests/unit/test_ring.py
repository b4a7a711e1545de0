"""How a queue's division is written down, and how it changes."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from eventspool._backends.partitioned.ring import ROOT, SLOTS, Division, Part, Ring, choose_tag, read_ring

RINGS = [
    Ring(),
    Ring((Division(1, 4),)),
    Ring().announce(4),
    Ring().announce(4).publish().announce(2),
    Ring((Division(0, 1), Division(3, 16)), totals=(5, 4, 3, 2, 1)),
    Ring((Division(2, 8),)).announce(16).publish().forget(Division(2, 8), (1, 1, 0, 0, 0)),
]


@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_what_is_written_is_read_back(ring):
    assert read_ring(str(ring)) == ring


@pytest.mark.parametrize("text", ["", "x", "1", "1.2.3", "?", "1.4;1.2", "1.-4", "1.4,,2.2"])
def test_what_is_damaged_is_an_undivided_queue(text):
    assert read_ring(text) == Ring()
    assert not read_ring(text).is_divided


def test_a_division_takes_jobs_in_order_only_when_it_is_published():
    ring = Ring().announce(4)
    assert (ring.present, ring.newest) == (Division(0, 1), Division(1, 4))
    assert ring.publish().present == Division(1, 4)
    assert ring.publish().old == (Division(0, 1),)
    assert (ring.publish().routing.generation, ring.publish().routing.partitions) == (1, 4)


def test_a_generation_never_comes_again():
    ring = Ring().announce(4).publish().forget(Division(0, 1), (0,) * 5)
    assert ring.announce(1).newest == Division(2, 1)


def test_a_ring_that_a_server_has_lost_is_put_together_again_from_what_a_process_knows():
    known = Ring((Division(2, 4),)).announce(2).publish()
    assert known.merge(Ring((Division(1, 8),))).divisions == (Division(1, 8), Division(2, 4), Division(3, 2))
    assert known.merge(known) == known
    rival = known.merge(Ring((Division(3, 16),)))
    assert {Division(3, 2), Division(3, 16)} <= set(rival.old), "which of them took new jobs cannot be told"
    assert rival.newest.generation == 4


def test_the_root_keeps_the_keys_of_a_queue_without_partitions():
    assert choose_tag("orders", ROOT, lambda tag: 0) == "orders:0"


@pytest.mark.parametrize("partitions", [1, 2, 3, 16, 100, 256])
def test_each_partition_lies_in_its_own_range_of_slots(partitions):
    tags = [
        choose_tag("orders", part, lambda tag: key_slot(tag.encode()))
        for part in Division(3, partitions).parts
    ]
    slots = [key_slot(f"hightouch:{{{tag}}}:d".encode()) for tag in tags]
    assert [slot * partitions // SLOTS for slot in slots] == list(range(partitions))
    assert len(set(tags)) == partitions


def test_partitions_of_different_divisions_have_different_keys():
    parts = [part for of in (1, 2, 4) for generation in (1, 2) for part in Division(generation, of).parts]
    tags = {choose_tag("orders", part, lambda tag: key_slot(tag.encode())) for part in parts}
    assert len(tags) == len(parts)


def test_a_partition_is_named_and_read_back():
    assert Part.read(str(Part(3, 16, 7))) == Part(3, 16, 7)
    assert Part.read("3.16") is None
