"""Everything works as the ACL user that the documentation asks for, on a server that knows no other user."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
import redis

from eventspool import Client, QueueError, open_queue
from eventspool._contract.suite import QueueContract
from eventspool.testing import DataPlane
from redis_servers import (
    NEWEST,
    OLDEST,
    available_servers,
    documented_acl,
    make_backend,
    new_queue_name,
    running,
)

NAME, PASSWORD, PREFIX = "least", "password-of-the-least", "test"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/security.md"


@pytest.fixture(scope="module", params=[name for name in (OLDEST, *NEWEST) if name in available_servers()])
def least_url(request):
    """The URL of a server whose default user is off."""
    with running(request.param) as server:
        with redis.Redis.from_url(server.url) as admin:
            rules = ("reset", "on", f">{PASSWORD}", f"~{PREFIX}:*", *documented_acl())
            admin.execute_command("ACL", "SETUSER", NAME, *rules)
            admin.execute_command("ACL", "SETUSER", "default", "off")
        yield server.url.replace("unix://", f"unix://{NAME}:{PASSWORD}@")


class TestRedisAsTheLeastUser(QueueContract):
    @pytest.fixture
    def backend_factory(self, least_url):
        name = new_queue_name()
        made = []

        def factory(**options):
            backend = make_backend(least_url, queue_name=name, prefix=PREFIX, **options)
            backend.open()
            made.append(backend)
            return backend

        yield factory
        for backend in made:
            backend.close()


@pytest.mark.parametrize("is_multi_processor", [True, False], ids=["shared", "in order"])
def test_a_client_delivers_and_an_operator_looks_as_that_user(least_url, caplog, is_multi_processor):
    name = new_queue_name()
    queue = {"url": least_url, "queue_name": name, "prefix": PREFIX, "is_multi_processor": is_multi_processor}
    with DataPlane(None) as plane:
        plane.script({"reject": "events", "event": "Bad"})
        with Client("k", data_plane_url=plane.url, persistence=queue, flush_interval=0.01) as client:
            client.track("u1", "Good")
            client.track("u1", "Bad")
            result = client.flush(timeout=60)
            assert (result.delivered, result.failed) == (1, 1)
        with open_queue(least_url, name, PREFIX) as found:
            [job] = found.jobs("failed")
            assert found.events(job.id)[0]["event"] == "Bad"
            assert found.purge() == 1
    assert [record for record in caplog.records if "PERMISSION" in record.getMessage()] == []


def test_nobody_else_gets_in_and_that_user_not_elsewhere(least_url):
    for url, complaint in (
        (least_url.replace(f"{NAME}:{PASSWORD}@", ""), "PASSWORD"),
        (least_url.replace(PASSWORD, "wrong"), "PASSWORD"),
    ):
        with closing(make_backend(url)) as refused, pytest.raises(QueueError, match=complaint):
            refused.open()
    with (
        closing(make_backend(least_url, prefix="other")) as other,
        pytest.raises(QueueError, match="PERMISSION"),
    ):
        other.stats()
    with redis.Redis.from_url(least_url) as client:
        for command in (
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("GET", "other"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_operators_read_the_same_commands_that_this_suite_runs_with():
    line = re.search(r"^ACL SETUSER .*?(?=^```)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL).group()
    assert sorted(re.findall(r"\+[a-z|]+", line)) == sorted(documented_acl())
