"""A wrong option is an error that names it, at once, and no secret is ever repeated."""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import typing
from pathlib import Path

import pytest
import trustme

import eventspool
from eventspool import ConfigError
from eventspool._config import (
    ClientOpts,
    JobOpts,
    Ordering,
    QueueOpts,
    RedisOpts,
    SpillOpts,
    SQLiteOpts,
    parse_queue_url,
    read_queue,
    reject_unknown,
)
from eventspool._config.elsewhere import ELSEWHERE

NAN, INF = float("nan"), float("inf")
NO_BOOL = [1, 0, "yes", None, []]
NO_COUNT = [0, -1, 1.0, 1.5, True, "5", None, NAN, INF, []]
NO_SECONDS = [0, -0.1, True, "5", None, NAN, INF, -INF, 1e10, 10**400, dt.timedelta(seconds=5)]
NO_TEXT = ["", None, 5, b"bytes", ["x"], "\ud800", "a\0b"]


def read_opts(given, redis_opts=None):
    return read_queue(given, redis_opts, environ={})


CLIENT = {
    "write_key": [*NO_TEXT, "two words", "colon:", "täst", "new\nline", "\x7f"],
    "data_plane_url": [
        *NO_TEXT,
        "example.com",
        "ftp://example.com",
        "https://",
        "https:///v1",
        "https://:443",
        "https://host:port",
        "https://host:0",
        "https://host:70000",
        "https://user:secret@host",
        "https://host?x=1",
        "https://host#x",
        "https://ho st",
        "https://host/ü",
        "https://host\n",
        "https://[::1",
        "https://host/v1/batch",
        "https://host/v1/batch/",
        "https://host/base/v1/batch",
    ],
    "path": [*NO_TEXT, "v1/batch", "/v1 batch", "/ü", "/v1\r\nX: y"],
    "flush_at": NO_COUNT,
    "flush_interval": NO_SECONDS,
    "max_internal_queue_size": NO_COUNT,
    "max_batch_bytes": [*NO_COUNT, 1_023],
    "max_event_bytes": [*NO_COUNT, 127, 460_800],
    "timeout": NO_SECONDS,
    "gzip": NO_BOOL,
    "enable": NO_BOOL,
    "strict": NO_BOOL,
    "process": NO_BOOL,
    "handle_sigterm": NO_BOOL,
    "durability": ["", "durable", None, True, []],
    "spill": ["", 5, True, [], b"sqlite:///s.db", "s.db", "redis://localhost", "mysql://x", {"url": "s.db"}],
    "proxy": [
        5,
        0,
        False,
        b"http://p",
        ["http://p"],
        {},
        "http://",
        "http://user:secret@[::1",
        "http://user:secret@p:99999",
        "https://user:secret@p",
        "socks5://user:secret@p",
        "a\0b",
        "\ud800",
    ],
    "ca_file": [
        5,
        False,
        b"/ca.pem",
        ["/ca.pem"],
        "/nowhere/ca.pem",
        __file__,
        str(Path(__file__).parent),
        "a\0b",
    ],
}
JOB = {
    "max_attempts": NO_COUNT,
    "retry_for": [-1, True, "5", None, NAN, INF, 1e10],
    "backoff_initial": NO_SECONDS,
    "backoff_max": [*NO_SECONDS, 0.5],
    "concurrency": [x for x in NO_COUNT if x is not None],
    "max_events_per_second": [0, 0.001, -1, True, "5", NAN, INF, []],
    "visibility_timeout": [*NO_SECONDS, 0.01],
}
REDIS = {
    "host": NO_TEXT,
    "port": [*NO_COUNT, 65_536],
    "db": [-1, 1.5, True, "0", None],
    "username": [5, 0, False, b"x"],
    "password": [5, 0, False, b"x", "\ud800"],
    "password_file": [5, 0, False, b"x", "\ud800"],
    "credential_provider": [5, "", "secret", ("user", "secret")],
    "url": ["", "http://host", "localhost:6379", 5, b"redis://host", "redis://[::1", "redis://host:port"],
    "client": [5, "redis://secret", object()],
    "sentinel_username": [5, b"x", "for no sentinel"],
    "sentinel_password": [5, b"x", "for no sentinel"],
    "ssl": NO_BOOL,
    "ssl_ca_certs": [5, b"x"],
    "ssl_certfile": [5, b"x"],
    "ssl_keyfile": [5, b"x"],
    "ssl_cert_reqs": ["", "no", None, 0],
    "ssl_check_hostname": NO_BOOL,
    "socket_timeout": [each for each in NO_SECONDS if each is not None],
    "socket_connect_timeout": NO_SECONDS,
}
KEY = "c2VjcmV0" * 5 + "c2U="
"""32 bytes, which say "secret" in base64."""
QUEUE = {
    "queue_name": [*NO_TEXT, "a b", "a:b", "{a}", "\udcff"],
    "prefix": [*NO_TEXT, "a b", "a:b", "{a}", "\udcff"],
    "is_multi_processor": NO_BOOL,
    "partitions": [*NO_COUNT, 257],
    "ordering": ["", "lifo", 5, True],
    "redis_opts": [5, "localhost", [("host", "x")]],
    "job_opts": [5, "ten", [("max_attempts", 3)]],
    "url": ["", 5],
    "max_jobs": NO_COUNT,
    "max_bytes": NO_COUNT,
    "replicas": NO_COUNT,
    "replication_timeout": NO_SECONDS,
    "when_unreplicated": ["", "retry", None, True, []],
    "encryption_key": [
        "",
        ",",
        [],
        [""],
        5,
        b"x" * 44,
        "c2VjcmV0",
        f"{KEY},c2VjcmV0",
        [KEY, None],
        KEY + "\n=",
        "secret key",
    ],
}
SPILL = {
    "url": [*NO_TEXT, "s.db", "redis://localhost", "sqlite:///"],
    "max_jobs": NO_COUNT,
    "max_bytes": NO_COUNT,
}
SQLITE = {"path": NO_TEXT, "synchronous": ["", "off", None, 1, []]}

