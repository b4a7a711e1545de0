"""
Events from signal handlers and destructors: ``interrupted.py STORY URL KEY [STORE-URL]``.

STORY is JSON: its name, and what it is told. A story that counts prints its counts as JSON. One that hangs says where each of
its threads stands, and ends.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import json
import logging
import os
import signal
import sys
import threading
import time
import weakref

import eventspool

faulthandler.dump_traceback_later(150, exit=True)
story = json.loads(sys.argv[1])
url, key = sys.argv[2:4]
store = sys.argv[4] if sys.argv[4:] else None
accepted, refused, clients = [], [], []
depth = interruptions = 0
client = None
PATIENCE = 60.0
OURS = os.path.dirname(eventspool.__file__) + os.sep  # noqa: PTH120 - one import less before the first event


def call(by, event):
    (accepted if by.track("u1", event) else refused).append(1)


def new_client(**options):
    global client
    defaults = {"persistence": store, "max_internal_queue_size": 1_000_000}
    client = eventspool.Client(key, data_plane_url=url, **{**defaults, **options})
    clients.append(client)


def finish():
    """Close all, and print the counts as they were made and as the clients made them."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for each in clients:
        each.close(100)
    stats = [each.stats() for each in clients]
    counts = {
        "accepted": len(accepted),
        "refused": len(refused),
        "counted": sum(each.accepted for each in stats),
        "delivered": sum(each.delivered for each in stats),
        "unconfirmed": sum(each.unconfirmed for each in stats),
        "reasons": sorted({reason for each in stats for reason in each.refused}),
        "counted_refused": sum(sum(each.refused.values()) for each in stats),
    }
    print(json.dumps(counts))


def eventually(condition, words=""):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, words() if callable(words) else words
        time.sleep(0.01)


# -- a handler that interrupts -------------------------------------------------------------------------------------------


def interrupt(*_):
    """Call everything that a handler may call, also when it interrupts itself."""
    global depth, interruptions
    depth += 1
    interruptions += 1
    if depth < 4:
        call(client, "Interrupted")
        call(client, None)
    depth -= 1


class AtLine:
    """A trace function: has the handler run at the *number*-th line of ours on this thread."""

    def __init__(self, number):
        self.lines = 0
        self._number = number

    def __call__(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self._number:
                interrupt()
        return self

    def run(self, act):
        sys.settrace(self)
        try:
            act()
        finally:
            sys.settrace(None)


def at_each_line(act, afterwards=lambda: None):
    """Do *act* again and again, with the handler at its first line, then at its second, to the last."""
    number, tracer = 0, None
    while tracer is None or tracer.lines >= number:
        number += 1
        tracer = AtLine(number)
        tracer.run(act)
        afterwards()
    assert number > 30, number


def event_methods():
    new_client()
    call(client, "First")
    at_each_line(lambda: (call(client, "E"), call(client, None)))
    finish()


class Meanwhile:
    """Has the handler run on the main thread while another thread does what that thread waits for."""

    def __init__(self):
        self.times = 0
        self._begun = threading.Semaphore(0)
        self._main = threading.get_ident()
        signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, *_):
        self._begun.release()
        interrupt()

    def __call__(self):
        """Return once the handler has begun."""
        self.times += 1
        signal.pthread_kill(self._main, signal.SIGALRM)
        assert self._begun.acquire(timeout=PATIENCE)


def the_first_event_of_a_program():
    def hook(event, details):
        if event == "import" and details[0].startswith("eventspool.") and not depth:
            interrupt()

    new_client()
    sys.addaudithook(hook)
    call(client, "First")
    assert interruptions > 20, interruptions
    finish()


def the_first_event():
    def act():
        new_client()
        call(client, "First")

    act()  # so that all is imported
    at_each_line(act, lambda: client.close(100))
    finish()


def a_persisted_event():
    new_client(durability="persisted", timeout=PATIENCE)
    call(client, "First")
    at_each_line(lambda: call(client, "E"))
    finish()


def a_persisted_event_that_waits():
    from eventspool._buffering import maker

    meanwhile = Meanwhile()

    def sealing(*args, seal=maker.seal, **options):
        if not meanwhile.times:
            meanwhile()
        return seal(*args, **options)

    maker.seal = sealing
    new_client(durability="persisted", timeout=PATIENCE)
    call(client, "E")
    assert interruptions == 1
    finish()


def interrupt_every(seconds):
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def event_methods_by_alarms():
    new_client()
    call(client, "First")
    interrupt_every(0.0003)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline and len(accepted) < 40_000:
        call(client, "E")
        call(client, None)
    assert interruptions > 500, interruptions
    finish()


def the_first_event_by_alarms():
    new_client()
    interrupt_every(0.0002)
    for _ in range(150):
        call(client, "First")
        signal.setitimer(signal.ITIMER_REAL, 0)
        client.close(20)
        new_client()
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    finish()


def a_persisted_event_by_alarms():
    new_client(durability="persisted")
    call(client, "First")
    interrupt_every(0.001)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        call(client, "E")
        client.stats()
    finish()


