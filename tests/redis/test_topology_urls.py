"""What the URLs of clusters and sentinels, and ready-made clients, say of where the queue is."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio
import redis.sentinel

from eventspool import Client, ConfigError, QueueOpts, RedisOpts, open_queue
from eventspool._backends.redis.client import ClientMaker
from eventspool._backends.redis.clusters import find_slot
from eventspool._config.redis_url import Topology, read_redis_url

SECRET = "secret-1"
TLS = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}


@pytest.mark.parametrize("scheme", TLS)
@pytest.mark.parametrize("topology", [Topology.SENTINEL, Topology.CLUSTER])
def test_each_scheme_names_its_topology_and_whether_it_is_tls(scheme, topology):
    tail = "/main" if topology is Topology.SENTINEL else ""
    maker = ClientMaker(RedisOpts(url=f"{scheme}+{topology}://u:p%2C@a:1,b,[::1]:3{tail}"))
    port = 26_379 if topology is Topology.SENTINEL else 6379
    assert maker.topology is topology
    assert maker.addresses == (("a", 1), ("b", port), ("::1", 3))
    assert maker.service == tail.strip("/")
    pool = maker.make(("elsewhere", 9)).connection_pool
    assert issubclass(pool.connection_class, redis.SSLConnection) is TLS[scheme]
    settings = pool.connection_kwargs
    assert (settings["host"], settings["port"]) == ("elsewhere", 9)
    assert (settings["username"], settings["password"]) == ("u", "p,")


@pytest.mark.parametrize(
    ("tail", "service", "database"),
    [
        ("/main", "main", 0),
        ("/main/", "main", 0),
        ("/main/3", "main", 3),
        ("/my%2Dmain/3?socket_timeout=1", "my-main", 3),
        ("/main?db=3", "main", 3),
        ("/7", "7", 0),
    ],
)
def test_a_sentinels_url_names_the_master_and_then_the_database(tail, service, database):
    maker = ClientMaker(RedisOpts(url=f"redis+sentinel://h{tail}"))
    assert maker.service == service
    assert maker.make().connection_pool.connection_kwargs.get("db", 0) == database


def test_the_password_of_the_servers_is_not_told_to_the_sentinels():
    url = "redis+sentinel://u:of-servers@h/m/2?socket_timeout=0.5"
    for opts in (
        RedisOpts(url=f"{url}&sentinel_username=s&sentinel_password=of-sentinels"),
        RedisOpts(url=url, sentinel_username="s", sentinel_password="of-sentinels"),
    ):
        maker = ClientMaker(opts)
        asked = maker.make_scout(("h", 1), of_sentinel=True).connection_pool.connection_kwargs
        assert (asked["username"], asked["password"], asked["db"]) == ("s", "of-sentinels", 0)
        assert asked["socket_timeout"] == 0.5
        kept = maker.make(("h", 2)).connection_pool.connection_kwargs
        assert (kept["username"], kept["password"], kept["db"]) == ("u", "of-servers", 2)
    alone = ClientMaker(RedisOpts(url=url)).make_scout(("h", 1), of_sentinel=True)
    assert alone.connection_pool.connection_kwargs["password"] is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret-1@a:1,b:2",
        "redis+sentinel://:secret-1@h:1",
        "redis+sentinel://:secret-1@h:1/",
        "redis+sentinel://:secret-1@h:1/main/one",
        "redis+sentinel://:secret-1@h:1/main/1/2",
        "redis+sentinel://:secret-1@h:0/main",
        "redis+sentinel://:secret-1@h:1,/main",
        "redis+sentinel://:secret-1@h:1,b:66000/main",
        "redis+sentinel://:secret-1@h/main?db=1&db=2",
        "redis+sentinel://:secret-1@h/main/1?db=2",
        "redis+cluster://:secret-1@h/1",
        "redis+cluster://:secret-1@h?db=1",
        "redis+cluster://:secret-1@h/main",
        "redis+cluster://:secret-1@",
        "redis+cluster://:secret-1@a,b c",
        "redis+cluster://:secret-1@a#b",
        "redis+ring://:secret-1@a",
        "unix+cluster:///secret-1",
        "redis+cluster://:secret-1@a?sentinel_password=secret-1",
    ],
)
def test_what_has_no_meaning_is_refused_and_not_repeated(url):
    for make in (
        lambda: QueueOpts(url=url) and open_queue(url),
        lambda: Client("k", persistence=url),
        lambda: Client("k", persistence={"redis_opts": {"url": url}}),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None


def test_an_unknown_option_is_named():
    for url in ("redis+sentinel://:secret-1@a,b/m?color=red", "rediss+cluster://:secret-1@a,b?color=red"):
        with pytest.raises(ConfigError, match="'color'") as caught:
            open_queue(url)
        assert SECRET not in str(caught.value)


def test_a_login_for_sentinels_that_nobody_asks_for_is_refused():
    with pytest.raises(ConfigError, match="redis\\+sentinel"):
        RedisOpts(url="redis://h", sentinel_password=SECRET)
    with pytest.raises(ConfigError, match="twice"):
        RedisOpts(url="redis+sentinel://h/m?sentinel_password=a", sentinel_password="b")


def test_only_where_another_server_takes_over_a_reply_is_waited_for_less_long():
    def timeout(**options):
        return ClientMaker(RedisOpts(**options)).make().connection_pool.connection_kwargs["socket_timeout"]

    assert timeout(url="redis://h") == 5.0
    assert timeout(url="redis+cluster://h") == timeout(url="redis+sentinel://h/m") == 2.0
    assert timeout(url="redis+cluster://h", socket_timeout=7.0) == 7.0
    assert timeout(url="redis+cluster://h?socket_timeout=3") == 3.0


def test_a_url_leads_to_other_servers_with_the_same_options():
    url = read_redis_url("redis+sentinel://u:p@a,b/m/3?socket_timeout=2")
    assert url.locate(("::1", 5)) == "redis://[::1]:5/3?socket_timeout=2"
    assert read_redis_url("unix:///run/s?socket_timeout=2").locate(("h", 5)) == "redis://h:5?socket_timeout=2"


def test_a_slot_is_that_of_what_stands_in_braces():
    assert find_slot("test:{queue:0}:d") == find_slot("{queue:0}") != find_slot("{queue:1}")


# Ready-made clients


def test_the_settings_of_a_client_are_taken_and_its_habits_are_not():
    given = redis.Redis(host="h", port=7, db=3, username="u", password="p", decode_responses=True, protocol=3)
    maker = ClientMaker(RedisOpts(client=given))
    client = maker.make()
    settings = client.connection_pool.connection_kwargs
    wanted = {"host": "h", "port": 7, "db": 3, "username": "u", "password": "p", "protocol": 2}
    assert wanted.items() <= settings.items()
    assert not settings.get("decode_responses")
    assert settings["socket_timeout"] == 5.0
    assert client.connection_pool is not given.connection_pool
    assert maker.topology is Topology.SERVER


def test_tls_sockets_and_timeouts_of_a_client_are_taken():
    def pool(given, **more):
        return ClientMaker(RedisOpts(client=given, **more)).make().connection_pool

    secure = pool(
        redis.Redis(host="h", ssl=True, ssl_ca_certs="/ca", ssl_check_hostname=False, socket_timeout=3)
    )
    assert secure.connection_class is redis.SSLConnection
    assert secure.connection_kwargs["ssl_ca_certs"] == "/ca"
    assert secure.connection_kwargs["socket_timeout"] == 3
    assert pool(redis.Redis(socket_timeout=3), socket_timeout=4.0).connection_kwargs["socket_timeout"] == 4.0
    local = pool(redis.Redis(unix_socket_path="/run/s", db=2))
    assert local.connection_class is redis.UnixDomainSocketConnection
    assert (local.connection_kwargs["path"], local.connection_kwargs["db"]) == ("/run/s", 2)


def test_the_master_of_a_sentinel_object_is_that_of_its_url():
    sentinels = redis.sentinel.Sentinel(
        [("a", 1), ("b", 2)], sentinel_kwargs={"password": "of-sentinels"}, password="of-servers", db=4
    )
    maker = ClientMaker(RedisOpts(client=sentinels.master_for("main")))
    assert (maker.topology, maker.addresses, maker.service) == (
        Topology.SENTINEL,
        (("a", 1), ("b", 2)),
        "main",
    )
    kept = maker.make(("c", 3)).connection_pool
    assert (kept.connection_class, kept.connection_kwargs["host"]) == (redis.Connection, "c")
    assert (kept.connection_kwargs["password"], kept.connection_kwargs["db"]) == ("of-servers", 4)
    asked = maker.make_scout(("a", 1), of_sentinel=True).connection_pool.connection_kwargs
    assert (asked["password"], asked["db"], asked["socket_timeout"]) == ("of-sentinels", 0, 1.0)
    with pytest.raises(ConfigError, match="master_for"):
        ClientMaker(RedisOpts(client=sentinels.slave_for("main")))


@pytest.mark.parametrize("given", [redis.asyncio.Redis(), object(), "redis://h"])
def test_what_is_no_client_is_refused(given):
    with pytest.raises(ConfigError, match="client must be"):
        Client("k", persistence={"redis_opts": {"client": given}})


def test_options_beside_a_client_are_named():
    with pytest.raises(ConfigError, match="leave out port, password"):
        RedisOpts(client=redis.Redis(), port=7, password="p")
    assert "secret" not in repr(RedisOpts(client=redis.Redis(password="secret")))
