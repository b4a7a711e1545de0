"""A password may change while the process runs: it is asked for with each new connection."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import redis

from eventspool import Client, ConfigError, QueueOpts, RedisOpts
from eventspool._backends.redis.client import connect
from eventspool._config import read_queue
from eventspool._contract.tools import eventually, new_job
from eventspool._doctor.redis_checks import check_redis
from eventspool._doctor.redis_facts import ask_redis
from eventspool._exceptions import QueueUnavailable
from eventspool.testing import DataPlane
from redis_servers import NEWEST, OLDEST, available_servers, make_backend, running

pytestmark = pytest.mark.rotating("credentials", turns=3)

FIRST, SECOND = "canary-first", "canary-second"


class Vault:
    """Where a password is kept: what redis-py calls a credential provider, too."""

    def __init__(self, password, username=None):
        self.password, self.username, self.asked = password, username, 0

    def __call__(self):
        self.asked += 1
        return self.password

    def get_credentials(self):
        return (self.username, self()) if self.username else (self(),)


@pytest.fixture(params=[name for name in (OLDEST, *NEWEST) if name in available_servers()])
def locked(request):
    """A server with a password, and an administrator's client."""
    with (
        running(request.param, "--requirepass", FIRST) as server,
        redis.Redis(unix_socket_path=str(server.socket_path), password=FIRST) as admin,
    ):
        yield server, admin


def rotate(admin, password, *, user="default"):
    """Give *user* another password, and end every connection but the administrator's."""
    rules = (
        ["on", "resetpass", f">{password}"]
        if user == "default"
        else ["reset", "on", f">{password}", "~*", "+@all"]
    )
    admin.execute_command("ACL", "SETUSER", user, *rules)
    admin.client_kill_filter(skipme=True)


def ways(vault, path):
    """Options for each way to give a password that may change."""
    return {
        "callable": {"password": vault},
        "pair": {"password": lambda: ("default", vault())},
        "file": {"password_file": str(path)},
        "path": {"password_file": path},
        "provider": {"credential_provider": vault},
        "bare provider": {"credential_provider": lambda: ("default", vault())},
    }


WAYS = list(ways(None, None))


@pytest.mark.parametrize("way", WAYS)
def test_a_password_that_was_rotated_is_used_without_a_restart(locked, tmp_path, way):
    server, admin = locked
    path, vault = tmp_path / "password", Vault(FIRST)
    path.write_text(FIRST + "\n")
    opts = RedisOpts(url=server.url, **ways(vault, path)[way])
    backend = make_backend("", opts=opts)
    backend.open()
    assert backend.commit([new_job()]).accepted == 1
    path.write_text(SECOND)
    vault.password = SECOND
    rotate(admin, SECOND)

    def commit():
        with contextlib.suppress(QueueUnavailable):  # a connection that was ended is noticed when it is used
            return backend.commit([new_job()]).accepted

    assert eventually(commit)
    assert backend.wait(20.0) is True
    backend.close()
    assert FIRST not in repr(opts)
    assert SECOND not in repr(opts)


def test_a_client_goes_on_through_rotations_and_loses_nothing(tmp_path):
    path = tmp_path / "password"
    path.write_text(FIRST)
    with (
        running(NEWEST[1], "--requirepass", FIRST) as server,
        redis.Redis(unix_socket_path=str(server.socket_path), password=FIRST) as admin,
        DataPlane() as plane,
    ):
        url = f"{server.url}&password_file={path}"
        with Client(plane.write_key, data_plane_url=plane.url, persistence=url, flush_at=1) as client:
            for n in range(6):
                client.track("u", f"E{n}")
                assert client.flush(timeout=60).pending == 0
                path.write_text(f"canary-{n}")
                rotate(admin, f"canary-{n}")
        assert plane.stats().events == 6


@pytest.mark.parametrize("way", ["callable", "file", "provider"])
def test_the_users_name_may_stand_in_the_url_or_beside_it(locked, tmp_path, way):
    server, admin = locked
    path = tmp_path / "password"
    path.write_text(SECOND)
    rotate(admin, SECOND, user="app")
    options = ways(Vault(SECOND), path)[way]
    for opts in (
        RedisOpts(url=server.url.replace("unix://", "unix://app@"), **options),
        RedisOpts(url=server.url, username="app", **options),
    ):
        backend = make_backend("", opts=opts)
        backend.open()
        with redis.Redis(unix_socket_path=str(server.socket_path), password=FIRST) as again:
            assert "app" in {each["user"] for each in again.client_list()}
        backend.close()


def test_a_fixed_password_may_stand_beside_the_url(locked):
    server, _ = locked
    backend = make_backend("", opts=RedisOpts(url=server.url, password=FIRST))
    backend.open()
    backend.close()
    kwargs = connect(RedisOpts(url="redis://:theirs@h", password="ours")).connection_pool.connection_kwargs
    assert kwargs["password"] == "theirs", "a URL's own wins, as its other parts do"


def test_the_password_file_of_the_url_serves_the_command_line_and_doctor(locked, tmp_path, monkeypatch):
    server, _ = locked
    path = tmp_path / "pass word"
    path.write_text(FIRST)
    url = f"{server.url}&password_file={str(path).replace(' ', '%20')}"
    backend = make_backend(url)
    backend.open()
    backend.close()
    assert all(
        f.check != "redis.reachable"
        for f in check_redis(ask_redis(RedisOpts(url=url), prefix="p", queue_name="q"))
    )
    path.unlink()
    [found] = check_redis(ask_redis(RedisOpts(url=url), prefix="p", queue_name="q"))
    assert (found.check, "password file" in found.what) == ("redis.reachable", True)


