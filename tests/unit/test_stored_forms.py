"""
What an earlier release stored, this one reads: the bytes themselves are written down here.

A round trip would not notice a change of both sides at once; a queue that outlives an upgrade would.
"""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from eventspool._encryption import Keyring
from eventspool._envelope import (
    MAX_PAYLOAD_BYTES,
    MAX_TEXT_BYTES,
    OVERSIZED,
    EnvelopeError,
    count_events,
    decrypt,
    encrypt,
    measure_text,
    open_envelope,
    seal,
)

EVENTS = [b'{"event":"a"}', b'{"event":"b"}']
PLAIN = bytes.fromhex(
    "455301005893609e02000000d103da2226000000"
    "7b226261746368223a5b7b226576656e74223a2261227d2c0a7b226576656e74223a2262227d"
)
DEFLATED = bytes.fromhex(
    "45530101d8be489c02000000d103da2226000000"
    "aa564a4a2c49ce50b28aae564a2d4bcd2b51b2524a54aad5e1427093946a01000000ffff"
)
CUT = bytes.fromhex(
    "455301046dd9607c02000000d103da222600000006000000317032683164"
    "7b226261746368223a5b7b226576656e74223a2261227d2c0a7b226576656e74223a2262227d"
)
BARE = bytes.fromhex(
    "455302009632ba7802000000d103da221c0000007b226576656e74223a2261227d2c0a7b226576656e74223a2262227d"
)
BARE_DEFLATED = bytes.fromhex(
    "4553020166e35a2202000000d103da221c000000aa564a2d4bcd2b51b2524a54aad5e1aa867393946a01000000ffff"
)
BARE_CUT = bytes.fromhex(
    "4553020498ee18b502000000d103da221c000000060000003170326831647b226576656e74223a2261227d2c0a7b22657665"
    "6e74223a2262227d"
)
TRACED = bytes.fromhex(
    "4553020cbed8996102000000d103da221c00000006000000317032683164050000007370616e737b226576656e74223a2261"
    "227d2c0a7b226576656e74223a2262227d"
)
KEYS = Keyring([b"\1" * 32])
ENCRYPTED = bytes.fromhex(
    "45530102028c9f72020000001452357fd5a71298000102030405060708090a0bfef59426786d66e7fc6ae7c4f16a128188c66b0a8eb3276105"
    "a950a29bdc469037a5bfca05e1288a6b7579b9fb7ba2e620923e53649955e7e682b39b7150f99a230bef98790e56536bba"
)
HEADER_BYTES = 20


def signed(flags, events, text_crc, text_bytes, stream):
    """Return an envelope whose own checksum is good, whatever else is wrong."""
    head = struct.pack("<2sBB", b"ES", 1, flags)
    rest = struct.pack("<III", events, text_crc, text_bytes) + stream
    return head + struct.pack("<I", zlib.crc32(rest, zlib.crc32(head))) + rest


def plain(text, *, events=1):
    return signed(0, events, zlib.crc32(text), len(text), text)


def deflated(text, *, text_crc=None, text_bytes=None):
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    stream = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    crc = zlib.crc32(text) if text_crc is None else text_crc
    return signed(1, 1, crc, len(text) if text_bytes is None else text_bytes, stream)


@pytest.mark.parametrize("stored", [PLAIN, DEFLATED])
def test_a_stored_batch_is_read(stored):
    assert count_events(stored) == 2
    assert open_envelope(stored).split() == EVENTS


def test_a_stored_batch_out_of_which_events_were_taken_is_read():
    """The first of four was erased, the last delivered."""
    envelope = open_envelope(CUT)
    assert (count_events(CUT), envelope.split()) == (2, EVENTS)
    assert (envelope.cut.here, envelope.cut.purged) == ((1, 2), (0,))


def test_an_encrypted_batch_is_read_with_its_key():
    assert decrypt(ENCRYPTED, KEYS) == PLAIN
    assert count_events(ENCRYPTED) == 2
    with pytest.raises(EnvelopeError) as caught:
        open_envelope(ENCRYPTED)
    assert str(caught.value) == "the batch is encrypted, and no key given here opens it"


@pytest.mark.parametrize("stored", [BARE, BARE_DEFLATED, BARE_CUT, TRACED])
def test_a_batch_that_can_share_a_request_is_read(stored):
    assert count_events(stored) == 2
    assert open_envelope(stored).split() == EVENTS
    assert measure_text(stored) == len(b",\n".join(EVENTS))


@pytest.mark.parametrize("stored", [PLAIN, DEFLATED, CUT, ENCRYPTED, b"junk"])
def test_other_batches_share_no_request(stored):
    assert measure_text(stored) is None


def test_what_is_stored_now_has_the_same_form():
    """A process of an earlier version, still running beside this one, must read it as well."""
    assert seal(EVENTS, compress=False) == BARE
    assert seal(EVENTS, compress=False, cut=open_envelope(CUT).cut) == BARE_CUT
    assert seal(EVENTS, compress=False, cut=open_envelope(CUT).cut, trace=b"spans") == TRACED
    now = encrypt(PLAIN, KEYS)
    assert (now[:4], now[8:20]) == (ENCRYPTED[:4], ENCRYPTED[8:20])
    assert len(now) == len(ENCRYPTED)


def test_batches_are_compressed_unless_told_otherwise():
    assert len(seal(EVENTS * 1000)) * 10 < len(seal(EVENTS * 1000, compress=False))


def test_the_header_alone_tells_how_many_events_there_are():
    assert count_events(PLAIN[:HEADER_BYTES]) == 2
    assert count_events(PLAIN[: HEADER_BYTES - 1]) == 0


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (plain(b""), "does not begin as one"),
        (plain(b'["batch",{}'), "does not begin as one"),
        (signed(1, 1, 0, 10, b"\xff\xff\xff"), "cannot be inflated"),
        (deflated(b'{"batch":[{}', text_crc=0), "something else than was stored"),
        (deflated(b'{"batch":[{}', text_bytes=11), "something else than was stored"),
        (plain(b'{"batch":[{}', events=2), "another number of events"),
    ],
)
def test_a_checksum_that_fits_does_not_make_a_batch(payload, message):
    envelope = open_envelope(payload)
    with pytest.raises(EnvelopeError, match=message) as caught:
        envelope.split()
    assert caught.value.reason == "corrupt"


def test_the_largest_text_is_64_mib_and_one_byte_more_is_a_bomb():
    assert MAX_TEXT_BYTES == 64 << 20
    assert open_envelope(signed(1, 1, 0, MAX_TEXT_BYTES, b"")).text_bytes == MAX_TEXT_BYTES
    with pytest.raises(EnvelopeError, match="inflates beyond all bounds"):
        open_envelope(signed(1, 1, 0, MAX_TEXT_BYTES + 1, b""))


def test_what_does_not_compress_fits_the_bound_of_a_payload_encrypted_too():
    """A larger one would be stored, and then never read."""
    noise = random.Random(0).randbytes(1 << 20)
    overhead = len(encrypt(seal([noise]), KEYS)) - len(noise)
    assert overhead > 0
    assert MAX_TEXT_BYTES + overhead * (MAX_TEXT_BYTES // len(noise) + 1) < MAX_PAYLOAD_BYTES


def test_what_backends_hand_out_for_a_payload_that_is_too_large_is_there_but_corrupt():
    """Not missing, as nothing would be: the two are parked for different reasons."""
    assert OVERSIZED
    with pytest.raises(EnvelopeError) as caught:
        open_envelope(OVERSIZED)
    assert caught.value.reason == "corrupt"
