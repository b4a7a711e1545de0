"""What must not be seen: the write key, passwords, encryption keys and events, in any log, repr, error or file of ours."""

from __future__ import annotations

import base64
import contextlib
import gc
import logging
import os
import traceback
import warnings

import pytest

from e2e.harness import PATIENCE, Store, eventually, new_queue_name
from eventspool import AsyncClient, Client, EventSpoolError, open_queue
from eventspool._guest.log import drain_log
from eventspool._redis_server import RedisServer
from eventspool.testing import DataPlane
from shares import taking_turns

from .at_rest import stored_bytes

WRITE_KEY = "canary-of-the-write-key"
PASSWORD = "canary-of-the-password"
CONTENT = "canary-of-the-content"
ENCRYPTION_KEY = base64.b64encode(os.urandom(32)).decode()
SECRETS = {
    WRITE_KEY,
    base64.b64encode(f"{WRITE_KEY}:".encode()).decode(),  # as HTTP has it
    PASSWORD,
    ENCRYPTION_KEY,
    repr(base64.b64decode(ENCRYPTION_KEY))[2:-1],
}


class Hostile:
    """A value that cannot be encoded and speaks of events whenever it is asked."""

    def __repr__(self):
        return CONTENT

    __str__ = __repr__

    def __reduce_ex__(self, protocol):
        raise TypeError(CONTENT)


def reprs():
    """Return the repr of everything of ours that is alive, but for the local data plane of the tests."""
    found = []
    with warnings.catch_warnings(action="ignore"):
        for each in gc.get_objects():
            module = str(type(each).__module__)  # of some classes that is a descriptor
            if module.startswith("eventspool") and not module.startswith(
                ("eventspool._dataplane", "eventspool.testing")
            ):
                found.append(f"{type(each).__name__}: {each!r} {each}")
    return found


def assert_clean(texts, *also):
    for text in texts:
        for secret in (*SECRETS, *also):
            assert secret not in text


@pytest.fixture(scope="module")
def locked_redis():
    with RedisServer(args=("--requirepass", PASSWORD)) as server:
        yield server


@pytest.fixture(params=taking_turns("sqlite", "redis"))
def guarded_store(request, tmp_path):
    """A queue on each backend; Redis asks for a password."""
    if request.param == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    server = request.getfixturevalue("locked_redis")
    return Store("redis", server.url.replace("unix://", f"unix://:{PASSWORD}@"), new_queue_name())


@pytest.fixture
def plane():
    with DataPlane(WRITE_KEY) as plane:
        yield plane