WRONG = [
    pytest.param(kind, base, name, value, id=f"{kind.__name__}-{name}-{i}")
    for kind, base, table in (
        (ClientOpts, {"write_key": "key"}, CLIENT),
        (JobOpts, {}, JOB),
        (RedisOpts, {}, REDIS),
        (QueueOpts, {}, QUEUE),
        (SQLiteOpts, {"path": "queue.db"}, SQLITE),
        (SpillOpts, {"url": "sqlite:///s.db"}, SPILL),
    )
    for name, values in table.items()
    for i, value in enumerate(values)
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(ClientOpts, "timeout"), (ClientOpts, "flush_at"), (ClientOpts, "max_batch_bytes"), (RedisOpts, "port")],
)
@pytest.mark.parametrize("value", [10**5000, -(10**5000)], ids=["huge", "negative"])
def test_a_number_that_python_does_not_print_is_named_all_the_same(kind, name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        kind(**{"write_key": "key"} if kind is ClientOpts else {}, **{name: value})


@pytest.mark.parametrize(("kind", "base", "name", "value"), WRONG)
def test_a_wrong_option_raises_and_is_named(kind, base, name, value):
    with pytest.raises(ConfigError, match=name if name != "url" else "(?i)url") as caught:
        kind(**{**base, name: value})
    assert "secret" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (ClientOpts, CLIENT),
        (JobOpts, JOB),
        (RedisOpts, REDIS),
        (QueueOpts, QUEUE),
        (SQLiteOpts, SQLITE),
        (SpillOpts, SPILL),
    ],
)
def test_no_option_is_left_out_of_this_table(kind, table):
    assert set(table) == {f.name for f in dataclasses.fields(kind)}


def test_the_defaults_are_those_of_the_contract():
    client, queue, job, redis = ClientOpts(write_key="k"), QueueOpts(), JobOpts(), RedisOpts()
    assert (client.data_plane_url, client.path) == ("https://us-east-1.hightouch-events.com", "/v1/batch")
    assert (client.flush_at, client.flush_interval, client.max_internal_queue_size) == (20, 20.0, 20_000)
    assert (client.max_batch_bytes, client.max_event_bytes, client.timeout) == (460_800, 32_768, 10.0)
    assert (client.gzip, client.enable, client.strict, client.durability) == (True, True, False, "buffered")
    assert (queue.queue_name, queue.prefix, queue.is_multi_processor) == (
        "hightouchEventsQueue",
        "hightouch",
        False,
    )
    assert (job.max_attempts, job.retry_for, job.backoff_initial, job.backoff_max) == (10, 0.0, 1.0, 30.0)
    assert job.visibility_timeout == 60.0
    assert (redis.host, redis.port, redis.db) == ("localhost", 6379, 0)
    assert queue.target == redis


