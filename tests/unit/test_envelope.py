"""The stored form of a batch: every byte is guarded, and it becomes a request body without being inflated."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._delivery.body import make_body
from eventspool._encryption import Keyring
from eventspool._envelope import (
    MAX_TEXT_BYTES,
    Cut,
    EnvelopeError,
    count_events,
    cut_of,
    decrypt,
    encrypt,
    measure_text,
    open_envelope,
    seal,
    trace_of,
)

SENT_AT = "2026-11-23T17:26:00.123Z"
EVENT = {"type": "track", "event": "Käse 🧀", "messageId": "m1", "properties": {"text": ',\n],"sentAt":"x"}'}}
ENCODED = json.dumps(EVENT, ensure_ascii=False, separators=(",", ":")).encode()

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=5,
)
encoded_events = st.lists(
    st.dictionaries(st.text(), values, max_size=4).map(
        lambda event: json.dumps(event, separators=(",", ":")).encode()
    ),
    min_size=1,
    max_size=8,
)


def _signed(payload):
    """Return *payload* with a checksum that fits, as only somebody who means it would write."""
    return payload[:4] + struct.pack("<I", zlib.crc32(payload[8:], zlib.crc32(payload[:4]))) + payload[8:]


def _reason(payload):
    with pytest.raises(EnvelopeError) as caught:
        open_envelope(payload).split()
    return caught.value.reason


@given(encoded_events, st.booleans())
def test_events_come_back_byte_for_byte(events, compress):
    payload = seal(events, compress=compress)
    assert count_events(payload) == len(events)
    assert open_envelope(payload).split() == events


@given(encoded_events, st.booleans(), st.booleans())
def test_the_body_is_the_batch_with_the_moment_of_sending(events, compress, zipped):
    body = make_body([open_envelope(seal(events, compress=compress))], SENT_AT, gzip=zipped)
    text = gzip.decompress(body) if zipped else body
    assert json.loads(text) == {"batch": [json.loads(event) for event in events], "sentAt": SENT_AT}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("events", [[ENCODED], [ENCODED] * 500])
def test_the_body_is_one_gzip_member_without_a_byte_behind_it(events, compress):
    body = make_body([open_envelope(seal(events, compress=compress))], SENT_AT, gzip=True)
    inflater = zlib.decompressobj(wbits=31)
    text = inflater.decompress(body)
    assert inflater.eof
    assert not inflater.unused_data
    assert text == gzip.decompress(body)
    assert len(json.loads(text)["batch"]) == len(events)


def test_the_same_payload_is_sent_again_with_another_moment():
    envelope = open_envelope(seal([ENCODED]))
    first, second = (
        json.loads(gzip.decompress(make_body([envelope], at, gzip=True))) for at in (SENT_AT, "later")
    )
    assert (first["sentAt"], second["sentAt"]) == (SENT_AT, "later")
    assert first["batch"] == second["batch"] == [EVENT]


@pytest.mark.parametrize("compress", [True, False])
def test_every_flipped_bit_is_found(compress):
    payload = seal([ENCODED, ENCODED], compress=compress)
    for position in range(len(payload)):
        for bit in range(8):
            damaged = bytearray(payload)
            damaged[position] ^= 1 << bit
            with pytest.raises(EnvelopeError):
                open_envelope(bytes(damaged))


@pytest.mark.parametrize("compress", [True, False])
def test_every_truncation_and_every_added_byte_is_found(compress):
    payload = seal([ENCODED, ENCODED], compress=compress)
    for length in range(len(payload)):
        with pytest.raises(EnvelopeError):
            open_envelope(payload[:length])
    with pytest.raises(EnvelopeError):
        open_envelope(payload + b"\0")


@given(st.binary(max_size=100))
def test_foreign_bytes_are_no_batch(junk):
    assert _reason(junk) == "corrupt"
    assert count_events(junk) == 0


@pytest.mark.parametrize(("position", "value"), [(2, 3), (2, 255), (3, 6), (3, 10), (3, 16), (3, 129)])
def test_a_newer_format_is_told_from_a_corrupt_one(position, value):
    payload = bytearray(seal([ENCODED]))
    payload[position] = value
    assert _reason(_signed(bytes(payload))) == "unsupported"


def test_a_batch_that_inflates_beyond_all_bounds_is_not_inflated():
    payload = bytearray(seal([ENCODED]))
    payload[16:20] = struct.pack("<I", MAX_TEXT_BYTES + 1)
    assert _reason(_signed(bytes(payload))) == "corrupt"


def test_a_stream_that_inflates_to_more_than_it_says_is_cut_off_there():
    """A bomb that lies about its size costs no more memory than it admits to."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = bomb.compress(b"0" * 50_000_000) + bomb.flush(zlib.Z_SYNC_FLUSH)
    payload = _signed(seal([ENCODED])[:8] + struct.pack("<III", 1, 0, 1_000) + stream)
    assert _reason(payload) == "corrupt"


def test_a_count_that_is_not_that_of_the_events_is_found():
    payload = bytearray(seal([ENCODED, ENCODED]))
    payload[8:12] = struct.pack("<I", 3)
    assert _reason(_signed(bytes(payload))) == "corrupt"


