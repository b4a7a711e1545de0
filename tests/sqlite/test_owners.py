"""Whichever user looks at a queue, its files stay usable for their owner."""

from __future__ import annotations

import os
import stat
import traceback

import pytest

from eventspool._backends.sqlite import owner
from eventspool._backends.sqlite.owner import may_make_files, share, strangers
from eventspool._config import SQLiteOpts
from eventspool._contract.tools import new_jobs
from eventspool._doctor.sqlite_facts import look_at_sqlite
from eventspool._exceptions import QueueUnavailable

SERVICE = 65534
ADMIN = 65533
BESIDE = ("-wal", "-shm", "-lock", "-next", "-spare")

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


def as_user(uid, action, *, gid=None):
    """Run *action* in a child as another user; return whether it did what it should."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(uid if gid is None else gid)
            os.setuid(uid)
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def service(path, make):
    """A restored queue of the service: only its database, with the right owner."""
    for folder in (path.parent, *list(path.parents)[1:-2]):
        folder.chmod(0o755)
    os.chown(path.parent, SERVICE, SERVICE)
    backend = make()
    backend.commit(new_jobs(2))
    backend.close()
    for suffix in BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.chown(path, SERVICE, SERVICE)
    return path


def use(make):
    def action():
        backend = make(opened=False)
        backend.abandon()
        assert backend.commit(new_jobs(1)).accepted == 1
        backend.close()

    return action


def beside(path):
    found = [path.with_name(path.name + suffix) for suffix in BESIDE]
    return [file.stat() for file in found if file.exists()]


@needs_root
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_look_by_root_leaves_the_files_to_the_service(service, make, mode):
    service.chmod(mode)
    service.parent.chmod(0o775)
    looking = make()
    assert looking.stats().waiting.jobs == 2
    while_open = beside(service)
    looking.close()
    for found in (*while_open, *beside(service)):
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (SERVICE, SERVICE, mode)
    assert len(while_open) == 4
    assert as_user(SERVICE, use(make))
    if mode == 0o660:
        assert as_user(ADMIN, use(make), gid=SERVICE), "and to its group"
        assert as_user(SERVICE, use(make)), "which leaves it to the service"


@needs_root
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_what_root_left_there_is_told_and_the_next_look_by_root_mends_it(service, make):
    for suffix in ("-lock", "-next"):
        service.with_name(service.name + suffix).touch(0o600)

    def refused():
        with pytest.raises(QueueUnavailable, match=r"belong to another user.*chown --reference"):
            use(make)()

    assert as_user(SERVICE, refused)
    assert look_at_sqlite(SQLiteOpts(path=str(service))).strangers == ("queue.db-lock", "queue.db-next")
    make().stats()
    assert look_at_sqlite(SQLiteOpts(path=str(service))).strangers == ()
    assert as_user(SERVICE, use(make))


@needs_root
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_third_user_makes_no_files_that_would_shut_the_owner_out(service, make):
    service.chmod(0o606)
    service.parent.chmod(0o777)

    def refused():
        with pytest.raises(QueueUnavailable, match="belongs to another user"):
            use(make)()

    assert as_user(ADMIN, refused)
    assert beside(service) == []
    assert as_user(SERVICE, use(make))


@needs_root
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_look_by_root_takes_no_rights_from_a_service_that_needs_them(service, make):
    """Every user may read its database. Its owner has to mend that, and not another user who looks at it."""
    service.chmod(0o666)
    make().stats()
    assert stat.S_IMODE(service.stat().st_mode) == 0o666
    assert as_user(SERVICE, use(make))
    assert stat.S_IMODE(service.stat().st_mode) == 0o660


def status(uid=1000, gid=1000, mode=0o100600, size=1):
    return os.stat_result((mode, 1, 1, 1, uid, gid, size, 0, 0, 0))


@pytest.mark.parametrize(
    ("user", "groups", "mode", "may"),
    [(0, [], 0o600, True), (1000, [], 0o600, True), (7, [], 0o666, False), (7, [1000], 0o600, False),
     (7, [1000], 0o660, True)],
)  # fmt: skip
def test_who_may_make_files_beside_a_database(monkeypatch, user, groups, mode, may):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "getegid", lambda: user)
    monkeypatch.setattr(os, "getgroups", lambda: groups)
    assert may_make_files(status(mode=0o100000 | mode)) is may


def test_what_this_user_may_not_give_away_is_left_as_it_is(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    with owner.opened(str(tmp_path / "lock")) as file:
        share(file.fileno(), status(uid=4711, mode=0o100660))
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def test_a_stranger_is_a_file_that_the_owner_cannot_write(tmp_path):
    lock = tmp_path / "queue.db-lock"
    path, uid = str(tmp_path / "queue.db"), os.geteuid()
    lock.touch(0o600)
    assert list(strangers(path, status(uid=uid))) == []
    assert list(strangers(path, status(uid=uid + 1))) == [str(lock)]
    lock.chmod(0o660)
    assert list(strangers(path, status(uid=uid + 1, gid=lock.stat().st_gid))) == []
