"""Whose event it is: told from the bytes as from the whole event, however the two ids stand in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._events.event import EventEncoder
from eventspool._events.last_word import LastWordEncoder
from eventspool._events.owner import owner_of

IDS = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["u1", 'a"b', "a\\b", '","userId":"x', "é", "\u2028", "userId"]
)
VALUES = st.recursive(
    IDS | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["userId", "anonymousId", "messageId", "a", 'a"userId']), inner, max_size=3
        )
    ),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["userId", "anonymousId", "messageId", 'x"userId', "p"]), VALUES, max_size=4
)


def _expected(event: bytes) -> bytes:
    fields = json.loads(event)
    return (fields.get("userId") or fields.get("anonymousId")).encode(errors="surrogatepass")


@pytest.mark.parametrize("fast", [True, False])
@given(user=st.none() | IDS, anonymous=st.none() | IDS, properties=PROPERTIES, context=st.none() | PROPERTIES)
def test_the_owner_is_the_events_own_id_and_no_field_of_its_properties(
    fast, user, anonymous, properties, context
):
    if user is None and anonymous is None:
        return
    encoder = EventEncoder(_fast=fast)
    for event, _ in (
        encoder.track(user, "e", properties, context, anonymous_id=anonymous),
        encoder.identify(user, properties, context, anonymous_id=anonymous),
        encoder.group(user, "g", properties, context, anonymous_id=anonymous),
    ):
        assert owner_of(event) == _expected(event)


@given(user=IDS, properties=PROPERTIES)
def test_the_order_in_which_a_host_puts_the_fields_does_not_matter(user, properties):
    encoder = LastWordEncoder(lambda event: dict(sorted(event.items(), reverse=True)), max_event_bytes=32_768)
    event, _ = encoder.track(user, "e", properties)
    assert owner_of(event) == _expected(event)


def test_an_alias_belongs_to_its_new_id_and_an_event_without_a_user_to_its_anonymous_id():
    encoder = EventEncoder()
    assert owner_of(encoder.alias("old", "new")[0]) == b"new"
    assert owner_of(encoder.track(None, "e", {}, anonymous_id="anon")[0]) == b"anon"
    assert owner_of(encoder.track("user", "e", {}, anonymous_id="anon")[0]) == b"user"


def test_both_encoders_write_one_id_so_that_it_is_one_owner():
    for user in ('quo"te', "back\\slash", "tab\t", "é", "\x7f", "\u2028", "😀"):
        events = [EventEncoder(_fast=fast).track(user, "e", {})[0] for fast in (True, False)]
        assert {owner_of(event) for event in events} == {user.encode()}


@pytest.mark.parametrize(
    "event", [b"", b"{}", b"[1]", b'{"userId": ', b'{"userId":7}', b'{"userId": "u7"}', b'{"userId":""}']
)
def test_an_event_of_another_program_is_read_too_or_belongs_to_nobody(event):
    assert owner_of(event) in {b"", b"7", b"u7"}
