"""What an operator asks of events: no event that has it is skipped, however it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventspool._envelope import seal
from eventspool._events.decoding import decode_event
from eventspool._events.encoding import without_surrogates
from eventspool._operate import terms as module
from eventspool._operate.terms import HoldsText, Terms

CHARACTERS = st.one_of(
    st.characters(), st.sampled_from('aAkKsS1"\\/\n\u00e4\u00c4\u00df\u017f\u212a\U0001f600')
)
TEXTS = st.text(CHARACTERS, max_size=4)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans()),
    lambda values: st.one_of(st.lists(values, max_size=2), st.dictionaries(TEXTS, values, max_size=2)),
    max_leaves=6,
)


def leaves(value):
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for each in value.values() for text in leaves(each))]
    return [text for each in value for text in leaves(each)] if isinstance(value, list) else []


@given(
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.text(CHARACTERS, min_size=1, max_size=2),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
@example({"a": 'say "hi"'}, 'y "h', True, "utf-8")
@example({"a": "STRASSE"}, "stra\u00dfe", False, "utf-8")
@example({"a": "\u212a"}, "k", True, "utf-8")
def test_a_text_is_found_wherever_an_event_holds_it(event, text, ascii_only, encoding):
    stored = json.dumps(event, ensure_ascii=ascii_only).encode(encoding, "surrogatepass")
    try:
        held = leaves(decode_event(stored))
    except ValueError:
        return
    wanted = without_surrogates(text).casefold()
    if any(wanted in each.casefold() for each in held):
        assert HoldsText(text).is_in(stored)


@pytest.mark.parametrize(
    ("text", "is_found"),
    [("PRO", True), ('"plan":"pro"', True), ("19.9", True), ("prop", True), ("gold", False), ("pro ", False)],
)
def test_a_text_is_looked_for_in_the_json_as_it_is_stored(text, is_found):
    """Names of fields, numbers and a piece of JSON that was copied from a log are found, too."""
    assert HoldsText(text).is_in(b'{"properties":{"plan":"pro","price":19.90}}') is is_found


def test_an_event_meets_each_term_that_is_given():
    first = {"event": "Order", "userId": "u1", "messageId": "m1", "note": "Big"}
    batch = [first, {**first, "userId": "u2", "messageId": "m2"}, {"type": "page", "name": "Order"}]
    payload = seal([json.dumps(each, separators=(",", ":")).encode() for each in batch])

    def places(**terms):
        return Terms(**terms).find_in(payload).places

    assert places(event="Order") == (0, 1, 2)
    assert places(event="Ord") == ()
    assert places(event="Order", user_id="u2") == (1,)
    assert places(message_id="m1") == (0,)
    assert places(text="big", user_id="u1") == (0,)
    assert places(message_id="m1", user_id="u2") == ()
    assert not Terms()


def test_what_cannot_be_read_is_told_apart_from_what_does_not_match():
    assert not Terms(text="x").find_in(b"junk").is_readable
    assert not Terms(event="x").find_in(seal([b'{"event":"x"'])).is_readable
    assert Terms(event="y").find_in(seal([b'{"event":"x"}'])).is_readable
    some = Terms(event="x").find_in(seal([b'{"event":"x"', b'{"event":"x"}']))
    assert (some.places, some.is_readable) == ((1,), True)


def test_events_that_cannot_match_are_not_decoded(monkeypatch):
    """It is what makes a search through a million jobs quick."""
    monkeypatch.setattr(module, "decode_event", None)
    payload = seal([b'{"event":"Other","userId":"u2","note":"\xc3\xa4"}'] * 3)
    for terms in (Terms(event="Order"), Terms(user_id="u1"), Terms(message_id="m"), Terms(text="gold")):
        assert terms.find_in(payload).places == ()
    assert Terms(text="OTHER").find_in(payload).places == (0, 1, 2)
