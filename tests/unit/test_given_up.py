"""One line a minute for each reason why events are given up, with how many they were."""

from __future__ import annotations

from eventspool._delivery.givenup import NEVER, GivenUp


def make():
    lines = []
    return GivenUp(lambda message, *given: lines.append(message % given)), lines


def test_the_first_line_waits_for_more_of_its_kind_and_the_next_one_a_minute():
    given_up, lines = make()
    assert given_up.due_at == NEVER
    for _ in range(3):
        given_up.add("rejected", 1_000, now=10.0)
    given_up.tell(10.4)
    assert lines == []
    given_up.tell(given_up.due_at)
    [line] = lines
    assert line.startswith(
        "3,000 events were given up (rejected), in 3 batches: The data plane refused these events"
    )
    assert "What to do: mend what makes them" in line

    given_up.add("rejected", 1, now=20.0)
    given_up.add("too_large", 1, now=20.0)
    given_up.tell(30.0)
    assert [line.split(":")[0] for line in lines[1:]] == ["1 event was given up (too_large), in 1 batch"]
    given_up.tell(70.6)
    assert "(rejected), in 1 batch" in lines[2]
    assert given_up.due_at == NEVER


def test_at_the_end_nothing_is_kept_back_and_a_reason_of_another_version_is_told():
    given_up, lines = make()
    given_up.add("rejected", 1, now=0.0)
    given_up.add("novel", 2, now=0.0)
    given_up.tell(0.0, all_of_it=True)

    assert len(lines) == 2
    assert "see `eventspool queue failed`" in lines[1]
