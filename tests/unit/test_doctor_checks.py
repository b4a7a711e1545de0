"""What doctor makes of facts that no machine of the tests has; the others are planted in tests/cli/test_doctor.py."""

from __future__ import annotations

import pytest

from eventspool import ProcessorInfo, QueueStats
from eventspool._config.redis_url import Topology
from eventspool._doctor.plane_checks import PlaneFacts, check_plane
from eventspool._doctor.queue_checks import QueueFacts, check_queue
from eventspool._doctor.redis_checks import RedisFacts, check_redis
from eventspool._doctor.sqlite_checks import SQLiteFacts, check_sqlite
from eventspool._doctor.sqlite_facts import file_system_of

SOUND = {"redis_version": "7.2.4", "aof_enabled": 1, "maxmemory_policy": "noeviction"}
EVERYSEC = {"save": "", "appendfsync": "everysec"}


def found(findings):
    return [(finding.check, finding.severity.value) for finding in findings]


@pytest.mark.parametrize(
    ("check", "facts", "expected"),
    [
        (check_queue, QueueFacts(outage="the server refuses (NOPERM)"), [("queue.refused", "error")]),
        (check_redis, RedisFacts(info=SOUND, settings=EVERYSEC), []),
        (
            check_redis,
            RedisFacts(info={**SOUND, "redis_version": "5.0.14"}, settings=EVERYSEC),
            [("redis.version", "error")],
        ),
        (
            check_redis,
            RedisFacts(info={**SOUND, "used_memory": 85, "maxmemory": 100}, settings=EVERYSEC),
            [("redis.memory", "warning")],
        ),
        (
            check_redis,
            RedisFacts(info={**SOUND, "used_memory": 96, "total_system_memory": 100}, settings=EVERYSEC),
            [("redis.memory", "error")],
        ),
        (
            check_redis,
            RedisFacts(info={**SOUND, "aof_last_write_status": "err"}, settings=EVERYSEC),
            [("redis.saving", "error")],
        ),
        (check_redis, RedisFacts(loopback=False, authenticated=True), []),
        (
            check_redis,
            RedisFacts(loopback=False, authenticated=True, encrypted=False),
            [("redis.tls", "warning")],
        ),
        (check_sqlite, SQLiteFacts("/q.db", file_system="ext4", free_bytes=1 << 34), []),
        (check_sqlite, SQLiteFacts("/q.db", mode=0o660), []),
        (check_sqlite, SQLiteFacts("/q.db", mode=0o640), [("sqlite.mode", "warning")]),
        (check_sqlite, SQLiteFacts("/q.db", usable=False), [("sqlite.permission", "error")]),
        (check_sqlite, SQLiteFacts("/q.db", file_system="nfs4"), [("sqlite.network", "error")]),
        (check_sqlite, SQLiteFacts("/q.db", file_system="fuse.sshfs"), [("sqlite.network", "error")]),
        (check_sqlite, SQLiteFacts("/q.db", free_bytes=1 << 20), [("sqlite.disk", "error")]),
        (check_sqlite, SQLiteFacts("/q.db", free_bytes=1 << 28), [("sqlite.disk", "warning")]),
        (
            check_sqlite,
            SQLiteFacts("/q.db", free_bytes=3 << 20, disk_bytes=16 << 20),
            [("sqlite.disk", "warning")],
        ),
        (
            check_sqlite,
            SQLiteFacts("/q.db", free_bytes=1 << 20, disk_bytes=16 << 20),
            [("sqlite.disk", "error")],
        ),
        (check_sqlite, SQLiteFacts("/q.db", strangers=("q.db-lock",)), [("sqlite.owner", "error")]),
        (check_sqlite, SQLiteFacts("/q.db", log_bytes=1 << 28), [("sqlite.log", "error")]),
        (check_sqlite, SQLiteFacts("/q.db", version=(3, 8, 0)), [("sqlite.version", "error")]),
        (check_plane, PlaneFacts("https://x", status=200, expires_in=3e6, skew=-1.0), []),
        (check_plane, PlaneFacts("http://x", status=200, encrypted=False), [("plane.tls", "error")]),
        (check_plane, PlaneFacts("https://x", status=200, elapsed=3.0), [("plane.latency", "warning")]),
        (check_queue, QueueFacts(), []),
        (
            check_queue,
            QueueFacts(processors=[ProcessorInfo(token=str(i), version=f"1.{i}") for i in range(2)]),
            [("queue.versions", "warning")],
        ),
        (
            check_queue,
            QueueFacts(stats=QueueStats(failed_events=5), before=QueueStats(failed_events=3)),
            [("queue.failing", "error")],
        ),
    ],
)
def test_facts_lead_to_findings(check, facts, expected):
    assert found(check(facts)) == expected


