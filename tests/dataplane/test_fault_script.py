"""Which rule decides which request: no sockets, no clock."""

from __future__ import annotations

from eventspool._dataplane.faults import FaultScript
from eventspool._dataplane.rules import Rule, parse_rule


def script(*rules, seed=0):
    return FaultScript(map(parse_rule, rules), seed=seed)


def decisions(faults, count, elapsed=0.0, events=(), body_bytes=100):
    """Return the text of the rule that decides each of *count* requests."""
    made = [faults.decide(elapsed, list(events), body_bytes) for _ in range(count)]
    return [str(each.rule) if each.rule else None for each in made]


def test_the_same_seed_gives_the_same_faults():
    first = decisions(script("status=503,p=0.3", seed=7), 200)

    assert decisions(script("status=503,p=0.3", seed=7), 200) == first
    assert decisions(script("status=503,p=0.3", seed=8), 200) != first
    assert 30 <= sum(each is not None for each in first) <= 90


def test_a_rule_behind_does_not_disturb_the_dice_of_one_in_front():
    alone = decisions(script("status=503,p=0.3"), 100)

    with_another = decisions(script("status=503,p=0.3", "status=500,p=0.5"), 100)

    fired = [index for index, each in enumerate(alone) if each]
    assert [index for index, each in enumerate(with_another) if each == "status=503,p=0.3"] == fired


def test_two_rules_throw_different_dice():
    made = [script("latency=1,p=0.5", "status=503,p=0.5", seed=seed).decide(0.0, [], 0) for seed in range(40)]

    assert {(each.latency > 0, each.rule is not None) for each in made} == {
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    }


def test_probability_zero_never_fires_and_one_always():
    assert decisions(script("status=503,p=0"), 50) == [None] * 50
    assert decisions(script("status=503,p=1"), 50) == ["status=503,p=1"] * 50


def test_every_fires_at_each_nth_request():
    fired = decisions(script("status=503,every=3"), 7)

    assert [each is not None for each in fired] == [False, False, True, False, False, True, False]


def test_next_fires_for_so_many_requests_and_never_again():
    assert [each is not None for each in decisions(script("status=503,next=2"), 4)] == [
        True,
        True,
        False,
        False,
    ]


def test_next_counts_only_requests_for_which_the_rest_holds():
    faults = script("status=503,next=1,event=Poison")

    assert decisions(faults, 3, events=[{"event": "Fine"}]) == [None, None, None]
    assert decisions(faults, 2, events=[{"event": "Poison"}]) == ["status=503,next=1,event=Poison", None]


def test_a_window_begins_with_its_first_instant_and_ends_before_its_last():
    faults = script("status=503,from=2,to=4")

    fired = [faults.decide(elapsed, [], 0).rule is not None for elapsed in (1.999, 2.0, 3.999, 4.0)]

    assert fired == [False, True, True, False]


def test_the_first_rule_that_holds_decides():
    assert decisions(script("status=503,next=1", "status=500"), 2) == ["status=503,next=1", "status=500"]


def test_latency_adds_up_and_leaves_the_decision_to_later_rules():
    decision = script("latency=0.25", "latency=0.5", "drip=0.1", "status=503").decide(0.0, [], 0)

    assert (decision.latency, decision.drip, decision.rule.status) == (0.75, 0.1, 503)


def test_latency_from_a_range_is_seeded_and_within_it():
    def draw(seed):
        faults = script("latency=0.1..0.5", seed=seed)
        return [faults.decide(0.0, [], 0).latency for _ in range(50)]

    assert draw(1) == draw(1) != draw(2)
    assert all(0.1 <= each <= 0.5 for each in draw(1))
    assert max(draw(1)) - min(draw(1)) > 0.2


def test_a_rule_about_events_names_those_that_match():
    events = [{"event": "Fine"}, {"event": "Poison"}, "junk", {"event": "Poison"}]

    assert script("reject,event=Poison").decide(0.0, events, 0).matched == (1, 3)


def test_a_predicate_sees_every_event():
    rule = Rule(status=500, predicate=lambda event: event["userId"] == "u2")

    assert FaultScript([rule]).decide(0.0, [{"userId": "u1"}, {"userId": "u2"}], 0).matched == (1,)
    assert FaultScript([rule]).decide(0.0, [{"userId": "u1"}], 0).rule is None


def test_limits_are_exceeded_only_by_more():
    assert decisions(script("max_events=2"), 1, events=[{}, {}]) == [None]
    assert decisions(script("max_events=2"), 1, events=[{}, {}, {}]) == ["max_events=2"]
    assert decisions(script("max_bytes=100"), 1, body_bytes=100) == [None]
    assert decisions(script("max_bytes=100"), 1, body_bytes=101) == ["max_bytes=100"]


def test_only_a_drop_before_the_body_decides_before_it():
    faults = script("status=503", "drop=before,next=1")

    assert [faults.before_body(0.0) is not None for _ in range(2)] == [True, False]
    assert script("drop=after").before_body(0.0) is None


def test_an_outage_says_when_it_changes():
    faults = script("outage,from=2,to=4")

    assert faults.outage(0.5) == (False, 1.5)
    assert faults.outage(2.0) == (True, 2.0)
    assert faults.outage(4.0) == (False, None)
    assert script("outage").outage(99.0) == (True, None)


def test_firings_are_counted_by_rule():
    faults = script("status=503,next=2", "latency=0.5")
    decisions(faults, 3)

    assert faults.fired() == {"status=503,next=2": 2, "latency=0.5": 1}
