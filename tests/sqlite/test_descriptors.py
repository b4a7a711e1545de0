"""Descriptors that run out, names that are links, and connections that are always closed."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import contextmanager

import pytest

from eventspool._backends.sqlite import errors
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._config import Ordering, SQLiteOpts
from eventspool._contract.tools import drain, ids_of, new_jobs
from eventspool._exceptions import QueueUnavailable
from sqlite.conftest import PROGRAM


def open_descriptors():
    return sorted(int(name) for name in os.listdir("/dev/fd"))  # noqa: PTH208


@contextmanager
def descriptors_left(number):
    """Let this process open only *number* more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spent = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 40, hard))
        try:
            while True:
                spent.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            for _ in range(number):
                os.close(spent.pop())
        yield
    finally:
        for fd in spent:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
def test_without_a_descriptor_it_says_so_leaks_nothing_and_recovers(make, number, there):
    jobs = new_jobs(2)
    if there:
        backend = make()
        backend.commit(jobs[:1])
        backend.close()
    backend = make(opened=False)
    before, refusals = open_descriptors(), []
    with descriptors_left(number):
        for _ in range(3):
            try:
                backend.stats()
            except QueueUnavailable as error:
                refusals.append(str(error))
        backend.close()
    assert open_descriptors() == before
    assert len(refusals) == 3 or number > 4
    assert all("file descriptor" in refusal for refusal in refusals)
    backend.commit(jobs)
    assert ids_of(drain(backend, "t")) == ids_of(jobs)


def test_who_has_the_file_open_needs_no_descriptor_more(make):
    backend = make()
    backend.commit(new_jobs(3))
    with descriptors_left(0):
        assert backend.commit(new_jobs(1)).accepted == 1
        assert len(drain(backend, "t")) == 4


@pytest.mark.parametrize(("number", "word"), [(errno.EMFILE, "this process"), (errno.ENFILE, "this machine")])
def test_who_has_run_out_of_descriptors_is_told(monkeypatch, number, word):
    def refuse(*_):
        raise OSError(number, "")

    monkeypatch.setattr(os, "open", refuse)
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    assert f"{word} has no file descriptor left" in str(errors.translated(error))


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_and_its_target_are_one_queue_with_one_lock(path, make, tmp_path, link):
    backend = make()
    backend.commit(new_jobs(1))
    if link == "file":
        name = tmp_path / "link.db"
        name.symlink_to(path)
    else:
        folder = tmp_path / "link"
        folder.symlink_to(path.parent)
        name = folder / path.name
    through = SQLiteBackend(
        SQLiteOpts(path=str(name)),
        queue_name="q",
        prefix="p",
        ordering=Ordering.NONE,
        max_jobs=9,
        max_bytes=1 << 20,
    )
    backend._file.lock.acquire()
    try:
        with pytest.raises(QueueUnavailable):
            through._file.lock.acquire(timeout=0.05)
    finally:
        through._file.lock.release()
        backend._file.lock.release()
    assert through.stats().waiting.jobs == 1
    through.close()
    assert not list(tmp_path.glob("link.db-*"))


ENDS = [
    "closed",
    "reopened",
    "forked",
    "forked, and the child never uses it",
    "abandoned",
    "refused",
    "damaged",
]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_for_the_interpreter_to_close(path, end):
    """Python 3.13 warns of a connection that is not closed; every version warns of such a file."""
    warnings = ["-W", "error::ResourceWarning", "-W", "ignore::DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *warnings, str(PROGRAM), "end", path, end],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, "ResourceWarning" in done.stderr) == (0, False), done.stderr