def test_the_client_shows_the_options_that_are_checked():
    """Its signature is written out, for editors and type checkers: by name, type and default it is that of ``ClientOpts``."""
    ours = {"self", "persistence", "on_error", "before_send"}
    shown = inspect.signature(eventspool.Client.__init__).parameters
    types = typing.get_type_hints(eventspool.Client.__init__)
    checked = inspect.signature(ClientOpts).parameters
    assert {name: (each.default, types[name]) for name, each in shown.items() if name not in ours} == {
        name: (each.default, each.annotation) for name, each in checked.items()
    }


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("queueName", "queue_name"),
        ("isMultiProcessor", "is_multi_processor"),
        ("redisOpts", "redis_opts"),
        ("jobOpts", "job_opts"),
        ("que_name", "queue_name"),
        ("multi_processor", "is_multi_processor"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_known_one(given, near):
    with pytest.raises(ConfigError, match=f"{given}.*did you mean '{near}'"):
        read_opts({given: 1})


@pytest.mark.parametrize(
    "given", ["dataPlaneUrl", "dataPlaneURL", "data_plane", "flushAt", "maxInternalQueueSize"]
)
def test_the_client_answers_likewise(given):
    with pytest.raises(
        ConfigError, match=r"did you mean '(data_plane_url|flush_at|max_internal_queue_size)'"
    ):
        eventspool.Client("key", **{given: 1})


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("proxies", "proxy"),
        ("httpProxy", "proxy"),
        ("verify", "ca_file"),
        ("caBundle", "ca_file"),
        ("host", "data_plane_url"),
        ("upload_size", "flush_at"),
        ("maxEventsInBatch", "flush_at"),
        ("upload_interval", "flush_interval"),
        ("max_queue_size", "max_internal_queue_size"),
        ("send", "enable"),
        ("disabled", "enable"),
        ("disable", "enable"),
        ("errorHandler", "on_error"),
        ("httpRequestTimeout", "timeout"),
        ("api_key", "write_key"),
    ],
)
def test_an_option_by_the_name_that_others_give_it_is_answered_with_ours(given, near):
    with pytest.raises(ConfigError, match=f"'{given}' in Client: did you mean '{near}'"):
        eventspool.Client("key", **{given: "x"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "max_retries",
            r"'max_attempts': ….*without a queue an event is tried 10 times .it counts the first",
        ),
        ("maxRetries", "'max_attempts': …"),
        ("retryCount", "'max_attempts': …"),
        ("thread", "'concurrency': …"),
        ("sync_mode", r"durability='persisted' with persistence=…, or call flush\(\)"),
        ("debug", r"no equivalent: .*logging.getLogger\(\"eventspool\"\)"),
        ("log_handler", "no equivalent: .*logging"),
        ("logLevel", "no equivalent: .*logging"),
        ("oauth_client_id", "no equivalent: .*the write key alone"),
        ("oauthSettings", "no equivalent: .*the write key alone"),
        ("axiosConfig", "no equivalent: .*proxy=…, ca_file=… and timeout=…"),
        ("axiosInstance", "no equivalent: "),
        ("axiosRetryConfig", "no equivalent: "),
        ("httpClient", "no equivalent: "),
        ("flushOverride", "no equivalent: "),
        ("feature_flags_request_timeout_seconds", "no equivalent: "),
        ("enable_exception_autocapture", "no equivalent: "),
    ],
)
def test_an_option_of_others_without_one_here_is_told_what_to_do_instead(given, said):
    with pytest.raises(ConfigError, match=f"'{given}' in Client: .*{said}") as raised:
        eventspool.Client("key", **{given: "x"})
    assert "did you mean" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ("flushInterval", "it is in seconds"),
        ("httpRequestTimeout", "it is in seconds"),
        ("disable", "the contrary"),
    ],
)
def test_a_value_that_means_something_else_here_is_told(given, note):
    """The SDKs for Node count milliseconds: 10,000 of them are three hours of seconds."""
    with pytest.raises(ConfigError, match=rf"did you mean '\w+'\? \(.*{note}\)$"):
        eventspool.Client("key", **{given: 10_000})