def broken(kind):
    def fail():
        raise ValueError(f"{SECOND} could not be had")

    return {
        "raises": fail,
        "nothing": lambda: None,
        "empty": lambda: "",
        "bytes": lambda: SECOND.encode(),
        "triple": lambda: ("a", SECOND, "c"),
        "no text": lambda: (SECOND, None),
    }[kind]


@pytest.mark.parametrize("kind", ["raises", "nothing", "empty", "bytes", "triple", "no text"])
@pytest.mark.parametrize("option", ["password", "credential_provider"])
def test_a_callable_that_gives_no_password_is_an_outage_that_says_so(locked, kind, option):
    server, _ = locked
    given = {"now": broken(kind)}
    backend = make_backend("", opts=RedisOpts(url=server.url, **{option: lambda: given["now"]()}))
    for call in (backend.open, lambda: backend.commit([new_job()]), lambda: backend.wait(0.1)):
        with pytest.raises(QueueUnavailable, match="it has no password to send: ") as caught:
            call()
        assert ("ValueError" in str(caught.value)) is (kind == "raises")
        text = "".join(traceback.format_exception(caught.value))
        assert SECOND not in text
        assert caught.value.__cause__ is caught.value.__context__ is None
    given["now"] = lambda: FIRST
    backend.open()
    assert backend.commit([new_job()]).accepted == 1, "no half-opened connection is left"
    backend.close()


@pytest.mark.parametrize("state", ["missing", "empty", "a folder", "no text"])
def test_a_password_file_that_holds_none_is_an_outage_that_says_so(locked, tmp_path, state):
    server, _ = locked
    path = tmp_path / "password"
    if state == "a folder":
        path.mkdir()
    elif state != "missing":
        path.write_bytes(b"\n" if state == "empty" else b"\xff\xfe" + SECOND.encode())
    backend = make_backend("", opts=RedisOpts(url=server.url, password_file=path))
    with pytest.raises(QueueUnavailable, match="no password to send: the password file ") as caught:
        backend.open()
    assert SECOND not in "".join(traceback.format_exception(caught.value))
    if state == "a folder":
        path.rmdir()
    path.write_text(FIRST)
    backend.open()
    backend.close()


@pytest.mark.parametrize("call", [lambda b: b.stats(), lambda b: b.payload("x")], ids=["long", "short"])
def test_a_connection_that_was_interrupted_before_its_password_was_sent_is_not_used_for_ever(locked, call):
    server, _ = locked

    class Stop(BaseException):
        pass

    interrupt = [True]

    def ask():
        if interrupt and interrupt.pop():
            raise Stop
        return FIRST

    backend = make_backend("", opts=RedisOpts(url=server.url, password=ask))
    with pytest.raises(Stop):
        call(backend)

    def go_on():
        with contextlib.suppress(QueueUnavailable):
            call(backend)
            return True

    assert eventually(go_on)
    backend.close()


@pytest.mark.parametrize(
    "options",
    [
        {"url": "redis://:secret@h", "password": lambda: "x"},
        {"url": "redis://:secret@h", "password_file": "/x"},
        {"url": "redis://:secret@h", "credential_provider": Vault("x")},
        {"url": "redis://:secret@h?password_file=/x"},
        {"url": "redis://h?password_file=/x", "password": "secret"},
        {"url": "redis://h?password_file=/x", "password_file": "/y"},
        {"password": "secret", "password_file": "/x"},
        {"password": lambda: "x", "credential_provider": Vault("x")},
    ],
)
def test_a_password_that_is_given_twice_is_refused(options):
    with pytest.raises(ConfigError, match="once") as caught:
        RedisOpts(**options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"password": 5}, {"password_file": 5}, {"credential_provider": "x"}, {"password": b"x"}]
)
def test_what_gives_no_password_is_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        RedisOpts(**options)


def test_they_may_stand_wherever_options_of_redis_may(tmp_path):
    for given in ({"password": lambda: "x"}, {"url": "redis://h", "password_file": str(tmp_path)}):
        opts = read_queue({"redis_opts": given}, environ={})
        assert isinstance(opts, QueueOpts)
        assert "password" not in repr(opts)


def test_an_unset_variable_of_the_environment_is_no_password(monkeypatch):
    monkeypatch.delenv("PASSWORD", raising=False)
    empty = os.environ.get("PASSWORD", "")
    kwargs = connect(RedisOpts(password=empty, password_file=empty)).connection_pool.connection_kwargs
    assert not kwargs["password"]
    assert "credential_provider" not in kwargs
    assert Path(empty) == Path()


def test_a_password_in_the_environment_opens_the_queue_for_a_client_and_for_the_commands(monkeypatch):
    with running(NEWEST[1], "--requirepass", FIRST) as server, DataPlane("key") as plane:
        texts = {"QUEUE": server.url, "PASSWORD": FIRST, "WRITE_KEY": "key", "DATA_PLANE_URL": plane.url}
        for name, text in texts.items():
            monkeypatch.setenv(f"EVENTSPOOL_{name}", text)
        with Client(process=False) as client:
            client.track("u1", "E")
            assert client.flush(until="persisted", timeout=60).pending == 0
        for command, said in (
            (["queue", "status", "--json"], '"waiting"'),
            (["queue", "list", "--state", "waiting", "--json"], '"events": 1'),
            (["worker", "--once", "--json"], '"waiting": 0'),
            (["doctor", "--interval", "0", "--json"], '"delivered_events": 1'),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "eventspool", *command], capture_output=True, text=True, timeout=60
            )
            assert said in done.stdout, done
            assert FIRST not in done.stdout + done.stderr
        assert len(plane.unique_ids()) == 1
