"""Options from the environment: what goes before what, how texts are read, and what is said of a wrong one."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eventspool
from eventspool import ConfigError, JobOpts, QueueOpts, RedisOpts
from eventspool._config.environment import fill_client, find_wrong, read_queue
from eventspool._config.variables import COMMANDS, Form, find_unknown, list_variables, variable_of
from tools.reference import command_variables

ROOT = Path(__file__).parents[2]
TEXTS = {Form.TEXT: "text", Form.WHOLE: "7", Form.NUMBER: "7.5", Form.FLAG: "on"}
SECRET = "canary-secret"


@pytest.fixture
def env(monkeypatch):
    """Set variables, by what comes behind the prefix; there are no others."""

    def env(**texts: str) -> dict[str, str]:
        for name, text in texts.items():
            monkeypatch.setenv(f"EVENTSPOOL_{name}", text)
        return named(**texts)

    return env


def named(**texts: str) -> dict[str, str]:
    return {f"EVENTSPOOL_{name}": text for name, text in texts.items()}


def queue(given=None, redis_opts=None, **texts) -> QueueOpts:
    found = read_queue({} if given is None else given, redis_opts, environ=named(**texts))
    assert found is not None
    return found


# -- the table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "without"),
    [
        (eventspool.Client, {"on_error", "before_send"}),
        (QueueOpts, {"redis_opts", "job_opts", "url"}),
        (JobOpts, set()),
        (RedisOpts, {"url", "client", "credential_provider"}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_each_option_has_a_variable_but_for_what_no_text_can_be(owner, without):
    options = set(inspect.signature(owner).parameters)

    assert {each.option for each in list_variables() if each.owner == owner.__name__} == options - without


def test_no_two_options_share_a_variable():
    names = [each.name for each in list_variables()]

    assert len(names) == len(set(names))
    assert not COMMANDS & set(names)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("write_key", "EVENTSPOOL_WRITE_KEY"),
        ("persistence", "EVENTSPOOL_QUEUE"),
        ("is_multi_processor", "EVENTSPOOL_MULTI"),
        ("spill", "EVENTSPOOL_SPILL"),
        ("encryption_key", "EVENTSPOOL_ENCRYPTION_KEY"),
        ("max_attempts", "EVENTSPOOL_MAX_ATTEMPTS"),
        ("password_file", "EVENTSPOOL_PASSWORD_FILE"),
    ],
)
def test_the_names_are_those_of_the_command_line(option, name):
    assert variable_of(option) == name


def test_the_command_line_reads_no_variable_that_the_table_lacks():
    read = command_variables().keys()

    assert read <= {each.name for each in list_variables()} | COMMANDS
    assert read >= COMMANDS
    assert "EVENTSPOOL_MAX_ATTEMPTS" in read


def test_each_variable_that_the_repository_names_is_known():
    """So that deploy files, pages and the switches of our tests set off no warning."""
    places = ["src", "deploy", "docs", "run", "README.md", "CONTRIBUTING.md", "tests"]
    misspelt = [":!tests/unit/test_environment.py", ":!tests/cli/test_doctor.py", ":!tests/test_docs_code.py"]
    of_django = "EVENTSPOOL_REQUEST"  # a setting
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "grep",
        "-hoE",
        r"\bEVENTSPOOL_[A-Z_]*[A-Z]\b",
        "--",
        *places,
        *misspelt,
    ]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()

    assert len(found) > 100
    assert [each.name for each in find_unknown(dict.fromkeys(found, "1")) if each.name != of_django] == []


# -- a client ------------------------------------------------------------------------------------------------------------


def test_each_option_of_a_client_reaches_it(env):
    env(
        WRITE_KEY="key", DATA_PLANE_URL="https://x.example", PATH="/v2", FLUSH_AT="7", FLUSH_INTERVAL="7",
        MAX_INTERNAL_QUEUE_SIZE="7_000", MAX_BATCH_BYTES="7000", MAX_EVENT_BYTES="700", GZIP="no", TIMEOUT="7.5",
        ENABLE="off", STRICT="1", DURABILITY="persisted", PROCESS="False", HANDLE_SIGTERM="0",
        SPILL="sqlite:///s.db", PROXY="http://p", QUEUE="redis://r:1/2", QUEUE_NAME="orders", MULTI="YES",
    )  # fmt: skip
    with eventspool.Client() as client:
        opts, queue = client._opts, client._beginning.queue_opts

    assert (opts.write_key, opts.data_plane_url, opts.path) == ("key", "https://x.example", "/v2")
    assert (opts.flush_at, opts.flush_interval, opts.max_internal_queue_size) == (7, 7.0, 7000)
    assert (opts.max_batch_bytes, opts.max_event_bytes, opts.timeout) == (7000, 700, 7.5)
    assert (opts.gzip, opts.enable, opts.strict, opts.process, opts.handle_sigterm) == (
        False, False, True, False, False,
    )  # fmt: skip
    assert (opts.durability, opts.proxy) == ("persisted", "http://p")
    assert opts.spill.url == "sqlite:///s.db"
    assert (queue.url, queue.queue_name, queue.is_multi_processor) == ("redis://r:1/2", "orders", True)


@pytest.mark.parametrize("taker", [eventspool.Client, eventspool.AsyncClient, eventspool.init])
def test_whatever_makes_a_client_reads_the_environment_then_and_not_before(env, taker):
    env(WRITE_KEY="key", FLUSH_AT="7")
    client = taker()
    opts = getattr(client, "_client", client)._opts
    env(FLUSH_AT="8")

    assert (opts.write_key, opts.flush_at) == ("key", 7)
    client = taker()
    assert getattr(client, "_client", client)._opts.flush_at == 8


def test_an_argument_goes_before_the_environment_also_none_and_one_equal_to_the_default(env):
    env(WRITE_KEY="wrong", FLUSH_AT="7", QUEUE="redis://r", PROXY="http://p", STRICT="1", TIMEOUT="bad")
    with eventspool.Client(
        "right", flush_at=20, persistence=None, proxy=None, strict=False, timeout=10.0
    ) as client:
        assert (client._opts.write_key, client._opts.flush_at) == ("right", 20)
        assert (client._opts.proxy, client._opts.strict, client._opts.timeout) == (None, False, 10.0)
        assert client._beginning.queue_opts is None


def test_an_argument_by_position_is_given_too(env):
    env(WRITE_KEY=SECRET)
    with eventspool.Client("right") as client:
        assert client._opts.write_key == "right"
    with pytest.raises(ConfigError, match="write_key is missing"):
        eventspool.Client("")


def test_a_variable_that_is_empty_is_not_set(env):
    env(WRITE_KEY="key", FLUSH_AT="", PROXY="", QUEUE="")
    with eventspool.Client() as client:
        assert (client._opts.flush_at, client._opts.proxy) == (20, None)
        assert client._beginning.queue_opts is None


def test_the_signature_still_shows_types_and_defaults():
    shown = inspect.signature(eventspool.Client).parameters

    assert str(shown["write_key"]) == "write_key: 'str' = ''"
    assert str(shown["flush_at"]) == "flush_at: 'int' = 20"


@pytest.mark.parametrize("text", ["1", "true", "YES", "on", " On "])
def test_what_means_yes(text):
    with fill_client(named(STRICT=text), ()) as found:
        assert found == {"strict": True}


@pytest.mark.parametrize("text", ["0", "False", "no", "OFF"])
def test_what_means_no(text):
    with fill_client(named(GZIP=text), ()) as found:
        assert found == {"gzip": False}


# -- what is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        {"GZIP": SECRET},
        {"FLUSH_AT": SECRET},
        {"FLUSH_AT": "1.5"},
        {"TIMEOUT": SECRET},
        {"TIMEOUT": "nan"},
        {"FLUSH_AT": "0"},
        {"MAX_EVENT_BYTES": "400000", "MAX_BATCH_BYTES": "2000"},
        {"WRITE_KEY": f"{SECRET} "},
        {"DATA_PLANE_URL": f"ftp://u:{SECRET}@h"},
        {"PATH": "no-slash"},
        {"PROXY": f"socks5://u:{SECRET}@h"},
        {"CA_FILE": "/nowhere.pem"},
        {"QUEUE": f"http://u:{SECRET}@h"},
        {"QUEUE": f"redis://u:{SECRET}@h/x"},
        {"SPILL": "redis://r"},
        {"MULTI": SECRET, "QUEUE": "redis://r"},
        {"QUEUE_NAME": "a b", "QUEUE": "redis://r"},
        {"ENCRYPTION_KEY": SECRET, "QUEUE": "redis://r"},
        {"MAX_ATTEMPTS": "0", "QUEUE": "redis://r"},
        {"BACKOFF_INITIAL": "60", "QUEUE": "redis://r"},
        {"PORT": SECRET, "QUEUE": "redis://r"},
        {"SSL_CERT_REQS": SECRET, "QUEUE": "redis://r"},
    ],
    ids=str,
)
def test_a_wrong_value_names_its_variable_and_is_not_repeated(env, texts):
    env(**{"WRITE_KEY": "key", **texts})
    with pytest.raises(ConfigError) as caught:
        eventspool.Client()

    assert f"EVENTSPOOL_{next(iter(texts))}" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert find_wrong(named(**texts)) == [str(caught.value)]


def test_a_wrong_argument_is_not_blamed_on_the_environment(env):
    env(WRITE_KEY="key", FLUSH_AT="7", PATH="/v2")
    with pytest.raises(ConfigError) as caught:
        eventspool.Client(flush_interval=0)

    assert "EVENTSPOOL" not in str(caught.value)


def test_nothing_is_wrong_with_good_values():
    assert find_wrong(named(WRITE_KEY="key", QUEUE="redis://r", FLUSH_AT="7", PASSWORD="p")) == []


# -- a queue -------------------------------------------------------------------------------------------------------------


def test_a_queue_by_url_mapping_or_environment_takes_the_rest_from_the_environment():
    texts = {"QUEUE_NAME": "orders", "MAX_ATTEMPTS": "3", "MAX_JOBS": "9"}
    for found in (
        queue("sqlite:///q.db", **texts),
        queue({"url": "sqlite:///q.db"}, **texts),
        queue(QUEUE="sqlite:///q.db", **texts),
    ):
        assert (found.url, found.queue_name, found.jobs.max_attempts, found.max_jobs) == (
            "sqlite:///q.db", "orders", 3, 9,
        )  # fmt: skip


def test_instances_say_all_themselves():
    texts = {"QUEUE": "sqlite:///q.db", "QUEUE_NAME": "orders", "MAX_ATTEMPTS": "3", "PASSWORD": "p"}

    assert queue(QueueOpts(), **texts) == QueueOpts()
    assert queue({"job_opts": JobOpts()}, **texts).jobs.max_attempts == 10
    assert queue({"redis_opts": RedisOpts()}, **texts).redis_opts == RedisOpts()


def test_what_a_mapping_gives_goes_before_the_environment():
    texts = {
        "QUEUE_NAME": "orders",
        "MAX_ATTEMPTS": "3",
        "RETRY_FOR": "60",
        "HOST": "h",
        "PORT": "7",
        "QUEUE": "redis://r",
    }
    found = queue(
        {"queue_name": "mine", "job_opts": {"max_attempts": 10}, "redis_opts": {"host": "localhost"}}, **texts
    )

    assert (found.queue_name, found.jobs.max_attempts, found.jobs.retry_for) == ("mine", 10, 60.0)
    assert (found.target.host, found.target.port, found.target.url) == ("localhost", 7, None)
    assert queue({"job_opts": None}, **texts).jobs == JobOpts()
    assert queue({"url": None}, **texts).target.host == "h"


def test_where_redis_is_may_stand_beside_the_queue_in_the_call():
    found = queue({"queue_name": "mine"}, {"host": "h"}, QUEUE="sqlite:///q.db", PASSWORD="p")

    assert (found.target.host, found.target.password) == ("h", "p")


def test_options_of_redis_stand_beside_the_url_of_a_server():
    found = queue(QUEUE="redis://h:7/3", PASSWORD="p", SOCKET_TIMEOUT="1.5", HOST="elsewhere")

    assert (found.kind.name, found.target.url) == ("redis", "redis://h:7/3")
    assert (found.target.password, found.target.socket_timeout) == ("p", 1.5)
    assert queue(QUEUE="sqlite:///q.db", PASSWORD="p").url == "sqlite:///q.db"


@pytest.mark.parametrize(
    "given",
    [
        {"password": "mine"},
        {"password": None},
        {"credential_provider": lambda: ("mine",)},
        {"url": "redis://:mine@h"},
        {"url": "redis://h?password_file=/run/secret"},
    ],
    ids=["password", "none", "provider", "in the URL", "file in the URL"],
)
def test_a_password_that_is_given_is_the_only_one(given):
    for texts in ({"PASSWORD": "theirs"}, {"PASSWORD_FILE": "/theirs"}):
        target = queue(None, given, **texts).target
        assert (target.password, target.password_file) == (given.get("password"), None)
        if "url" in given:
            target = queue(given["url"], **texts).target
            assert (target.password, target.password_file) == (None, None)


def test_a_queue_that_is_made_later_takes_them_too(env, tmp_path):
    env(WRITE_KEY="key", QUEUE_NAME="orders")
    with eventspool.Client(enable=False) as client:
        client.create_persistence_queue(f"sqlite:///{tmp_path}/q.db")
        assert client._beginning.queue_opts.queue_name == "orders"
    env(QUEUE="redis://r")
    with eventspool.Client(persistence=None, enable=False) as client:
        client.create_persistence_queue()
        assert client._beginning.queue_opts.url == "redis://r"


def test_an_operator_opens_the_queue_that_the_client_has(env, tmp_path):
    env(QUEUE_NAME="orders")
    url = f"sqlite:///{tmp_path}/q.db"
    with eventspool.Client("key", persistence=url, process=False) as client:
        client.track("u1", "E")
        assert client.flush(until="persisted", timeout=60).pending == 0

    with eventspool.open_queue(url) as found, eventspool.open_queue(url, "hightouchEventsQueue") as other:
        assert found.stats().waiting.jobs == 1
        assert other.stats().waiting.jobs == 0


# -- what is misspelt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("WRITEKEY", "WRITE_KEY"),
        ("DATAPLANE_URL", "DATA_PLANE_URL"),
        ("PERSISTENCE", "QUEUE"),
        ("IS_MULTI_PROCESSOR", "MULTI"),
        ("HEALT_PORT", "HEALTH_PORT"),
        ("Write_Key", "WRITE_KEY"),
        ("XYZZY", ""),
    ],
)
def test_a_misspelt_variable_comes_with_the_nearest_name(name, near):
    [found] = find_unknown(named(**{name: SECRET}))

    assert (found.name, found.near) == (f"EVENTSPOOL_{name}", near and f"EVENTSPOOL_{near}")
    assert SECRET not in found.sentence


def test_what_kubernetes_sets_for_a_service_by_our_name_is_neither_read_nor_named():
    links = named(
        SERVICE_HOST="10.0.0.1", SERVICE_PORT="8124", SERVICE_PORT_HTTP="8124", PORT="tcp://10.0.0.1:8124",
        PORT_8124_TCP="tcp://10.0.0.1:8124", PORT_8124_TCP_ADDR="10.0.0.1", WEB_PORT="tcp://10.0.0.1:80",
        WEB_SERVICE_HOST="10.0.0.1",
    )  # fmt: skip

    assert find_unknown(links) == []
    assert find_wrong(links) == []
    assert read_queue({}, environ=links).redis_opts is None


def test_a_misspelt_variable_is_named_in_the_log_once_in_a_process(tmp_path):
    code = """
