"""Whose event it is: no event of a user is skipped, however it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventspool._events.decoding import decode_event
from eventspool._events.encoding import without_surrogates
from eventspool._operate import terms as module
from eventspool._operate.user import User

SHORT = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
FIELDS = ("userId", "anonymousId", "previousId", "groupId", "us\\u0065rId")
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from('a1"\\/\b\n\u00e4\U0001f600\u2028')), max_size=6)


@st.composite
def written(draw, text):
    """*text* as JSON, each character in any of the forms that JSON allows."""
    forms = []
    for character in text:
        units = character.encode("utf-16-be", "surrogatepass").hex()
        escaped = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
        upper = escaped.upper().replace("\\U", "\\u")
        plain = [] if character < " " or character in '"\\' else [character]
        short = [SHORT[character]] if character in SHORT else []
        forms.append(draw(st.sampled_from([*plain, *short, escaped, upper])))
    return '"' + "".join(forms) + '"'


@st.composite
def events(draw, text):
    """An event that perhaps has *text* as a user's id, in any form and place, or a value that only looks like it."""
    values = st.one_of(
        written(text), TEXTS.flatmap(written), st.just("17"), written(text).map(lambda t: f'{{"userId":{t}}}')
    )
    space = st.sampled_from(["", " ", "\n"])
    members = draw(st.lists(st.tuples(st.sampled_from(FIELDS), values), max_size=3))
    joined = ",".join(f'{draw(space)}"{name}"{draw(space)}:{value}' for name, value in members)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]))
    return (draw(space) + "{" + joined + draw(space) + "}").encode(encoding, "surrogatepass")


@given(TEXTS.flatmap(lambda text: st.tuples(st.just(text), events(text))))
@example(("a/b", b'{"userId":"a\\/b"}'))
@example(("\U0001f600", b'{"userId":"\\uD83D\\ude00"}'))
@example(("", b'{"userId":""}'))
def test_an_event_is_found_exactly_where_decoding_it_finds_it(case):
    user_id, event = case
    wanted = without_surrogates(user_id)
    try:
        fields = decode_event(event)
    except ValueError:
        fields = None
    found = User(user_id).is_in(event)
    if fields is not None:
        assert found is any(fields.get(name) == wanted for name in ("userId", "anonymousId", "previousId"))
    else:
        assert not found


@pytest.mark.parametrize(
    "event", [b"not json", b"[1]", b"", b'"ann"', b'{"userId":"ann"', b'{"userId":"ann",}']
)
def test_what_is_no_object_or_holds_the_id_and_cannot_be_read_is_not_called_another_users(event):
    assert User("ann").is_in(event) is None


def test_an_id_may_be_as_long_as_an_event():
    long = "ä/" * 20_000
    assert User(long).is_in(json.dumps({"userId": long}).encode())
    assert not User(long).is_in(json.dumps({"userId": long + "x"}).encode())


def test_events_of_others_are_not_decoded(monkeypatch):
    """It is what makes an erasure quick: also for a short id, and where an event has escapes."""
    decoded = []
    monkeypatch.setattr(module, "decode_event", lambda event: decoded.append(event) or decode_event(event))
    user = User("17")
    others = [
        {"userId": "170", "n": 17, "note": 'a "b" 17'},
        {"userId": "1\n7"},
        {"userId": "\u00e417", "n": 1e300},
    ]
    assert not any(user.is_in(json.dumps(each).encode()) for each in others)
    assert decoded == []
    assert user.is_in(b'{"userId":"\\u0031\\u0037"}')
    assert len(decoded) == 1