_WITHOUT_ISAL = """
import sys
sys.modules["isal"] = None
from eventspool import _envelope
assert _envelope._deflate.__name__ == "zlib"
for line in sys.stdin:
    events = _envelope.open_envelope(bytes.fromhex(line)).split()
    sys.stdout.write(_envelope.seal(events).hex() + "\\n")
"""


@pytest.mark.parametrize("events", [[ENCODED], [ENCODED] * 1_000])
def test_with_and_without_isal_batches_are_the_same_to_each_other(events):
    theirs = subprocess.run(
        [sys.executable, "-c", _WITHOUT_ISAL],
        input=seal(events).hex() + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    envelope = open_envelope(bytes.fromhex(theirs.stdout.strip()))
    assert envelope.split() == events
    assert len(json.loads(gzip.decompress(make_body([envelope], SENT_AT, gzip=True)))["batch"]) == len(events)


def test_a_batch_that_was_cut_says_which_of_the_first_events_are_left():
    whole = Cut(b"h" * 6)
    once = whole.keep([0, 2, 3, 5], Cut.PURGED)
    twice = once.keep([1, 2], Cut.DONE)
    assert (once.here, once.purged) == ((0, 2, 3, 5), (1, 4))
    assert (twice.here, twice.purged) == ((2, 3), (1, 4))
    for compress in (False, True):
        payload = seal([b"{}", b"[]"], compress=compress, cut=twice)
        envelope = open_envelope(payload)
        assert (envelope.cut, envelope.split()) == (twice, [b"{}", b"[]"])
        assert (count_events(payload), cut_of(payload)) == (2, twice)
        assert (
            gzip.decompress(make_body([envelope], "now", gzip=True)) == b'{"batch":[{},\n[]],"sentAt":"now"}'
        )


def test_a_whole_batch_is_stored_as_it_always_was():
    assert cut_of(seal([ENCODED])) is None
    assert cut_of(b"junk") is None
    assert cut_of(None) is None


def test_many_events_that_were_taken_out_cost_a_few_bytes():
    cut = Cut(b"h" * 5_000).keep([17], Cut.DONE)
    assert len(seal([b"{}"], cut=cut)) < len(seal([b"{}"])) + 20


@pytest.mark.parametrize("junk", [b"2", b"2x", b"h2", b"99999999d2h", b"2h" * 3, b"-2h", b" 2h"])
def test_a_cut_that_makes_no_sense_is_corrupt(junk):
    payload = bytearray(seal([b"{}", b"[]"], compress=False, cut=Cut(b"hh")))
    payload[20:26] = len(junk).to_bytes(4, "little") + junk
    assert _reason(_signed(bytes(payload))) == "corrupt"


@pytest.mark.parametrize("length", [0, 1, 1000, 2**32 - 1])
def test_a_cut_of_another_length_than_it_says_is_corrupt(length):
    payload = bytearray(seal([b"{}", b"[]"], compress=False, cut=Cut(b"hh")))
    payload[20:24] = length.to_bytes(4, "little")
    assert _reason(_signed(bytes(payload))) == "corrupt"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("cut", [None, Cut(b"dhh")])
def test_a_batch_says_in_which_spans_it_began_and_no_request_holds_that(compress, cut):
    payload = seal([b"{}", b"[]"], compress=compress, cut=cut, trace=b"in these spans")
    envelope = open_envelope(payload)

    assert (envelope.trace, trace_of(payload)) == (b"in these spans", b"in these spans")
    assert (envelope.cut, envelope.split(), count_events(payload)) == (cut, [b"{}", b"[]"], 2)
    assert measure_text(payload) == len(b"{},\n[]")
    together = [envelope, open_envelope(seal([b"1"], compress=compress))]
    for zipped in (False, True):
        for envelopes, text in (([envelope], b"{},\n[]"), (together, b"{},\n[],\n1")):
            body = make_body(envelopes, "now", gzip=zipped)
            assert (gzip.decompress(body) if zipped else body) == b'{"batch":[%b],"sentAt":"now"}' % text


def test_an_encrypted_batch_says_it_to_those_who_have_the_key():
    keys = Keyring([b"\1" * 32])
    stored = encrypt(seal([ENCODED], trace=b"in these spans"), keys)

    assert b"in these" not in stored
    assert trace_of(stored) == b""
    assert trace_of(decrypt(stored, keys)) == b"in these spans"


@pytest.mark.parametrize("payload", [None, b"", b"junk", b"ES\2\x08" + b"\0" * 30, seal([ENCODED])], ids=repr)
def test_what_says_nothing_of_spans_or_cannot_be_read_has_none(payload):
    assert trace_of(payload) == b""


def test_a_trace_that_is_longer_than_the_payload_is_corrupt():
    payload = bytearray(seal([b"{}"], compress=False, trace=b"in these spans"))
    payload[20:24] = (100).to_bytes(4, "little")
    assert _reason(_signed(bytes(payload))) == "corrupt"
