"""The weather: seeded, complete, and named for people."""

from __future__ import annotations

from itertools import islice

from eventspool._demo.weather import CLEAR, fault_name, forecast


def test_the_same_seed_brings_the_same_weather():
    assert list(islice(forecast(7), 30)) == list(islice(forecast(7), 30))
    assert list(islice(forecast(7), 30)) != list(islice(forecast(8), 30))


def test_every_kind_of_trouble_comes_in_turn_with_fair_weather_between():
    spells = list(islice(forecast(1), 20))

    assert set(spells[::2]) == {CLEAR}
    assert len({spell.title for spell in spells[1:10:2]}) == 5
    assert {spell.title for spell in spells[1:10:2]} == {spell.title for spell in spells[11:20:2]}


def test_every_fault_has_a_name():
    rules = {str(rule) for spell in islice(forecast(1), 10) for rule in spell.rules}

    assert len({fault_name(rule) for rule in rules}) == len(rules) == 6
    assert all(fault_name(rule) != rule or rule == "outage" for rule in rules)