def test_the_names_of_others_are_answered_where_the_option_belongs():
    with pytest.raises(ConfigError, match="'maxRetries' in job_opts: did you mean 'max_attempts'"):
        QueueOpts(job_opts={"maxRetries": 3})
    with pytest.raises(ConfigError, match="'thread' in JobOpts: did you mean 'concurrency'"):
        JobOpts(thread=3)
    with pytest.raises(ConfigError, match="'host' in QueueOpts: 'host' is one of redis_opts"):
        QueueOpts(host="redis")
    with pytest.raises(ConfigError, match="'debug' in QueueOpts: known are"):
        QueueOpts(debug=True)


def test_each_answer_names_an_option_that_there_is():
    options = {*inspect.signature(eventspool.Client).parameters, *inspect.signature(JobOpts).parameters}
    for name, elsewhere in ELSEWHERE.items():
        assert elsewhere.option in options or (not elsewhere.option and elsewhere.instead), name
        assert name not in options or name == elsewhere.option, name


@pytest.mark.parametrize(
    "url", ["https://host", "https://host/v1", "https://host/v1/batches", "https://host/batch"]
)
def test_a_data_plane_url_may_have_a_path_that_does_not_repeat_the_other(url):
    assert ClientOpts(write_key="key", data_plane_url=url).path == "/v1/batch"


def test_a_path_that_the_url_repeats_is_told_what_to_leave_out():
    with pytest.raises(ConfigError, match=r"data_plane_url ends with /v1/batch.*leave it out of the URL"):
        ClientOpts(write_key="key", data_plane_url="https://host/v1/batch")
    assert ClientOpts(write_key="key", data_plane_url="https://host/v1/batch", path="/x").path == "/x"


@pytest.mark.parametrize(
    "proxy", [None, "", "http://p", "p:3128", "http://user:p%40ss@p:3128", "http://[::1]:3128", "[::1]:3128"]
)
def test_a_proxy_is_a_url_or_nothing(proxy):
    assert ClientOpts(write_key="key", proxy=proxy).proxy == proxy


