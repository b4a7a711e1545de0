"""Request bodies of one and of several stored batches."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._delivery.body import make_body
from eventspool._envelope import FRAME_BYTES, SEPARATOR, Cut, EnvelopeError, open_envelope, seal
from unit.test_stored_forms import DEFLATED, EVENTS, PLAIN

SENT_AT = "2026-11-23T17:26:00.123Z"
batches = st.lists(
    st.tuples(
        st.lists(st.integers(0, 10**9).map(lambda n: b'{"n":%d}' % n), min_size=1, max_size=5), st.booleans()
    ),
    min_size=1,
    max_size=8,
)


@given(batches, st.booleans())
def test_a_body_holds_the_events_of_all_batches_in_their_order(stored, zipped):
    envelopes = [open_envelope(seal(events, compress=compress)) for events, compress in stored]
    body = make_body(envelopes, SENT_AT, gzip=zipped)
    text = gzip.decompress(body) if zipped else body
    events = [json.loads(event) for events, _ in stored for event in events]
    assert json.loads(text) == {"batch": events, "sentAt": SENT_AT}
    texts = sum(envelope.text_bytes for envelope in envelopes)
    assert len(text) == FRAME_BYTES + texts + len(SEPARATOR) * (len(envelopes) - 1)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_a_gzipped_body_is_one_member_without_a_byte_behind_it(count):
    envelope = open_envelope(seal([b'{"event":"e"}'] * 7))
    inflater = zlib.decompressobj(wbits=31)
    text = inflater.decompress(make_body([envelope] * count, SENT_AT, gzip=True))
    assert inflater.eof
    assert not inflater.unused_data
    assert len(json.loads(text)["batch"]) == 7 * count


@pytest.mark.parametrize("stored", [PLAIN, DEFLATED])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_batch_of_the_first_version_may_stand_before_others(stored, zipped):
    body = make_body([open_envelope(stored), open_envelope(seal([b"{}"]))], SENT_AT, gzip=zipped)
    text = gzip.decompress(body) if zipped else body
    assert json.loads(text)["batch"] == [*(json.loads(event) for event in EVENTS), {}]


def test_a_batch_out_of_which_events_were_taken_is_like_another():
    cut = open_envelope(seal([b"{}", b"[]"], cut=Cut(b"dhph")))
    body = make_body([cut, cut], SENT_AT, gzip=True)
    assert json.loads(gzip.decompress(body))["batch"] == [{}, [], {}, []]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("change", [{"text_bytes": 3}, {"text_bytes": 300}, {"stream": b"\xff\xff"}])
def test_a_batch_that_is_not_what_it_says_is_found_before_it_is_sent_beside_others(change, zipped):
    good = open_envelope(seal([b'{"event":"e"}']))
    with pytest.raises(EnvelopeError):
        make_body([good, replace(good, **change)], SENT_AT, gzip=zipped)
