"""The witness, the recording data plane, the clock and the deck: what the verdict stands on."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from eventspool import Client
from torture import faults
from torture.clock import SteppedClock
from torture.events import POISON, digest_of, is_poison, make_event
from torture.faults import deal
from torture.history import History, Tail
from torture.ledger import Scribe
from torture.processes import Process
from torture.redis_process import free_port
from torture.world import World

SOON = 60.0


@pytest.fixture
def ledger(tmp_path):
    process = Process(
        "ledger",
        str(tmp_path / "socket"),
        str(tmp_path / "said"),
        name="ledger",
        errors=tmp_path / "errors",
        talks=True,
    )
    yield process
    if process.exit_status is None:
        process.signal(signal.SIGKILL)


def read(path) -> History:
    history = History()
    for line in filter(None, Tail(path).lines()):
        history.hear(line)
    return history


SPEAKER = """
import os, sys
from torture.ledger import Scribe
scribe = Scribe(sys.argv[1])
for number in range(1000):
    scribe.say("i", f"event-p1.0.{number}", "digest")
    scribe.acknowledge([f"event-p1.0.{number}"])
scribe._send("i event-torn")
os.kill(os.getpid(), 9)
"""


def test_what_was_said_before_a_kill_is_written_down_and_a_torn_line_is_not(ledger, tmp_path):
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", SPEAKER, str(tmp_path / "socket")]
    assert subprocess.run(command, env=environment, timeout=SOON, check=False).returncode == -signal.SIGKILL
    assert ledger.end(SOON) == 0
    history = read(tmp_path / "said")
    assert len(history.issued) == len(history.acked) == 1000
    assert history.working == {"p1"}


MOURNER = """
import os, signal, sys
from torture.ledger import Scribe
from torture.producer import Producer
producer = Producer.__new__(Producer)
producer._scribe = Scribe(sys.argv[1])
ends = {
    "well": lambda: os._exit(0),
    "raised": lambda: os._exit(70),
    "damaged": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hung": lambda: os.kill(os.getpid(), signal.SIGALRM),
}
for name, end in ends.items():
    if not (pid := os.fork()):
        end()
    producer._reap(pid, name)