def test_a_file_of_authorities_is_looked_into_at_once(tmp_path):
    """Not days later, when the queue is drained: each way in which it can be wrong is told."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for fine in (None, "", str(tmp_path / "ca.pem")):
        assert ClientOpts(write_key="key", ca_file=fine).ca_file == fine
    with pytest.raises(ConfigError, match=r"^ca_file: /nowhere.pem cannot be read \(ENOENT\)$"):
        ClientOpts(write_key="key", ca_file="/nowhere.pem")
    with pytest.raises(ConfigError, match=r"^ca_file: .* holds no certificates in PEM form$"):
        ClientOpts(write_key="key", ca_file=__file__)
    with pytest.raises(ConfigError, match=r"^ca_file: .* is a folder without certificates by their hashes"):
        ClientOpts(write_key="key", ca_file=str(tmp_path))
    (tmp_path / "0a1b2c3d.0").write_bytes((tmp_path / "ca.pem").read_bytes())
    assert ClientOpts(write_key="key", ca_file=str(tmp_path)).ca_file == str(tmp_path)


@pytest.mark.parametrize("name", ["zzz", 5, None, ("a",)])
def test_an_unknown_option_like_no_other_is_answered_with_all_of_them(name):
    with pytest.raises(ConfigError, match=r"known are backoff_initial, .*visibility_timeout"):
        JobOpts.of({name: 1}, "job_opts")


@pytest.mark.parametrize(
    ("kind", "given", "near"),
    [
        (QueueOpts, "queueName", "queue_name"),
        (JobOpts, "maxAttempts", "max_attempts"),
        (RedisOpts, "hots", "host"),
    ],
)
def test_the_dataclasses_answer_likewise(kind, given, near):
    with pytest.raises(ConfigError, match=f"{given}.*{kind.__name__}: did you mean '{near}'"):
        kind(**{given: 1})


def test_nested_options_say_where_they_are():
    with pytest.raises(ConfigError, match="'maxAttempts' in job_opts: did you mean 'max_attempts'"):
        read_opts({"job_opts": {"maxAttempts": 3}})
    with pytest.raises(ConfigError, match="'hostname' in redis_opts: did you mean 'host'"):
        read_opts({"redis_opts": {"hostname": "x"}})


def test_no_secret_is_in_a_repr():
    redis = RedisOpts(username="admin-secret", password="pass-secret", ssl_keyfile="/secret.pem")
    by_url = RedisOpts(url="redis://user:url-secret@host/0")
    for opts in (
        ClientOpts(write_key="key-secret"),
        redis,
        by_url,
        QueueOpts(redis_opts=redis),
        QueueOpts(redis_opts={"password": "pass-secret"}),
        QueueOpts(url="redis://user:url-secret@host/0"),
        QueueOpts(url="redis://user:url-secret@host/0").target,
        QueueOpts(encryption_key=[KEY]),
    ):
        for secret in ("secret", "c2VjcmV0"):
            assert secret not in repr(opts)
            assert secret not in str(opts)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:6379/0",
        "rediss://user:password@host:6380/1",
        "valkey://host",
        "valkeys://host",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_a_url_may_point_to_redis(url):
    assert parse_queue_url(url) == RedisOpts(url=url)
    assert QueueOpts(url=url).target == RedisOpts(url=url)


@pytest.mark.parametrize(
    ("url", "path", "synchronous"),
    [
        ("sqlite:///queue.db", "queue.db", "full"),
        ("sqlite:////var/lib/queue.db", "/var/lib/queue.db", "full"),
        ("sqlite:///a%20b%23c%3F.db", "a b#c?.db", "full"),
        ("sqlite:///queue.db?synchronous=NORMAL", "queue.db", "normal"),
    ],
)
def test_a_url_may_point_to_sqlite(url, path, synchronous):
    assert parse_queue_url(url) == SQLiteOpts(path=path, synchronous=synchronous)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@host",
        "user:secret@host",
        "redis://user:secret@[::1",
        "redis://user:secret@host:port",
        "redis://user:secret@ho\u2100st",
        "sqlite://queue.db",
        "sqlite:queue.db",
        "sqlite:/queue.db",
        "sqlite:///",
        "sqlite:",
        "sqlite:///queue.db#1",
        "sqlite:///queue.db?synchronous=",
        "sqlite:///queue.db?synchronous=off",
        "sqlite:///queue.db?sync=full",
        "sqlite:///secret%00.db",
        "sqlite:///secret\ud800.db",
        "",
        "://",
    ],
)
def test_no_other_url_is_taken_and_the_message_does_not_repeat_it(url):
    with pytest.raises(ConfigError) as caught:
        parse_queue_url(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    with pytest.raises(ConfigError):
        QueueOpts(url=url)


def test_the_forms_of_the_document_all_mean_the_same():
    wanted = QueueOpts(queue_name="q", redis_opts=RedisOpts(host="h"))
    for queue_opts, redis_opts in (
        ({"queue_name": "q", "redis_opts": {"host": "h"}}, None),
        ({"queue_name": "q"}, {"host": "h"}),
        ({"queue_name": "q"}, RedisOpts(host="h")),
        (QueueOpts(queue_name="q"), {"host": "h"}),
        (QueueOpts(queue_name="q"), RedisOpts(host="h")),
        ({"queue_opts": QueueOpts(queue_name="q"), "redis_opts": {"host": "h"}}, None),
        ({"queue_opts": {"queue_name": "q"}, "redis_opts": {"host": "h"}}, None),
        ({"queue_opts": QueueOpts(queue_name="q", redis_opts={"host": "h"})}, None),
        (wanted, None),
    ):
        assert read_opts(queue_opts, redis_opts) == wanted
    assert read_opts(None, {"host": "h"}) == QueueOpts(redis_opts={"host": "h"})
    assert read_opts("sqlite:///q.db") == QueueOpts(url="sqlite:///q.db")
    assert read_opts({"queue_opts": None}) == QueueOpts()
    assert read_opts(None) is None


@pytest.mark.parametrize(
    ("queue_opts", "redis_opts"),
    [
        ({"redis_opts": {"host": "a"}}, {"host": "b"}),
        (QueueOpts(redis_opts={"host": "a"}), {"host": "b"}),
        (QueueOpts(url="redis://a"), {"host": "b"}),
        ({"url": "redis://a"}, {"host": "b"}),
        ("redis://a", {"host": "b"}),
        (5, None),
        (RedisOpts(), None),
        ([("queue_name", "q")], None),
        (b"redis://a", None),
        (None, 5),
    ],
)
def test_options_that_contradict_each_other_or_are_none_raise(queue_opts, redis_opts):
    with pytest.raises(ConfigError):
        read_opts(queue_opts, redis_opts)


def test_options_cannot_be_changed_afterwards():
    for opts in (ClientOpts(write_key="k"), QueueOpts(), JobOpts(), RedisOpts(), SQLiteOpts(path="p")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(opts, dataclasses.fields(opts)[0].name, 1)


def test_an_event_must_leave_room_for_its_batch():
    ClientOpts(write_key="k", max_batch_bytes=1_024, max_event_bytes=896)
    with pytest.raises(ConfigError, match="max_event_bytes"):
        ClientOpts(write_key="k", max_batch_bytes=1_024, max_event_bytes=897)


@pytest.mark.parametrize(
    ("name", "hint"), [("queueName", "queue_opts"), ("max_attempts", "job_opts"), ("host", "redis_opts")]
)
def test_an_option_in_the_wrong_place_is_told_its_right_one(name, hint):
    with pytest.raises(ConfigError, match=f"is one of {hint}"):
        reject_unknown({name: 1}, ["flush_at", "max_batch_bytes"], "Client")


def test_a_spill_file_is_a_queue_in_order_by_the_same_name():
    """The bounds are its own; everything that tells one queue's jobs from another's, and opens them, is the queue's."""
    queue = QueueOpts(
        redis_opts={"host": "r"}, queue_name="q", prefix="p", is_multi_processor=True, max_jobs=7
    )
    client = ClientOpts(write_key="k", spill={"url": "sqlite:////var/s.db", "max_jobs": 5})
    opts = client.spill_beside(queue)
    assert opts.target == SQLiteOpts(path="/var/s.db")
    assert (opts.queue_name, opts.prefix, opts.is_multi_processor) == ("q", "p", False)
    assert (opts.max_jobs, opts.max_bytes) == (5, 1 << 30)
    assert client.spill_beside(None) is None, "the queue may come later"
    assert ClientOpts(write_key="k").spill_beside(queue) is None