@pytest.mark.parametrize("key", [None, ENCRYPTION_KEY], ids=["readable", "encrypted"])
def test_nothing_secret_is_said_or_stored_whatever_happens(plane, guarded_store, caplog, capfd, key):
    """Through refusals, rejections, outages, a refused key, host errors, and with events in every place."""
    caplog.set_level(1, logger="")
    logging.getLogger("eventspool").setLevel(1)
    errors = []

    def on_error(error, events):
        errors.append(error)
        raise ValueError(CONTENT)

    options = guarded_store.opts(is_multi_processor=True, encryption_key=key)
    client = Client(
        WRITE_KEY,
        data_plane_url=plane.url,
        flush_interval=0.02,
        persistence=options,
        on_error=on_error,
        gzip=False,
        max_event_bytes=2_000,
    )
    plane.script({"reject": "batch", "event": f"Bad {CONTENT}"})
    client.track(CONTENT, f"Bad {CONTENT}", {CONTENT: CONTENT})
    client.track(CONTENT, "Good", {"text": CONTENT}, callback=lambda *_: 1 / 0)
    client.track(CONTENT, "Too large", {"text": CONTENT * 1000})
    client.track(CONTENT, "Hostile", {"value": Hostile()})
    client.track(CONTENT, CONTENT, timestamp=CONTENT)
    client.track("", CONTENT, {"text": CONTENT})
    client.flush(timeout=PATIENCE)
    plane.script({"status": 401})
    client.track("u1", "Kept", {"text": CONTENT})
    eventually(lambda: client.stats().paused, "the key is refused")
    plane.script("outage")
    for _ in range(3):
        client.track("u1", "Kept", {"text": CONTENT})
    with contextlib.suppress(EventSpoolError):
        client.queue.events(f"no-such-job-{CONTENT[:0]}")
    memory = Client(WRITE_KEY, data_plane_url=plane.url, flush_interval=0.01, gzip=False)
    memory.track("u1", "In memory", {"text": CONTENT})
    memory.flush(timeout=0.1)
    waiting = Client(WRITE_KEY, data_plane_url=plane.url)
    waiting.track("u1", "In the buffer", {"text": CONTENT})

    assert_clean(reprs(), CONTENT)
    stored = stored_bytes(guarded_store)
    for secret in SECRETS:
        assert secret.encode() not in stored
    assert base64.b64decode(ENCRYPTION_KEY) not in stored
    plane.script()
    for each in (client, memory, waiting):
        each.close(1.0)
    assert_clean(["".join(traceback.format_exception(error)) for error in errors], CONTENT)
    assert {type(error).__name__ for error in errors} >= {"EventError", "DeliveryError"}
    drain_log(PATIENCE)
    formatter = logging.Formatter("%(name)s %(threadName)s %(message)s")
    assert len(caplog.records) >= 3
    ours = [r for r in caplog.records if r.name.startswith(("eventspool", "redis"))]
    assert_clean([formatter.format(record) for record in ours], CONTENT)
    assert_clean(capfd.readouterr(), CONTENT)


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        ("write key", {"write_key": f"{WRITE_KEY} {WRITE_KEY}"}),
        ("password in a URL", {"persistence": f"redis://user:{PASSWORD}@[host"}),
        ("password in a scheme", {"persistence": f"http://user:{PASSWORD}@host"}),
        ("password in an option", {"persistence": {"redis_opts": {"password": PASSWORD, "port": "x"}}}),
        ("encryption key", {"persistence": {"encryption_key": ENCRYPTION_KEY[:-3]}}),
        ("second encryption key", {"persistence": {"encryption_key": [ENCRYPTION_KEY, ENCRYPTION_KEY[1:]]}}),
        ("data plane", {"data_plane_url": f"https://user:{PASSWORD}@host"}),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_wrong_option_is_answered_without_repeating_a_secret(kind, wrong, given):
    with pytest.raises(EventSpoolError) as caught:
        kind(**{"write_key": WRITE_KEY, **given})
    shown = "".join(traceback.format_exception(caught.value, limit=0))
    assert_clean([shown], ENCRYPTION_KEY[:-3], ENCRYPTION_KEY[1:])


def test_strict_events_are_refused_without_repeating_them():
    for arguments in (
        ("u1", "E", {"value": Hostile()}),
        ("u1", "E", {"value": {CONTENT: Hostile()}}),
        ("u1", "E", {"value": CONTENT * 5_000}),
        ("u1", "E", {"value": {CONTENT}}),
        ("u1", "E", {"value": object()}, {CONTENT: 1}),
        (CONTENT * 100_000, "E"),
    ):
        with Client(WRITE_KEY, strict=True, process=False) as client:
            try:
                client.track(*arguments)
            except EventSpoolError as error:
                text = "".join(traceback.format_exception(error, limit=0))
                # A key is part of the path that says where the bad value is; the value never is.
                assert CONTENT not in text.replace(f".{CONTENT}", "").replace(f"['{CONTENT}']", "")


def test_a_server_that_refuses_the_password_is_named_without_it(locked_redis, caplog):
    caplog.set_level(1, logger="")
    wrong = f"{PASSWORD}-but-wrong"
    url = locked_redis.url.replace("unix://", f"unix://:{wrong}@")
    with pytest.raises(EventSpoolError) as caught:
        open_queue(url)
    assert_clean(["".join(traceback.format_exception(caught.value)), caplog.text])
