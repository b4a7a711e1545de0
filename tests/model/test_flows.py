"""
A producer of a queue that keeps the order per user, and whatever may go wrong: each accepted event is stored once, in the
order of its user, whichever partitions are away, full, or divided anew, and wherever a turn is cut off.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventspool._buffering import maker as maker_module
from eventspool._buffering import outbox as outbox_module
from eventspool._buffering.outbox import Outbox
from eventspool._settling.watched import Watchers

from .divided import CutOff, DividedQueue, Producer, SpillFile
from .virtual import Broken, Simulation

STEPS = st.one_of(
    st.tuples(st.just("track"), st.integers(1, 12)),
    st.tuples(st.just("turn"), st.sampled_from([0.0, 0.05, 0.3, 2.0])),
    st.tuples(st.just("cut_off"), st.integers(1, 900)),
    st.tuples(st.just("flush"), st.booleans()),
    st.tuples(st.just("divide"), st.integers(1, 5)),
    st.tuples(st.just("publish"), st.none()),
    st.tuples(st.just("away"), st.integers(0, 4)),
    st.tuples(st.just("back"), st.none()),
    st.tuples(st.just("full"), st.integers(0, 4)),
    st.tuples(st.just("all_away"), st.booleans()),
    st.tuples(st.just("unknown"), st.booleans()),
    st.tuples(st.just("deliver"), st.none()),
    st.tuples(st.just("move"), st.none()),
    st.tuples(st.just("file_full"), st.booleans()),
)
PORTIONS = 5
OPTIONS = st.fixed_dictionaries(
    {
        "flush_at": st.sampled_from([1, 3, 20]),
        "flush_interval": st.sampled_from([0.1, 5.0]),
        "max_internal_queue_size": st.sampled_from([10, 1000]),
        "max_batch_bytes": st.sampled_from([1_024, 460_800]),
        "max_event_bytes": st.just(200),
        "durability": st.sampled_from(["buffered", "persisted"]),
    }
)


class Story:
    """Plays steps."""

    def __init__(self, partitions, seed, options, *, spills=False) -> None:
        self.simulation = Simulation(seed)
        self.queue = DividedQueue(self.simulation.dice, partitions)
        self.spill = SpillFile(self.queue) if spills else None
        self.producer = Producer(self.simulation, self.queue, self.spill, **options)

    def play(self, steps) -> None:
        with self.simulation.in_charge():
            for name, how in steps:
                self._step(name, how)
                self.simulation.now += 0.001
            self.producer.heal()
            self.producer.check()
            self.producer.deliver()
            self._check_end()

    def _step(self, name, how) -> None:
        producer, queue, dice = self.producer, self.queue, self.simulation.dice
        match name:
            case "track":
                for _ in range(how):
                    producer.track(
                        dice.randrange(9), callback=dice.random() < 0.3, durable=dice.random() < 0.3
                    )
            case "turn":
                self.simulation.now += how
                producer.turn()
            case "cut_off":
                producer.turn(CutOff(how))
                if dice.random() < 0.5:
                    producer.turn()
            case "flush":
                producer.flush(until_stored=how)
            case "divide":
                queue.divide(how)
            case "publish":
                queue.published = queue.routing
            case "away":
                queue.away.add(how)
            case "back":
                queue.away.clear()
                queue.room.clear()
            case "full":
                queue.room[how] = 0
            case "all_away":
                queue.is_away = how
            case "unknown":
                queue.is_unknown = how
            case "deliver":
                producer.deliver(0.5)
            case "move" if self.spill is not None:
                self.spill.move()
            case "file_full" if self.spill is not None:
                self.spill.is_full = how

    def _check_end(self) -> None:
        producer = self.producer
        wrong = {event: times for event, times in producer.called.items() if times != 1}
        if wrong:
            raise Broken(f"callbacks came so often: {wrong}")
        if producer.ledger.open_jobs or producer.problems:
            raise Broken(f"{producer.ledger.open_jobs} jobs are open; {producer.problems}")
        for waiter, events, _ in producer.ends:
            result = producer.ledger.close_waiter(waiter)
            if not waiter.is_over or result.pending or result.delivered > events:
                raise Broken(f"a flush of {events} events counts {result}")
        if producer.ledger._watchers._callbacks or producer.ledger._watchers._stored_calls:
            raise Broken("something still hangs on events that are settled")


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1 << 30), OPTIONS, st.booleans(), st.lists(STEPS, max_size=40))
def test_each_event_is_stored_once_and_in_its_users_order(partitions, seed, options, spills, steps):
    Story(partitions, seed, options, spills=spills).play(steps)


@pytest.mark.rotating("flows", seldom=True)
@pytest.mark.parametrize("first", range(10))
def test_long_stories_of_many_events_end_the_same(first):
    """Up to hundreds of events at a time, so that batches are many and full."""
    dice = Simulation(first).dice
    names = [
        "track", "track", "turn", "turn", "cut_off", "flush", "divide", "publish", "away", "back", "full", "all_away",
        "unknown", "deliver", "move", "file_full",
    ]  # fmt: skip
    for number in range(60):
        steps = []
        for _ in range(120):
            name = dice.choice(names)
            how = {
                "track": dice.choice([1, 10, 300]), "turn": dice.choice([0.0, 0.3, 3.0]), "cut_off": dice.randrange(1, 4000),
                "divide": dice.randrange(1, 9), "away": dice.randrange(8), "full": dice.randrange(8),
            }.get(name, dice.random() < 0.4)  # fmt: skip
            steps.append((name, how))
        options = {
            "flush_at": dice.choice([1, 20]),
            "flush_interval": dice.choice([0.2, 5.0]),
            "max_internal_queue_size": dice.choice([100, 20_000]),
            "max_batch_bytes": dice.choice([2_000, 460_800]),
            "max_event_bytes": 200,
        }
        try:
            Story(dice.randrange(1, 9), number, options, spills=dice.random() < 0.5).play(steps)
        except Exception as error:
            raise AssertionError(f"{error!r} in story {first}.{number}") from error


@pytest.mark.rotating("flows cut off", seldom=True)
@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_wherever_a_turn_is_cut_off_nothing_is_lost_doubled_or_overtaken(partitions, portion):
    """Every line of a flush, of jobs made anew for another division, and of a partition that is away."""
    for number in range(1 + portion, 100_000, PORTIONS):
        story = Story(partitions, 7, {"flush_at": 4, "max_internal_queue_size": 200})
        producer, queue = story.producer, story.queue
        cut_off = CutOff(number)

        def play(cut_off=cut_off, producer=producer, queue=queue, story=story):
            for _ in range(3):
                for user in range(6):
                    producer.track(user, callback=True, durable=user % 2 == 0)
            producer.flush(until_stored=True)
            queue.away.add(1)
            yield
            producer.track(1)
            queue.divide(2)
            queue.published = queue.routing
            yield
            story.simulation.now += 10
            producer.track(2)
            producer.flush(until_stored=False)
            yield

        with story.simulation.in_charge():
            for _ in play():
                producer.turn(cut_off)
                producer.turn()
            producer.heal()
            producer.check()
            producer.deliver()
            story._check_end()
        if cut_off.place is None:
            break
    assert number > 300


# Each of these is a fault that somebody could write. A test that does not notice them proves nothing.


def _sort_over_flushes(patch):
    patch.setattr("eventspool._buffering.buffer.Buffer.mark", lambda self: self.accepted)


def _let_newer_divisions_overtake(patch):
    patch.setattr(Outbox, "_eligible", lambda self: iter(self.jobs))


def _overtake_in_a_partition(patch):
    first = outbox_module._first_of_one_partition
    patch.setattr(outbox_module, "_first_of_one_partition", lambda jobs, most: first(jobs, most)[::-1])


def _leave_callbacks_where_they_were(patch):
    rearrange = Watchers.rearrange
    patch.setattr(
        Watchers,
        "rearrange",
        lambda self, old, new, first, order: rearrange(self, old, new, first, range(len(order))),
    )


def _do_not_sort(patch):
    patch.setattr(maker_module, "sort_places", lambda places, cuts=(): list(range(len(places))))


def _play_all():
    for first in range(10):
        test_long_stories_of_many_events_end_the_same(first)


@pytest.mark.parametrize(
    "plant",
    [
        _sort_over_flushes,
        _let_newer_divisions_overtake,
        _overtake_in_a_partition,
        _leave_callbacks_where_they_were,
        _do_not_sort,
    ],
)
def test_a_planted_fault_is_found(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        _play_all()