import eventspool
for _ in range(2):
    try:
        eventspool.Client()
    except eventspool.ConfigError as error:
        assert "write_key is missing" in str(error)
"""
    env = {**named(WRITEKEY=SECRET, TEST_SHARE="all"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)

    assert re.findall(r"EVENTSPOOL_\w+", done.stderr) == ["EVENTSPOOL_WRITEKEY", "EVENTSPOOL_WRITE_KEY"]
    assert SECRET not in done.stderr


def test_what_is_given_of_the_order_goes_before_what_the_environment_says_of_it():
    environ = {"EVENTSPOOL_MULTI": "0", "EVENTSPOOL_QUEUE": "redis://r:1/2"}
    assert read_queue({"ordering": "per_user"}, environ=environ).resolved_ordering == "per_user"
    environ = {"EVENTSPOOL_ORDERING": "fifo", "EVENTSPOOL_QUEUE": "redis://r:1/2"}
    assert read_queue({"is_multi_processor": True}, environ=environ).resolved_ordering == "none"


def test_variables_that_contradict_each_other_are_named():
    environ = {"EVENTSPOOL_MULTI": "0", "EVENTSPOOL_ORDERING": "none"}
    with pytest.raises(ConfigError, match=r"EVENTSPOOL_(MULTI|ORDERING)"):
        read_queue("redis://r:1/2", environ=environ)
    with pytest.raises(ConfigError, match="EVENTSPOOL_PARTITIONS"):
        read_queue("redis://r:1/2", environ={"EVENTSPOOL_PARTITIONS": "4"})
    found = read_queue("redis://r:1/2", environ={"EVENTSPOOL_PARTITIONS": "4", "EVENTSPOOL_ORDERING": "none"})
    assert (found.partitions, found.resolved_ordering) == (4, "none")
