"""A backup that is put in the place of a queue's file never meets the log of the old one."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from eventspool._backends.sqlite.pair import Fit, Pair, judge
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import drain, ids_of, new_job, new_jobs
from eventspool._exceptions import QueueUnavailable


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr("eventspool._backends.sqlite.aside._QUIET", 0.05)


@pytest.fixture
def stored(make):
    """The jobs that are in the queue when the backup is made."""
    jobs = [new_job(filling="y" * 900) for _ in range(60)]
    make().commit(jobs)
    return jobs


@pytest.fixture
def backup(path, tmp_path, stored):
    copy = tmp_path / "backup.db"
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(copy)) as target:
        live.backup(target)
    return copy


def rename_over(backup, path):
    backup.replace(path)


def copy_over(backup, path):
    """The copy goes into the same inode."""
    shutil.copyfile(backup, path)


def copy_anew(backup, path):
    path.unlink()
    shutil.copyfile(backup, path)


WAYS = pytest.mark.parametrize("put", [rename_over, copy_over, copy_anew])


def files(path, kind):
    return [p.name for p in path.parent.glob(f"{path.name}.{kind}-*") if not p.name.endswith("-shm")]


def write_more(backend):
    for _ in range(30):
        backend.commit([new_job(filling="x" * 2000) for _ in range(20)])
        backend.ack(ids_of(backend.claim("t", ClaimTerms(limit=5, visibility_timeout=60)).jobs))


@WAYS
def test_who_has_the_file_open_goes_on_with_the_one_that_took_its_place(path, make, stored, backup, put):
    backend, other = make(), make()
    other.stats()
    write_more(backend)
    put(backup, path)
    assert backend.lookup(ids_of(stored)) == dict.fromkeys(ids_of(stored))
    assert other.stats().waiting.jobs == len(stored)
    [new] = new_jobs(1)
    other.commit([new])
    assert ids_of(drain(backend, "u")) == [*ids_of(stored), new.id]
    other.close()
    backend.close()
    assert make().stats().waiting.jobs == 0
    assert files(path, "corrupt") == []
    assert len(files(path, "replaced")) == 1, "the old log is kept, and set aside once"


@WAYS
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "alive"])
def test_another_process_s_log_does_not_meet_it_either(path, make, stored, backup, spawn, put, killed):
    process = spawn("write")
    assert process.stdout.readline() == "written\n"
    if killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    put(backup, path)
    assert ids_of(drain(make(), "u")) == ids_of(stored)
    if not killed:
        process.kill()
    assert files(path, "corrupt") == []


def test_a_backup_that_was_made_by_vacuum_is_taken_as_well(path, make, stored, tmp_path):
    """It is not in WAL mode, and it is smaller."""
    copy = tmp_path / "backup.db"
    with closing(sqlite3.connect(path)) as live:
        live.execute("vacuum into ?", (str(copy),))
    backend = make()
    write_more(backend)
    rename_over(copy, path)
    assert ids_of(drain(backend, "u")) == ids_of(stored)
    assert files(path, "corrupt") == []


def test_what_is_copied_slowly_is_waited_for(path, make, stored, backup, spawn, monkeypatch):
    """A half written file is not taken for a damaged one."""
    monkeypatch.setattr("eventspool._backends.sqlite.aside._QUIET", 2.0)
    backend = make()
    write_more(backend)
    process = spawn("copy_slowly", backup)
    assert process.stdout.readline() == "begun\n"
    assert ids_of(drain(backend, "u")) == ids_of(stored)
    assert files(path, "corrupt") == []


def test_a_file_that_never_stops_changing_is_an_outage(path, make, backup, monkeypatch):
    monkeypatch.setattr("eventspool._backends.sqlite.aside._QUIET_TIMEOUT", 0.0)
    backend = make()
    write_more(backend)
    backup.replace(path)
    with pytest.raises(QueueUnavailable, match="writing over"):
        backend.stats()


def test_a_folder_that_was_copied_keeps_its_log(path, make, stored, tmp_path):
    """All of its files have other inodes. The log belongs to the file beside it, and holds jobs that were acknowledged."""
    backend = make()
    [late] = new_jobs(1)
    backend.commit([late])
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("queue.db*"):
        shutil.copyfile(file, copy / file.name)
    backend.close()
    for file in tmp_path.glob("queue.db*"):
        file.unlink()
    for file in copy.iterdir():
        file.rename(tmp_path / file.name)
    assert make().lookup([late.id]) == {late.id: None}
    assert files(path, "replaced") == []


def test_another_program_may_checkpoint_the_log_and_vacuum(path, make, stored):
    backend = make()
    write_more(backend)
    before = backend.stats().waiting.jobs
    for statement in ("pragma wal_checkpoint(passive)", "vacuum", "pragma wal_checkpoint(truncate)"):
        with closing(sqlite3.connect(path, isolation_level=None)) as program:
            program.execute(statement).fetchall()
        assert backend.stats().waiting.jobs == before
        backend.commit(new_jobs(1))
        before += 1
    assert files(path, "replaced") == []


NOTED = Pair(lock=1, database=2, log=3, salts=b"saltsalt", header=b"h" * 100)


def fit(noted=NOTED, *, held=(), **now):
    pair = {"lock": 1, "database": 2, "log": 3, "salts": b"saltsalt", "header": b"h" * 100, **now}
    return judge(Pair(**pair), noted, lambda: iter(held))


def test_a_log_is_foreign_only_where_that_is_certain():
    assert fit() is Fit.FITS
    assert fit(None, database=9) is Fit.FITS, "no process has left a note"
    assert fit(database=9) is Fit.REPLACED
    assert fit(database=9, log=0) is Fit.FITS, "there is no log"
    assert fit(database=9, log=9) is Fit.FITS, "both were put there"
    assert fit(database=9, lock=9) is Fit.FITS, "the note was copied from elsewhere"
    assert fit(header=b"o" * 100) is Fit.OVERWRITTEN
    assert fit(header=b"o" * 100, held=[b"o" * 100]) is Fit.FITS, "it came out of the log"
    assert fit(header=b"o" * 100, salts=b"another.") is Fit.FITS, "the log began anew, and does not tell"
    assert fit(header=b"") is Fit.FITS, "it cannot be read"


def test_a_note_is_believed_as_a_whole_or_not_at_all():
    note = NOTED.pack()
    assert Pair.unpack(note) == NOTED
    assert Pair.unpack(note + b"\0" * 300) == NOTED
    assert Pair.unpack(b"") is None
    assert Pair.unpack(note[:-1]) is None
    for place in range(len(note)):
        assert Pair.unpack(note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :]) is None