def a_first_call_that_drops_its_client():
    """The caller's wait is cut off, and the program has dropped the client before a thread of ours does anything."""
    from eventspool._guest import lifecycle
    from eventspool._guest.executor import _Call

    class Stop(BaseException):
        pass

    def stop(*_):
        raise Stop

    def running(asked, run=_Call.run):
        if not dropped.is_set():
            signal.pthread_kill(main, signal.SIGALRM)
            assert dropped.wait(PATIENCE)
        return run(asked)

    main, dropped = threading.get_ident(), threading.Event()
    signal.signal(signal.SIGALRM, stop)
    _Call.run = running
    host = [eventspool.Client(key, data_plane_url=url)]
    known = weakref.ref(host[0])
    try:
        host[0].track("u1", "E")
    except Stop:
        host.clear()
    gc.collect()
    dropped.set()
    eventually(lambda: known() and known()._beginning.ready, "it has begun")
    assert known() in lifecycle._open, "and is closed when the process exits"


# -- a call that is interrupted --------------------------------------------------------------------------------------------


def interrupted(method, *args, **options):
    """Call it, with Ctrl-C half a second later."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        method(*args, **options)
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")


def threads_of_ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("eventspool-")]


def a_close():
    next_one = story["next"]
    new_client(persistence=story["opts"], timeout=4.0)
    call(client, "E")
    client.flush(until="persisted")
    eventually(lambda: client.stats().in_flight)
    waiting = threading.Thread(target=client.close, args=(3,))
    if next_one == "another thread's":
        threading.Timer(0.2, waiting.start).start()
    interrupted(client.close, 20)
    if next_one == "the next close":
        client.close(1)
    if next_one == "another thread's":
        eventually(lambda: waiting.ident)  # it has been started
        waiting.join()
    if next_one != "the exit":
        eventually(lambda: not threads_of_ours(), threads_of_ours)


def a_close_while_it_stores():
    new_client()
    for _ in range(3):
        client.track("u1", "E")
    interrupted(client.close, 60)


def a_flush():
    new_client()
    call(client, "E")
    interrupted(client.flush, until=story["until"])
    assert not client._beginning.pipeline.ledger.has_waiters
    client.close(0)


# -- destructors -----------------------------------------------------------------------------------------------------------


class Cycle:
    """What only the collector finds."""

    def __init__(self):
        self.itself = self


def a_destructor_that_waits():
    """The collector runs once on one of our threads, as at any allocation it might."""
    from eventspool._buffering.buffer import Buffer
    from eventspool._heartbeat import Heartbeat

    place, took = f"eventspool-{story['place']}", {}

    class Host(Cycle):
        def __del__(self):
            began = time.monotonic()
            client.close(PATIENCE) if story["does"] == "close" else client.flush(timeout=PATIENCE)
            took[threading.current_thread().name] = time.monotonic() - began

    def collecting(method):
        def wrapped(*args):
            result = method(*args)
            if not took and threading.current_thread().name == place:
                Host()
                gc.collect()
            return result

        return wrapped

    gc.disable()
    Buffer.draw = collecting(Buffer.draw)
    Heartbeat.add = collecting(Heartbeat.add)
    new_client(flush_interval=0.05)
    call(client, "First")
    eventually(lambda: took)
    assert took[place] < PATIENCE / 3, took
    eventually(lambda: client.stats().delivered, client.stats)
    assert client.stats().lost == 0
    finish()


def destructors_that_track():
    by = set()

    class Tracks(Cycle):
        def __del__(self):
            call(client, "Deleted")
            call(client, None)
            by.add(threading.current_thread().name)

    new_client()
    call(client, "First")
    gc.set_threshold(7, 2, 2)
    number, deadline = 0, time.monotonic() + PATIENCE
    while number < 5_000 or len(by) < 2:
        assert time.monotonic() < deadline, by
        number += 1
        Tracks()
        call(client, "E")
    gc.collect()
    assert len(accepted) == 1 + 2 * number
    finish()


def a_destructor_on_the_storing_thread():
    from eventspool._buffering import maker

    took = {}

    class Tracks(Cycle):
        def __del__(self):
            began = time.monotonic()
            client.track("u1", "Deleted")
            took[threading.current_thread().name] = time.monotonic() - began

    def sealing(*args, seal=maker.seal, **options):
        """The collector runs here once, as at any allocation it might."""
        if not took:
            Tracks()
            gc.collect()
        return seal(*args, **options)

    maker.seal = sealing
    new_client(durability="persisted", timeout=PATIENCE)
    call(client, "First")
    assert took["eventspool-flusher"] < PATIENCE / 3
    gc.disable()
    client.close(100)
    stats = client.stats()
    assert stats.unconfirmed > 0
    assert stats.delivered == stats.accepted, stats


# -- streams ---------------------------------------------------------------------------------------------------------------


class Slow(io.RawIOBase):
    """Is interrupted amid its first write."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def writable(self):
        return True

    def write(self, data):
        if not self.lines:
            self.lines.append(b"")
            signal.raise_signal(signal.SIGALRM)
        self.lines.append(bytes(data))
        return len(data)


def a_line_of_ours():
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
    eventually(lambda: b"".join(raw.lines).count(b"refused") >= 2, lambda: raw.lines)


if __name__ == "__main__":
    globals()[story["name"]]()
