"""
Events from signal handlers and destructors, which come at any point of any other call, also of one of ours.

Every program prints its counts as JSON; one that hangs dumps its stacks and ends.
"""

from __future__ import annotations

import json
import time

import pytest

from e2e.harness import Store, new_queue_name, run_python

PREAMBLE = """
import faulthandler, gc, json, signal, sys, threading, time
import eventspool
faulthandler.dump_traceback_later(40, exit=True)
url, key, store = sys.argv[1:4]
accepted, refused, clients = [], [], []
depth = interruptions = 0

def call(client, event):
    (accepted if client.track("u1", event) else refused).append(1)

def new_client(**options):
    global client
    client = eventspool.Client(key, data_plane_url=url, persistence=store or None,
                               max_internal_queue_size=1_000_000, **options)
    clients.append(client)

def interrupt(*_):
    "Call everything that a handler may call, also when it interrupts itself."
    global depth, interruptions
    depth += 1
    interruptions += 1
    if depth < 4:
        call(client, "Interrupted")
        call(client, None)
    depth -= 1

def interrupt_every(seconds):
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

def finish():
    signal.setitimer(signal.ITIMER_REAL, 0)
    for client in clients:
        client.close(20)
    stats = [client.stats() for client in clients]
    print(json.dumps({
        "accepted": len(accepted), "refused": len(refused), "counted": sum(s.accepted for s in stats),
        "delivered": sum(s.delivered for s in stats), "unconfirmed": sum(s.unconfirmed for s in stats),
        "reasons": sorted({r for s in stats for r in s.refused}),
        "counted_refused": sum(sum(s.refused.values()) for s in stats)}))
"""


def run(code, plane, store=None):
    """Run *code* after the preamble; fail unless its counts balance. Return them."""
    args = plane.url, plane.write_key, store.url if store else ""
    result = run_python(PREAMBLE + code, *args, timeout=60.0, measured=False)
    assert [line for line in result.stderr.splitlines() if not line.startswith("refused an event (")] == []
    counts = json.loads(result.stdout)
    returned = (
        counts["accepted"] + counts["unconfirmed"]
    )  # a call that could not wait for storage returned None
    assert returned == counts["counted"] == counts["delivered"] == plane.stats().events
    assert counts["refused"] == counts["counted_refused"] + counts["unconfirmed"]
    return counts


def test_a_handler_that_interrupts_event_methods(plane):
    """Accepted and refused events, each counted, thousands of times in the midst of another."""
    code = """
new_client()
call(client, "First")
interrupt_every(0.0003)
deadline = time.monotonic() + 3
while time.monotonic() < deadline and len(accepted) < 40_000:  # as many as a busy data plane takes in 20 s
    call(client, "E")
    call(client, None)
assert interruptions > 500, interruptions
finish()
"""
    counts = run(code, plane)
    assert counts["reasons"] == ["invalid"]


@pytest.mark.parametrize("used", ["once", "often"])
def test_a_handler_that_interrupts_the_first_event(plane, used):
    """It comes amid the import or the start of the threads: it is taken, or refused by name, and raises nothing."""
    code = f"""
new_client()
interrupt_every(0.0002)
for _ in range({1 if used == "once" else 150}):
    call(client, "First")
    signal.setitimer(signal.ITIMER_REAL, 0)
    client.close(20)
    new_client()
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
finish()
"""
    counts = run(code, plane)
    assert set(counts["reasons"]) <= {"invalid", "starting", "closed"}
    assert ("starting" in counts["reasons"]) or used == "often"


@pytest.mark.alone
def test_a_handler_that_interrupts_a_persisted_event(plane, tmp_path):
    """Both wait for the same flusher, and neither for the other."""
    code = """
new_client(durability="persisted")
call(client, "First")
interrupt_every(0.001)
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    call(client, "E")
    client.stats()
finish()
"""
    run(code, plane, Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name()))


INTERRUPT_AFTER = """
def interrupted(call, *args, **options):
    "Call it, with Ctrl-C half a second later."
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        call(*args, **options)
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")
"""


@pytest.mark.rotating
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("closer", ["the next close", "another thread's", "the exit"])
def test_a_close_that_was_interrupted_is_done_by_the_next_one(plane, tmp_path, shared_redis, kind, closer):
    """Ctrl-C during a close: leases are given back, and nothing goes on working the queue."""
    url = shared_redis.url if kind == "redis" else f"sqlite:///{tmp_path}/queue.db"
    store = Store(kind, url, new_queue_name())
    opts = store.opts(is_multi_processor=True, job_opts={"visibility_timeout": 60.0})
    code = f"""
new_client()
call(client, "E")
client.flush(until="persisted")
while not client.stats().in_flight: time.sleep(0.01)
waiting = threading.Thread(target=client.close, args=(3,))
if {closer!r} == "another thread's": threading.Timer(0.2, waiting.start).start()
interrupted(client.close, 20)
if {closer!r} == "the next close": client.close(1)
if {closer!r} == "another thread's": waiting.join()
if {closer!r} != "the exit":
    deadline = time.monotonic() + 15
    while ours := [t.name for t in threading.enumerate() if t.name.startswith("eventspool-")]:
        assert time.monotonic() < deadline, ours
        time.sleep(0.05)
"""
    plane.script({"hang": 10.0})
    preamble = PREAMBLE.replace("store or None", f"{opts!r}, timeout=4.0") + INTERRUPT_AFTER
    run_python(preamble + code, plane.url, plane.write_key, "", timeout=60.0)
    assert store.stored_events() == 1
    assert store.leased_jobs() == 0


