"""Encryption at rest: nothing readable in the storage, keys that can be replaced, and no way to lose a batch."""

from __future__ import annotations

import base64
import logging
import os
import struct
import sys
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.harness import PATIENCE, Calls, Store, assert_delivered, eventually, new_queue_name, run_python
from eventspool import Client, ConfigError, QueueError, QueueOpts, open_queue
from eventspool._encryption import Keyring, parse_keys
from eventspool._envelope import EnvelopeError, count_events, decrypt, encrypt, open_envelope, seal

from .at_rest import stored_bytes, stored_payloads

CANARY = "canary-of-the-payload"
OURS = Keyring([b"\1" * 32])
EVENTS = [b'{"event":"%s"}' % CANARY.encode()] * 3


def reason_of(payload):
    with pytest.raises(EnvelopeError) as caught:
        open_envelope(payload)
    return caught.value.reason


def signed(payload):
    """Return *payload* with a CRC that fits, as whoever tampers with it would write."""
    return payload[:4] + struct.pack("<I", zlib.crc32(payload[8:], zlib.crc32(payload[:4]))) + payload[8:]


# -- the stored form --


@given(st.binary(max_size=5000))
def test_whatever_was_encrypted_comes_back(plain):
    encrypted = encrypt(plain, OURS)
    assert decrypt(encrypted, OURS) == plain
    assert reason_of(encrypted) == "encrypted"


def test_what_an_operator_may_know_stays_readable_and_nothing_else():
    payload = seal(EVENTS, compress=False)
    encrypted = encrypt(payload, OURS)
    assert count_events(encrypted) == 3
    assert encrypted[12:20] == OURS.key_id
    for start in range(
        4, len(payload) - 4
    ):  # no checksum or length of the text either: it could be guessed from them
        if payload[start : start + 4] != struct.pack("<I", 3):
            assert payload[start : start + 4] not in encrypted


def test_the_same_batch_is_never_stored_the_same_way_twice():
    payload = seal(EVENTS)
    assert len({encrypt(payload, OURS)[20:32] for _ in range(100)}) == 100


def test_every_changed_bit_is_found_even_with_a_checksum_that_fits():
    encrypted = encrypt(seal(EVENTS), OURS)
    for position in [*range(4), *range(8, len(encrypted))]:
        for bit in range(8):
            changed = bytearray(encrypted)
            changed[position] ^= 1 << bit
            assert reason_of(bytes(changed)) in ("corrupt", "unsupported")
            tampered = signed(bytes(changed))
            assert decrypt(tampered, OURS) is tampered


def test_every_truncation_is_found():
    encrypted = encrypt(seal(EVENTS), OURS)
    for length in range(len(encrypted)):
        assert decrypt(encrypted[:length], OURS) == encrypted[:length]
        assert decrypt(signed(encrypted[:length].ljust(8)), OURS) == signed(encrypted[:length].ljust(8))
        assert reason_of(encrypted[:length]) == "corrupt"


def test_a_key_is_replaced_in_two_steps():
    old, new = b"\1" * 32, b"\2" * 32
    before, after = Keyring([old]), Keyring([new, old])
    payload = seal(EVENTS)
    assert decrypt(encrypt(payload, before), after) == payload
    by_new = encrypt(payload, after)
    assert decrypt(by_new, Keyring([new])) == payload
    assert decrypt(by_new, before) is by_new
    assert reason_of(by_new) == "encrypted"


def test_both_alphabets_of_base64_and_every_way_to_list_keys_are_understood():
    keys = [bytes([251] * 32), bytes(range(32))]
    plain = [base64.b64encode(key).decode() for key in keys]
    assert "+" in plain[0]
    for given_keys in (plain, tuple(plain), ",".join(plain), f" {plain[0]} ,\n{plain[1]}\n"):
        assert parse_keys(given_keys) == tuple(keys)
    assert parse_keys(base64.urlsafe_b64encode(keys[0]).decode()) == (keys[0],)


