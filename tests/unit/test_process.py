"""A process knows that it is a new one, whoever forked it, and begins once, whichever thread comes first."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

import pytest

from e2e.programs.quiet import fork_past_python
from eventspool._guest import importing as _importing
from eventspool._guest import process as _process
from eventspool._guest.importing import importing
from eventspool._guest.process import before_fork, begin_in_child, here, is_forking, make_mark, register

pytestmark = [
    pytest.mark.rotating("processes", turns=3),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]

forks = pytest.mark.parametrize("how", [os.fork, fork_past_python], ids=["os.fork", "past Python"])
PATIENCE = 60.0


def run_in_child(work, how=os.fork):
    """Run *work* in a forked child; fail where it does, or does not end."""
    pid = how()
    if pid == 0:
        signal.alarm(100)
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


class Counted:
    """Counts how often it had to begin."""

    def __init__(self, work=lambda: None):
        self.begun = 0
        self._work = work
        register(self)

    def begin_in_child(self):
        self._work()
        self.begun += 1


def await_true(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("make", [make_mark, _process._ProcessId], ids=["a page", "the process id"])
@forks
def test_a_mark_is_gone_in_every_child_and_stays_in_the_parent(make, how):
    mark = make()
    assert not mark[0]
    mark[0] = 1

    def work():
        assert not mark[0]
        mark[0] = 1
        assert mark[0]
        run_in_child(lambda: None if not mark[0] else pytest.fail("the grandchild"), how)

    run_in_child(work, how)
    assert mark[0]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's")
def test_the_page_is_the_kernels_where_it_has_one():
    assert not isinstance(here, _process._ProcessId)


@pytest.mark.parametrize("refused", [OSError(22, "Invalid argument"), ValueError("unknown")])
def test_a_kernel_that_wipes_nothing_leaves_the_process_id(monkeypatch, refused):
    class Page:
        def __init__(self, *_args, **_options):
            pass

        def madvise(self, _advice):
            raise refused

    monkeypatch.setattr(_process.mmap, "mmap", Page)
    assert isinstance(make_mark(), _process._ProcessId)


def test_a_child_of_pythons_begins_by_itself():
    counted = Counted()

    def work():
        assert here[0]
        assert counted.begun == 1

    run_in_child(work)
    assert counted.begun == 0


def test_a_child_forked_past_python_begins_once_whichever_thread_comes_first():
    counted = Counted(lambda: time.sleep(0.05))

    def begin(barrier, seen):
        barrier.wait(PATIENCE)
        begin_in_child()
        seen.append((counted.begun, here[0]))

    def work():
        assert not here[0]
        barrier, seen = threading.Barrier(4), []
        threads = [threading.Thread(target=begin, args=(barrier, seen)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert seen == [(1, 1)] * 4
        run_in_child(lambda: None, fork_past_python)
        assert here[0]

    run_in_child(work, fork_past_python)


def test_a_child_of_a_child_begins_too():
    counted = Counted()

    def grandchild():
        begin_in_child()
        assert counted.begun == 2

    def work():
        begin_in_child()
        run_in_child(grandchild, fork_past_python)
        assert counted.begun == 1

    run_in_child(work, fork_past_python)


def test_what_a_signal_handler_interrupts_is_finished_by_it_or_by_the_next_call():
    """It may call us (then all the rest is done before), or raise (then the next call does the rest)."""
    answers = [lambda: begin_in_child(), lambda: 1 / 0]

    def interrupted():
        if answers:
            answers.pop()()

    counted = [Counted(), Counted(interrupted), Counted()]

    def work():
        with pytest.raises(ZeroDivisionError):
            begin_in_child()
        assert not here[0]
        begin_in_child()
        assert here[0]
        assert [each.begun for each in counted] == [1, 1, 1]

    run_in_child(work, fork_past_python)


def test_message_ids_of_children_forked_past_python_differ():
    """Each thread has its own generator, of which Python's hooks reseed none here: copies of it draw the same ids."""
    from eventspool._events.clock import new_message_id

    new_message_id()
    reader, writer = os.pipe()

    def work():
        begin_in_child()
        os.write(writer, f"{new_message_id()}\n".encode())

    for _ in range(3):
        run_in_child(work, fork_past_python)
    os.close(writer)
    with os.fdopen(reader) as lines:
        ids = lines.read().split()
    assert len(ids) == len({*ids, new_message_id()}) - 1 == 3


# -- imports and forks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def be_patient(monkeypatch):
    """Have forks and imports wait for each other for so many seconds, and for those that get on for so many in all."""

    def be_patient(seconds, in_all=None):
        monkeypatch.setattr(_process, "FORK_PATIENCE", seconds)
        monkeypatch.setattr(_importing, "FORK_PATIENCE", seconds)
        monkeypatch.setattr(_process, "_HOOKS_PATIENCE", in_all or seconds)

    return be_patient


@pytest.mark.parametrize("is_quick", [True, False], ids=["it is over", "for ever"])
def test_a_fork_waits_for_who_imports_but_not_for_ever(be_patient, is_quick):
    release, entered, noted = threading.Event(), threading.Event(), []

    def hold():
        with importing:
            entered.set()
            release.wait(PATIENCE)
            noted.append("imported")

    be_patient(PATIENCE if is_quick else 0.2)
    before_fork(lambda _deadline: noted.append("forks"))
    try:
        thread = threading.Thread(target=hold)
        thread.start()
        assert entered.wait(PATIENCE)
        if is_quick:
            threading.Timer(0.1, release.set).start()
        run_in_child(lambda: None)
        release.set()
        thread.join()
    finally:
        _process._before.pop()
    assert noted == (["imported", "forks"] if is_quick else ["forks", "imported"])


def test_a_fork_waits_for_an_import_that_takes_long_and_gets_on(be_patient):
    """As each does on a busy machine. A child that is forked amid it waits for ever for the lock of a module."""
    entered, noted = threading.Event(), []

    def get_on():
        with importing:
            entered.set()
            over = time.monotonic() + 3.0
            while time.monotonic() < over:
                pass
            noted.append("imported")

    be_patient(1.0, PATIENCE)
    before_fork(lambda _deadline: noted.append("forks"))
    try:
        thread = threading.Thread(target=get_on)
        thread.start()
        assert entered.wait(PATIENCE)
        run_in_child(lambda: None)
        thread.join()
    finally:
        _process._before.pop()
    assert noted == ["imported", "forks"]


@pytest.mark.parametrize("is_quick", [True, False], ids=["it is over", "for ever"])
def test_who_imports_waits_for_a_fork_but_not_for_ever(be_patient, is_quick):
    forking, over = threading.Event(), threading.Event()

    def fork():
        _process._before_fork()
        forking.set()
        over.wait(PATIENCE)
        _process._after_fork()

    be_patient(PATIENCE if is_quick else 0.2)
    thread = threading.Thread(target=fork)
    thread.start()
    assert forking.wait(PATIENCE)
    if is_quick:
        assert is_forking()
        threading.Timer(0.1, over.set).start()
    with importing:
        assert over.is_set() == is_quick
        with importing:
            pass
    over.set()
    thread.join()
    assert not is_forking()


def test_a_fork_amid_an_import_of_its_own_thread_does_not_wait(be_patient):
    """A fork that waited would do so until its patience is over: here so long that no busy machine takes as long."""
    be_patient(2 * PATIENCE)
    began = time.monotonic()
    with importing:
        run_in_child(lambda: None)
    assert time.monotonic() - began < 2 * PATIENCE
    assert importing._threads == []