def test_a_close_that_was_interrupted_while_it_stores_is_hurried_by_the_exit(plane, tmp_path):
    """It had a minute, and the exit has seconds; what is lost is said."""
    code = """
new_client()
for _ in range(3): client.track("u1", "E")
interrupted(client.close, 60)
"""
    preamble = PREAMBLE.replace("store or None", f"'unix://{tmp_path}/nobody'") + INTERRUPT_AFTER
    began = time.monotonic()
    result = run_python(preamble + code, plane.url, plane.write_key, "", timeout=60.0)
    assert time.monotonic() - began < 12.0
    assert "3 events are lost" in result.stderr


@pytest.mark.parametrize("until", ["delivered", "persisted"])
def test_a_flush_that_was_interrupted_waits_no_longer(plane, tmp_path, until):
    """Its waiter would have the queue asked four times a second, for ever."""
    code = f"""
new_client()
call(client, "E")
interrupted(client.flush, until={until!r})
assert not client._beginning.pipeline.ledger.has_waiters
client.close(0)
"""
    plane.script({"hang": 10.0})
    run_python(
        PREAMBLE + INTERRUPT_AFTER + code,
        plane.url,
        plane.write_key,
        f"unix://{tmp_path}/nobody",
        timeout=60.0,
    )


@pytest.mark.parametrize("act", ["client.close(3)", "client.flush()"])
@pytest.mark.parametrize("place", ["flusher", "processor"])
def test_a_destructor_that_closes_or_flushes_on_one_of_our_threads_does_not_wait_for_it(plane, place, act):
    """The host's object is collected in the midst of a batch, or of an outcome; all events arrive nevertheless."""
    code = f"""
class Host:
    def __init__(self):
        self.itself = self
    def __del__(self):
        began = time.monotonic()
        {act}
        took[threading.current_thread().name] = time.monotonic() - began

from eventspool._buffering.buffer import Buffer
from eventspool._heartbeat import Heartbeat

def collecting(method):
    "Have the collector run here, once: at any allocation it might."
    def wrapped(*args):
        result = method(*args)
        if not took and threading.current_thread().name == "eventspool-{place}":
            Host()
            gc.collect()
        return result
    return wrapped

gc.disable()
took = {{}}
Buffer.draw = collecting(Buffer.draw)
Heartbeat.add = collecting(Heartbeat.add)
new_client(flush_interval=0.05)
call(client, "First")
while not took: time.sleep(0.01)
assert took["eventspool-{place}"] < 1.0, took
deadline = time.monotonic() + 10
while client.stats().delivered < 1:
    assert time.monotonic() < deadline, client.stats()
    time.sleep(0.01)
assert client.stats().lost == 0
finish()
"""
    run(code, plane)


def test_destructors_that_track_during_garbage_collection(plane):
    """On whatever thread the collector happens to run, ours included."""
    code = """
class Tracks:
    def __init__(self):
        self.itself = self
    def __del__(self):
        call(client, "Deleted")
        call(client, None)
        by.add(threading.current_thread().name)

by = set()
new_client()
call(client, "First")
gc.set_threshold(7, 2, 2)
for _ in range(10_000):
    Tracks()
    call(client, "E")
gc.collect()
finish()
assert len(by) > 1, by
"""
    assert run(code, plane)["accepted"] == 20_001


def test_a_destructor_on_the_storing_thread_does_not_wait_for_that_thread(plane, tmp_path):
    """With durability="persisted" such a call cannot confirm anything; the event is stored all the same."""
    code = """
class Tracks:
    def __init__(self):
        self.itself = self
    def __del__(self):
        began = time.monotonic()
        client.track("u1", "Deleted")
        took[threading.current_thread().name] = time.monotonic() - began

from eventspool._buffering import flusher

def sealing(*args, seal=flusher.seal, **options):
    "Have the collector run here, once: at any allocation it might."
    if not took:
        Tracks()
        gc.collect()
    return seal(*args, **options)

took = {}
flusher.seal = sealing
new_client(durability="persisted", timeout=3.0)
call(client, "First")
assert took["eventspool-flusher"] < 2.0
gc.disable()
client.close(20)
stats = client.stats()
assert stats.unconfirmed > 0
assert stats.delivered == stats.accepted, stats
print("{}")
"""
    store = Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    run_python(PREAMBLE + code, plane.url, plane.write_key, store.url, timeout=60.0)


def test_a_handler_that_interrupts_a_line_of_ours_disturbs_no_stream(plane):
    """Python's streams bear no second write on the same thread; the second line is written all the same."""
    code = """
import io, logging
class Slow(io.RawIOBase):
    "Is interrupted amid its first write."
    lines, inside = [], False
    def writable(self): return True
    def write(self, data):
        if not self.lines:
            self.lines.append(b"")
            signal.raise_signal(signal.SIGALRM)
        self.lines.append(bytes(data))
        return len(data)
raw = Slow()
handler = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(raw), write_through=True))
logging.getLogger("eventspool").addHandler(handler)
logging.getLogger("eventspool").propagate = False
signal.signal(signal.SIGALRM, lambda *_: other.track("u1", None))
new_client()
other = client
new_client()
call(client, None)
handler.stream.flush()
deadline = time.monotonic() + 10
while b"".join(raw.lines).count(b"refused") < 2:
    assert time.monotonic() < deadline, raw.lines
    time.sleep(0.01)
"""
    result = run_python(PREAMBLE + code, plane.url, plane.write_key, "", measured=False)
    assert result.stderr == ""