MOUNTS = r"""
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /srv/share\040d rw - nfs4 server:/x rw
31 22 0:27 / /srv/share rw master:2 - tmpfs tmpfs rw
32 22 0:28 / /srv/share rw - xfs /dev/sdb rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/share d/queue", "nfs4"),
        ("/srv/share/queue", "xfs"),
        ("/srv/shared", "ext4"),
        ("/", "ext4"),
    ],
)
def test_a_path_is_on_the_nearest_and_topmost_mount(path, kind):
    assert file_system_of(path, MOUNTS) == kind


@pytest.mark.parametrize(
    ("seconds", "says"), [(9.0, "9.0 s old"), (65.0, "1 min 5 s old"), (90_000.0, "1 d 1 h old")]
)
def test_an_age_is_told_in_units_that_fit_it(seconds, says):
    [finding] = check_queue(QueueFacts(stats=QueueStats(oldest_age=seconds), max_age=5.0))
    assert finding.what == f"the oldest job is {says}"


def test_an_unknown_file_system_is_no_finding():
    assert file_system_of("/x", "") == ""
    assert found(check_sqlite(SQLiteFacts("/x", file_system=""))) == []


def test_a_reader_that_keeps_the_log_is_named_where_the_system_tells():
    [told] = check_sqlite(SQLiteFacts("/q.db", log_bytes=1 << 28, readers=(17, 4711)))
    assert "process 17, 4711 keeps it" in told.what
    [told] = check_sqlite(SQLiteFacts("/q.db", log_bytes=1 << 28))
    assert "a reader keeps it" in told.what


CLUSTER = {**SOUND, "cluster_enabled": 1}


@pytest.mark.parametrize(
    ("info", "more", "expected"),
    [
        (CLUSTER, {"topology": Topology.CLUSTER}, []),
        (CLUSTER, {}, [("redis.cluster", "warning")]),
        (CLUSTER, {"topology": Topology.CLUSTER, "max_bytes": 1 << 28}, []),
        (CLUSTER, {"topology": Topology.CLUSTER, "max_bytes": 1 << 29}, [("redis.slot_size", "warning")]),
        ({**CLUSTER, "redis_version": "8.4.0"}, {"topology": Topology.CLUSTER, "max_bytes": 1 << 29}, []),
        ({**CLUSTER, "valkey_version": "9.0.1"}, {"topology": Topology.CLUSTER, "max_bytes": 1 << 29}, []),
        (SOUND, {"topology": Topology.SENTINEL}, [("redis.replicas", "note")]),
        (
            {**SOUND, "connected_slaves": 1},
            {"topology": Topology.SENTINEL},
            [("redis.replicas", "warning")],
        ),
        (
            {**SOUND, "min_slaves_good_slaves": 0},
            {"settings": {**EVERYSEC, "min-replicas-to-write": "1"}},
            [("redis.replicas", "error")],
        ),
        (
            {**SOUND, "min_slaves_good_slaves": 1},
            {"settings": {**EVERYSEC, "min-replicas-to-write": "1"}, "topology": Topology.SENTINEL},
            [],
        ),
        ({**SOUND, "role": "slave", "master_host": "h", "master_port": 7}, {}, [("redis.role", "error")]),
        ({"redis_mode": "sentinel"}, {"services": ("main",), "address": "h:1"}, [("redis.role", "error")]),
        ({"server_mode": "sentinel"}, {"loopback": False, "authenticated": True}, [("redis.role", "error")]),
    ],
)
def test_where_a_server_stands_among_others_is_found(info, more, expected):
    findings = list(check_redis(RedisFacts(info=info, **{"settings": EVERYSEC, **more})))
    assert found(findings) == expected
    if more.get("services"):
        assert "redis+sentinel://h:1/main" in findings[0].action
    if "master_host" in info:
        assert "its master is h:7" in findings[0].what