def test_what_cannot_be_opened_is_not_wrapped_once_more():
    """Moved by a process without its key, as from a spill file, it must still open with that key alone."""
    foreign = encrypt(seal(EVENTS), Keyring([b"\2" * 32]))
    assert encrypt(foreign, OURS) is foreign


def test_threads_share_a_keyring():
    failures = []

    def work():
        for _ in range(200):
            plain = os.urandom(500)
            if decrypt(encrypt(plain, OURS), OURS) != plain:
                failures.append(plain)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -- the package --


def test_without_the_package_a_client_says_so_and_stores_nothing(tmp_path, key, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    queue = QueueOpts(url=f"sqlite:///{tmp_path}/queue.db", encryption_key=key)
    with pytest.raises(ConfigError, match=r"eventspool\[encryption\]"):
        Client("k", persistence=queue)
    with Client("k") as client, pytest.raises(ConfigError, match=r"eventspool\[encryption\]"):
        client.create_persistence_queue(queue)
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_the_package_is_not_loaded(tmp_path):
    code = """
import sys
from eventspool import Client
with Client("k", persistence=f"sqlite:///{sys.argv[1]}/queue.db", process=False) as client:
    client.track("u", "E")
    assert client.flush(until="persisted", timeout=60).pending == 0
assert not [name for name in sys.modules if name.startswith("cryptography")]
"""
    run_python(code, str(tmp_path))


# -- end to end --


def test_no_event_can_be_read_in_the_storage_whatever_becomes_of_it(clients, plane, store, key):
    """Waiting, tried again, refused in part (a smaller batch replaces it) and refused with words of the event."""
    persistence = store.opts(is_multi_processor=True, encryption_key=key, job_opts={"max_attempts": 1000})
    client = clients(persistence=persistence, flush_at=10)
    plane.script({"reject": "events", "event": f"Bad-{CANARY}"})
    for name in (f"Bad-{CANARY}", "Good", "Good"):
        client.track("u1", name, {"text": f"{CANARY} " * 20})
    client.flush(timeout=PATIENCE)
    [failed] = client.queue.jobs("failed")
    assert (failed.events, failed.reason) == (1, "rejected")
    plane.script("outage")
    client.track("u1", "Later", {"text": CANARY})
    eventually(lambda: client.queue.stats().delayed.jobs, "one was tried")
    enqueuing = clients(persistence=persistence, process=False)
    enqueuing.track("u1", "Later still", {"text": CANARY})
    assert enqueuing.flush(until="persisted", timeout=PATIENCE).pending == 0

    found = stored_bytes(store)
    assert CANARY.encode() not in found
    assert b"messageId" not in found
    payloads = stored_payloads(store)
    assert len(payloads) >= 3
    for payload in payloads:
        assert reason_of(payload) == "encrypted"
    for secret in (key.encode(), base64.b64decode(key), plane.write_key.encode()):
        assert secret not in found

    with open_queue(store.url, store.queue_name, encryption_key=key) as queue:
        [event] = queue.events(failed.id)
        assert (event["event"], event["properties"]["text"]) == (f"Bad-{CANARY}", f"{CANARY} " * 20)
        [job] = queue.jobs("failed")
        assert job.error == failed.error
        assert "refused it with 200" in job.error
    with store.open() as keyless:
        assert keyless.stats().failed.events == 1
        assert keyless.jobs("failed")[0].error.startswith("encrypted:")
        with pytest.raises(QueueError, match="encrypted, and no key given here opens it"):
            keyless.events(failed.id)
    plane.script()


def test_what_the_data_plane_said_of_an_event_is_not_readable_either(clients, plane, store, key):
    plane.script({"reject": "batch", "event": CANARY})
    on_error = Calls()
    client = clients(persistence=store.opts(encryption_key=key), on_error=on_error)
    client.track("u1", CANARY)
    client.flush(timeout=PATIENCE)
    [(error, _)] = on_error.await_calls(1)
    assert error.reason == "rejected"
    with open_queue(store.url, store.queue_name, encryption_key=key) as queue:
        [job] = queue.jobs("failed")
    assert job.error == str(error)
    assert job.error.encode() not in stored_bytes(store)


@pytest.mark.parametrize("is_multi_processor", [True, False], ids=["shared", "in order"])
def test_a_processor_without_the_key_keeps_every_batch(
    clients, plane, store, make_key, caplog, is_multi_processor
):
    """It tries as after any failure, then parks them with a reason; with the key they are delivered as they were."""
    ours, theirs = make_key(), make_key()
    common = {"is_multi_processor": is_multi_processor, "job_opts": {"max_attempts": 2}}
    producer = clients(persistence=store.opts(encryption_key=ours, **common), process=False)
    ids = [producer.track("u1", "E", {"n": n}) for n in range(3)]
    assert producer.flush(until="persisted", timeout=PATIENCE).pending == 0
    for wrong in (None, theirs):
        on_error = Calls()
        with caplog.at_level(logging.ERROR):
            processor = clients(persistence=store.opts(encryption_key=wrong, **common), on_error=on_error)
            processor.flush()
            eventually(lambda: store.failed_events() == 3, "all are parked")
            eventually(lambda: "check encryption_key" in caplog.text, "it is told")
        assert {job.reason for job in processor.queue.jobs("failed")} == {"encrypted"}
        jobs = len(processor.queue.jobs("failed"))
        assert [(error.reason, events) for error, events in on_error.await_calls(jobs)] == [
            ("encrypted", [])
        ] * jobs
        processor.close()
        caplog.clear()
        with store.open() as queue:
            assert queue.retry_failed(reason="encrypted") == jobs
    assert plane.stats().requests == 0
    clients(persistence=store.opts(encryption_key=[theirs, ours], **common)).flush()
    assert plane.wait_for(lambda stats: stats.unique == 3, timeout=PATIENCE)
    assert set(plane.unique_ids()) == set(ids)
    eventually(lambda: store.stored_events() == store.failed_events() == 0, "nothing is left")


def test_what_was_stored_before_there_was_a_key_is_delivered(clients, plane, store, key):
    before = clients(persistence=store.opts(), process=False)
    message_id = before.track("u1", "Before")
    assert before.flush(until="persisted", timeout=PATIENCE).pending == 0
    client = clients(persistence=store.opts(encryption_key=key))
    client.track("u1", "After")
    assert_delivered(client, 1)
    eventually(lambda: plane.received(message_id), "the earlier one arrives, too")


def test_what_waited_in_memory_is_encrypted_when_it_moves_into_the_queue(clients, plane, store, key):
    plane.script({"status": 503})
    client = clients()
    client.track("u1", CANARY)
    eventually(lambda: plane.stats().requests, "memory tries to deliver it")
    client.create_persistence_queue(store.opts(encryption_key=key))
    eventually(lambda: store.stored_events() == 1, "it moves into the queue")
    [payload] = stored_payloads(store)
    assert reason_of(payload) == "encrypted"
    assert CANARY.encode() not in stored_bytes(store)
    plane.script()
    assert_delivered(client, 1)


def test_what_goes_into_a_spill_file_is_encrypted_with_the_queues_key(
    clients, plane, redis_server, tmp_path, key
):
    queue = Store("redis", redis_server.url, new_queue_name())
    spilled = Store("sqlite", f"sqlite:///{tmp_path}/spill.db", queue.queue_name)
    client = clients(persistence=queue.opts(encryption_key=key), spill=spilled.url)
    client.track("u1", "Before")
    assert_delivered(client, 1)
    redis_server.kill()
    client.track("u1", CANARY)
    eventually(lambda: (tmp_path / "spill.db").exists() and spilled.stored_events(), "it is spilled")
    [payload] = stored_payloads(spilled)
    assert reason_of(payload) == "encrypted"
    assert CANARY.encode() not in stored_bytes(spilled)
    redis_server.start()
    assert_delivered(client, 2)
