"""Several queues in one dashboard: their list, their pages, and one whose server is away."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from starlette.requests import Request

from dashboard.site import TOKEN
from eventspool import ConfigError, open_queue
from eventspool._config import QueueOpts
from eventspool._dashboard import several
from eventspool._dashboard.api import Api
from eventspool._dashboard.several import addresses
from eventspool._operate.awaited import await_queue
from eventspool.integrations.dashboard import create_app


@pytest.fixture
def orders_and_clicks(tmp_path, queue, enqueue):
    enqueue([("A", {}), ("B", {})])
    with open_queue(f"sqlite:///{tmp_path}/clicks.db", "clicks") as clicks:
        yield {"orders": queue, "clicks & more": clicks}


def test_each_queue_has_its_page_and_its_endpoints_below_its_own_path(serve, orders_and_clicks):
    site = serve(create_app(orders_and_clicks, token=TOKEN))

    assert [
        (q["key"], q["name"])
        for q in sorted(site.get("/api/queues").json["queues"], key=lambda q: -q["pending"])
    ] == [
        ("orders", "orders"),
        ("clicks-more", "clicks & more"),
    ]
    for key, waiting in (("orders", 2), ("clicks-more", 0)):
        assert site.get(f"/q/{key}/").status == 200
        assert site.get(f"/q/{key}/static/app.js").status == 200
        seen = site.get(f"/q/{key}/api/overview").json
        assert (seen["stats"]["waiting"]["events"], seen["several"]) == (waiting, True)
    assert site.get("/q/other/").status == 404
    assert site.get("/api/overview").status == 404


def test_what_one_queue_is_told_leaves_the_others_alone(serve, orders_and_clicks):
    site = serve(create_app(orders_and_clicks, token=TOKEN))
    assert site.post("/q/orders/api/pause").status == 200

    paused = {q["name"]: q["paused"] for q in site.get("/api/queues").json["queues"]}
    assert paused == {"orders": True, "clicks & more": False}


def test_the_token_guards_every_page_and_one_cookie_opens_all(serve, orders_and_clicks):
    site = serve(create_app(orders_and_clicks, token=TOKEN))
    for path in ("/api/queues", "/q/orders/api/overview", "/q/orders/", "/q/orders/static/app.js"):
        assert site.get(path, Authorization=None).status == 401
    assert site.get("/q/orders/static/app.css", Authorization=None).status == 200

    first = site.get(f"/q/orders/?token={TOKEN}", Authorization=None)
    assert (first.status, first.headers["location"]) == (303, "/q/orders/")
    assert "Path=/;" in first.headers["set-cookie"]


def test_a_queue_whose_server_is_away_is_named_and_holds_up_no_other(serve, queue):
    away = await_queue(QueueOpts(url="redis://127.0.0.1:1"), lambda absence: None, waits=True)
    with away:
        site = serve(create_app({"here": queue, "away": away}, token=TOKEN))
        here, gone = sorted(site.get("/api/queues").json["queues"], key=lambda q: "error" in q)

    assert (here["name"], here["pending"]) == ("here", 0)
    assert "127.0.0.1:1" in gone["error"] or "reach" in gone["error"]


@pytest.fixture
def list_slowly(queue, monkeypatch):
    """Return what lists a queue whose looks take longer than the list waits, and what lets the one under way end."""
    goes_on = threading.Semaphore(0)
    monkeypatch.setattr(several, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(Api, "summary", lambda api: {"pending": 7} if goes_on.acquire(timeout=60) else {})
    shown = several.Several({"slow": queue}, read_only=True, dataplane=None)

    async def ask():
        [told] = json.loads((await shown.list(Request({"type": "http"}))).body)["queues"]
        return told.get("pending", told.get("error"))

    async def end():
        goes_on.release()
        await asyncio.wait(shown._looks.values())

    yield ask, end
    goes_on.release(100)


def test_a_look_that_outlasts_its_request_is_what_the_next_one_tells(list_slowly):
    ask, end = list_slowly

    async def watch():
        first = await ask()
        await end()
        return [first, await ask(), await ask()]

    not_yet = "its server has not answered yet"
    assert asyncio.run(watch()) == [not_yet, 7, not_yet]


def test_a_look_that_ended_long_ago_is_not_told_as_the_present(list_slowly, monkeypatch):
    ask, end = list_slowly
    monkeypatch.setattr(several, "_STALE_SECONDS", -1.0)

    async def watch():
        await ask()
        await end()
        return await ask()

    assert asyncio.run(watch()) == "its server has not answered yet"


def test_a_queue_that_cannot_be_looked_at_hides_no_other(serve, queue, tmp_path, monkeypatch, caplog):
    look = Api.summary
    monkeypatch.setattr(Api, "summary", lambda api: look(api) if api.name == "well" else {}["absent"])
    with open_queue(f"sqlite:///{tmp_path}/b.db", "b") as other:
        site = serve(create_app({"well": queue, "ill": other}, token=TOKEN))
        told = {each["name"]: each for each in site.get("/api/queues").json["queues"]}

    assert told["well"]["pending"] == 0
    assert told["ill"]["error"] == "it cannot be looked at: KeyError"
    assert "'ill': KeyError" in caplog.text


def test_queues_in_a_list_go_by_their_own_names(serve, tmp_path):
    urls = f"sqlite:///{tmp_path}/a.db"
    with open_queue(urls, "a") as a, open_queue(urls, "b") as b:
        site = serve(create_app([a, b], token=TOKEN))
        assert {q["name"] for q in site.get("/api/queues").json["queues"]} == {"a", "b"}
        with pytest.raises(ConfigError, match="same name"):
            create_app([a, a], token=TOKEN)
    with pytest.raises(ConfigError, match="needs a queue"):
        create_app([], token=TOKEN)


def test_names_that_read_alike_in_an_address_get_addresses_that_differ():
    names = ["a", "a b", "a/b", "ä", "..", "a-b"]
    keys = addresses(names)

    assert len(set(keys.values())) == len(names)
    assert (keys["a"], keys["a-b"]) == ("a", "a-b")
    assert addresses(reversed(names)) == keys


def test_a_wrong_token_is_called_wrong_and_a_missing_one_is_not(site):
    wrong, missing = site.get("/?token=abc", Authorization=None), site.get("/", Authorization=None)

    assert (wrong.status, missing.status) == (401, 401)
    assert "That was not the token" in wrong.text
    assert "That was not the token" not in missing.text


def test_the_command_shows_the_queues_that_are_named_or_all_of_a_server(tmp_path):
    from eventspool import Client
    from eventspool._cli.commands.dashboard import _choose

    url = f"sqlite:///{tmp_path}/q.db"
    for name in ("a", "b"):
        with Client("k", process=False, persistence=QueueOpts(url=url, queue_name=name)) as client:
            client.track("u1", "E")

    def labels(*urls: str, names: tuple[str, ...] = ("a",), everything: bool = False) -> set[str]:
        return set(_choose(urls, names, "hightouch", everything=everything))

    assert labels(url) == {"a"}
    assert labels(url, names=("a", "b")) == {"a", "b"}
    assert labels(f"one={url}#a", f"two={url}#b") == {"one", "two"}
    assert labels(url, everything=True) == {"a", "b"}
    with pytest.raises(ConfigError, match="tell them apart"):
        labels(url, f"sqlite:///{tmp_path}/other.db")