"""


def test_a_producer_tells_of_every_forked_child_that_does_not_end_well(ledger, tmp_path):
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", MOURNER, str(tmp_path / "socket")]
    subprocess.run(command, env=environment, timeout=SOON, check=True)
    assert ledger.end(SOON) == 0
    history = read(tmp_path / "said")
    assert history.crashed == ["raised ended with 70", f"damaged ended with {-signal.SIGSEGV}"]
    assert history.deadlocked == ["hung"]


def test_recovery_is_that_of_one_producer_s_new_events_and_counts_from_the_end_of_the_fault(ledger, tmp_path):
    scribe = Scribe(str(tmp_path / "socket"))
    scribe.say("i", "event-p1.0.0", "d")
    scribe.say("n", "event-p1.0.0")
    scribe.close()
    assert ledger.end(SOON) == 0
    history = read(tmp_path / "said")
    healed = history.issued["event-p1.0.0"].moment + 1.0
    history.hear(f"{healed + 1.0} a event-p1.0.0")  # an old one proves nothing about new ones
    for name, at in (("p2", 1.0), ("p1f7", 1.0), ("p1", 2.0)):
        assert history.recovery(healed, "p1") == (None, None), "others prove nothing about this one"
        history.hear(f"{healed + at} i event-{name}.0.1 d")
        history.hear(f"{healed + at + 0.5} a event-{name}.0.1")
        history.arrive(f"{healed + at + 1.0} event-{name}.0.1 d b")
    assert history.recovery(healed, "p1") == (pytest.approx(2.5), pytest.approx(3.0))


def test_a_worker_has_recovered_when_it_has_delivered_again():
    history = History()
    for line in ("1.0 w w1", "5.0 w w2", "6.0 w w1", "7.0 w w1"):
        history.hear(line)
    assert history.worked(3.0, "w1") == pytest.approx(3.0)
    assert history.worked(3.0, "w3") is None
    assert history.worked(7.0, "w1") is None


def test_the_data_plane_s_record_outlives_its_death_and_a_retry_has_the_same_digests(tmp_path):
    port, record = str(free_port()), tmp_path / "arrivals"

    def start() -> Process:
        return Process("sink", "key", port, str(record), name="sink", errors=tmp_path / "errors", talks=True)

    event = make_event(random.Random(1), "p1.0.1")
    for _ in range(2):
        sink = start()
        with Client("key", data_plane_url=f"http://127.0.0.1:{port}") as client:
            client.track(
                event["userId"],
                event["event"],
                event["properties"],
                timestamp=event["timestamp"],
                message_id=event["messageId"],
            )
            assert client.flush(timeout=SOON).pending == 0
        sink.signal(signal.SIGKILL)
    history = History()
    for line in Tail(record).lines():
        history.arrive(line)
    [arrival] = history.arrivals.values()
    assert arrival.digests == {digest_of(event)}
    assert len(arrival.moments) == 2


def test_events_of_one_seed_are_the_same_and_few_are_poison():
    def draw() -> list:
        dice = random.Random(5)
        return [make_event(dice, str(number)) for number in range(2000)]

    events = draw()
    assert events == draw()
    poison = [event for event in events if is_poison(event["messageId"])]
    assert 60 <= len(poison) <= 140
    assert all(event["event"] == POISON for event in poison)
    json.dumps(events, allow_nan=False)


CLOCKED = """
import sys, time
from torture import clock
before = time.time()
clock.install(sys.argv[1])
print(time.time() - before, time.time_ns() / 1e9 - before)
"""


def test_a_stepped_clock_is_wrong_in_every_process_that_installed_it_and_counts_it(tmp_path):
    clock = SteppedClock(tmp_path / "clock")
    clock.offset = -3600.0
    command = [sys.executable, "-c", CLOCKED, str(tmp_path / "clock")]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SOON, check=True
    )
    assert [float(x) for x in result.stdout.split()] == pytest.approx([-3600.0] * 2, abs=5.0)
    assert clock.reads == 2
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 5.0


CLOSER = """
import sys, time
from eventspool import Client
from eventspool.testing import DataPlane
from torture.words import tell_words
from torture.ledger import Scribe
scribe = Scribe(sys.argv[1])
tell_words(lambda: scribe, "w1")
with DataPlane("right") as plane:
    plane.script({"status": 401, "next": 2})
    with Client("right", data_plane_url=plane.url) as client:
        client.track("u", "Order Completed")
        assert not client.flush(timeout=60).pending
"""


def test_a_processor_that_finds_the_data_plane_alive_again_says_so(ledger, tmp_path):
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", CLOSER, str(tmp_path / "socket")]
    subprocess.run(command, env=environment, timeout=3 * SOON, check=True)
    assert ledger.end(SOON) == 0
    assert len(read(tmp_path / "said").closings) == 1


def test_what_is_left_in_the_spill_file_is_found_as_well_as_what_is_in_the_queue():
    world = World("sqlite", random.Random(1), spill=True, encrypted=True)
    world.disk.mkdir()
    names = [f"sqlite:///{world.disk / name}" for name in ("queue.db", "spill.db")]
    for number, url in enumerate(names):
        opts = {"url": url, "queue_name": "torture", "encryption_key": world._key}
        with Client("key", data_plane_url="http://127.0.0.1:9", persistence=opts, process=False) as client:
            client.track("u", "Order Completed", message_id=f"event-p1.0.{number}")
    assert world.stored("waiting").keys() == {"event-p1.0.0", "event-p1.0.1"}
    assert world.undelivered() == 2
    world.forget()


@pytest.fixture
def all_faults():
    faults.load()
    return [fault for _, fault in sorted(faults.FAULTS.items())]


def test_a_seed_deals_the_same_faults_and_each_once_before_any_comes_again(all_faults):
    def first_round(seed: int) -> list[str]:
        names: list[str] = []
        hands = deal(all_faults, random.Random(seed), 0.3)
        while len(names) < len(all_faults):
            names += [fault.name for fault in next(hands)]
        return names

    assert first_round(1) == first_round(1) != first_round(2)
    assert sorted(first_round(1)) == [fault.name for fault in all_faults]


def test_two_faults_at_once_strike_different_places(all_faults):
    hands = deal(all_faults, random.Random(1), 0.5)
    pairs = [hand for hand in (next(hands) for _ in range(200)) if len(hand) == 2]
    assert len(pairs) > 50
    assert all(first.site != second.site for first, second in pairs)