def test_a_spill_file_needs_a_queue_in_redis(tmp_path):
    """At once, and by create_persistence_queue, which then has changed nothing."""
    spill, sqlite = f"sqlite:///{tmp_path}/s.db", f"sqlite:///{tmp_path}/q.db"
    with pytest.raises(ConfigError, match="spill"):
        eventspool.Client("k", persistence=sqlite, spill=spill)
    client = eventspool.Client("k", spill=spill)
    with pytest.raises(ConfigError, match="spill"):
        client.create_persistence_queue(sqlite)
    with pytest.raises(eventspool.QueueError, match="no queue"):
        _ = client.queue
    client.close()


def test_a_path_may_hold_bytes_that_are_no_text():
    """As Python hands them over: Linux takes them in names of files."""
    assert SQLiteOpts(path="\udcff.db").path == "\udcff.db"


@pytest.mark.parametrize(
    ("ordering", "is_multi"),
    [("per_user", False), ("none", False), ("fifo", True)],
)
def test_an_ordering_and_a_number_of_processes_that_contradict_each_other_are_refused(ordering, is_multi):
    given = {"ordering": ordering, "is_multi_processor": is_multi}
    for make in (
        lambda: QueueOpts(**given),
        lambda: QueueOpts.of(given, "queue_opts"),
        lambda: read_queue({"url": "redis://r", **given}, environ={}),
    ):
        with pytest.raises(ConfigError, match=r"ordering='\w+' contradicts is_multi_processor"):
            make()


@pytest.mark.parametrize(("ordering", "is_multi"), [("per_user", True), ("none", True), ("fifo", False)])
def test_an_ordering_says_by_itself_how_many_processes_share_the_work(ordering, is_multi):
    for opts in (QueueOpts(ordering=ordering), QueueOpts(ordering=ordering, is_multi_processor=is_multi)):
        assert (opts.is_multi_processor, opts.resolved_ordering) == (is_multi, ordering)


def test_replacing_an_option_keeps_the_ordering_and_a_new_ordering_counts():
    opts = QueueOpts(ordering="per_user", partitions=4)
    again = dataclasses.replace(opts, queue_name="other")
    assert (again.resolved_ordering, again.partitions, again.queue_name) == (Ordering.PER_USER, 4, "other")
    assert dataclasses.replace(QueueOpts(), ordering="none").is_multi_processor is True
    assert (
        dataclasses.replace(QueueOpts(is_multi_processor=True), ordering="fifo").is_multi_processor is False
    )


def test_several_partitions_need_an_ordering_that_they_can_keep():
    for given in ({}, {"ordering": "fifo"}, {"is_multi_processor": False}):
        with pytest.raises(ConfigError, match="partitions=4"):
            QueueOpts(partitions=4, **given)
    assert QueueOpts(partitions=4, is_multi_processor=True).partitions == 4
