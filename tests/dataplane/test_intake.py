"""What a body must be to count as a batch: no sockets."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._dataplane.intake import MAX_EVENTS, event_error, inflate, parse_batch, read_batch
from eventspool._dataplane.wire import Refused

MIB = 1 << 20


def refusal_of(call, *args):
    """Return (status, message) of the refusal that *call* ends in."""
    with pytest.raises(Refused) as caught:
        call(*args)
    return caught.value.status, caught.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(json_values, min_size=1, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_events_are_cut_out_exactly_as_they_were_sent(events, indent, ascii_only):
    text = json.dumps({"x": [1], "batch": events, "sentAt": "now"}, indent=indent, ensure_ascii=ascii_only)

    batch = parse_batch(text.encode("utf-8", "surrogatepass") if ascii_only else text.encode())

    assert batch.events == events
    assert [json.loads(raw) for raw in batch.raw] == events
    assert all(raw in text and raw == raw.strip() for raw in batch.raw)
    assert batch.sent_at == "now"


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:batch1 \n\\', max_size=40).map(str.encode))
def test_junk_is_refused_and_nothing_else_happens(body):
    status, _ = refusal_of(parse_batch, body)

    assert status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"batch":[]}',
        b'{"batch":{}}',
        b'{"batch":[1}',
        b'{"batch":[1]',
        b'{"batch":[1,]}',
        b'{"batch":[1 2]}',
        b'{"batch":[1]}x',
        b'{"batch":[1],"batch":[2]}',
        b'{"batch":[NaN]}',
        b'{"batch":[1e]}',
        b'{"batch":[' + b"[" * 100_000 + b"]}",
        b'{1:2,"batch":[1]}',
        b'{"batch":[1],}',
        b'\xff{"batch":[1]}',
        b'\xef\xbb\xbf{"batch":[1]}',
    ],
)
def test_what_is_no_batch_is_answered_with_400(body):
    assert refusal_of(parse_batch, body)[0] == 400


def test_a_batch_of_very_many_events_is_too_large():
    body = b'{"batch":[' + b",".join([b"1"] * (MAX_EVENTS + 1)) + b"]}"

    assert refusal_of(parse_batch, body)[0] == 413


def test_a_bomb_costs_no_more_than_the_limit():
    """130 KB that inflate to 128 MiB: refused at the limit, not after."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(128)) + packer.flush()
    assert len(bomb) < 140_000
    tracemalloc.start()
    try:
        status, _ = refusal_of(inflate, bomb, 4 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert status == 413
    assert peak < 6 * MIB


def test_the_limit_holds_over_all_members_of_a_gzip_body():
    members = gzip.compress(bytes(MIB)) * 5

    assert refusal_of(inflate, members, 4 * MIB)[0] == 413
    assert len(inflate(members, 5 * MIB)) == 5 * MIB


@pytest.mark.parametrize("cut", [0, 1, 9, 15, -9, -4, -1])
def test_a_truncated_gzip_body_is_refused(cut):
    assert refusal_of(inflate, gzip.compress(b"x" * 100)[:cut], MIB)[0] == 400


def test_a_damaged_gzip_body_is_refused():
    packed = bytearray(gzip.compress(b"x" * 100))
    packed[-6] ^= 1

    assert refusal_of(inflate, bytes(packed), MIB)[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"content-type": "text/html"}, 415),
        ({"content-type": "multipart/form-data"}, 415),
        ({"content-type": "application/json", "content-encoding": "br"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip, gzip"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 400),
    ],
)
def test_foreign_types_and_encodings_are_refused(headers, status):
    assert refusal_of(read_batch, headers, b'{"batch":[1]}', MIB)[0] == status


def test_a_charset_and_identity_are_no_reason_to_refuse():
    headers = {"content-type": "Application/JSON; charset=utf-8", "content-encoding": "identity"}

    assert read_batch(headers, b'{"batch":[1]}', MIB).events == [1]


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group", "alias"])
def test_a_complete_event_of_each_type_is_right(event, kind):
    assert event_error(event(type=kind, groupId="g", previousId="p")) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "tarck"}, "type must be one of"),
        ({"type": None}, "type must be one of"),
        ({"type": ["track"]}, "type must be one of"),
        ({"messageId": ""}, "messageId must be"),
        ({"messageId": 7}, "messageId must be"),
        ({"messageId": "x" * 257}, "messageId must be"),
        ({"timestamp": "yesterday"}, "timestamp must be"),
        ({"timestamp": 1700000000}, "timestamp must be"),
        ({"event": ""}, "event must be"),
        ({"event": None}, "event must be"),
        ({"userId": None}, "userId or anonymousId"),
        ({"userId": "", "anonymousId": ""}, "userId or anonymousId"),
        ({"userId": True}, "userId or anonymousId"),
        ({"userId": ["u"]}, "userId or anonymousId"),
        ({"type": "group", "groupId": False}, "groupId must be"),
        ({"timestamp": None, "originalTimestamp": "yesterday"}, "timestamp must be"),
        ({"type": "group"}, "groupId must be"),
        ({"type": "alias"}, "previousId must be"),
        ({"type": "alias", "previousId": "p", "userId": None, "anonymousId": "a"}, "userId must be"),
    ],
)
def test_an_incomplete_event_is_named_by_what_it_misses(event, change, message):
    complete = event(message_id="m1")

    assert event_error(complete) is None
    assert message in event_error(complete | change)


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": None},
        {"timestamp": None, "originalTimestamp": "2026-01-01T00:00:00.000Z"},
        {"userId": 5},
        {"userId": None, "anonymousId": 1.5},
        {"type": "group", "groupId": 7},
        {"type": "alias", "previousId": 7},
    ],
)
def test_what_other_sdks_leave_out_or_send_as_a_number_is_right(event, change):
    assert event_error(event(message_id="m1") | change) is None


def test_an_event_without_any_time_is_right(event):
    given = event()
    del given["timestamp"]
    assert event_error(given) is None


def test_an_anonymous_id_is_an_id(event):
    assert event_error(event(userId=None, anonymousId="a")) is None


@pytest.mark.parametrize("junk", [None, 1, "x", [], True])
def test_what_is_no_object_is_no_event(junk):
    assert event_error(junk) == "an event must be an object"
