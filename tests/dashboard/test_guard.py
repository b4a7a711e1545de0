"""Who gets in, over HTTP: the token, the names, the origins, and what every answer carries."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from dashboard.site import TOKEN
from eventspool import ConfigError
from eventspool._dashboard.security import HEADERS
from eventspool.integrations.dashboard import create_app

PATHS = [
    "/api/overview",
    "/api/jobs",
    "/api/jobs/x",
    "/api/export",
    "/api/inbox",
    "/api/nothing",
    "/static/app.js",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer "])
def test_without_the_token_nothing_is_told(site, path, header):
    answer = site.get(path, Authorization=header)

    assert (answer.status, answer.text) == (401, "the token is missing or wrong\n")


def test_the_url_with_the_token_sets_a_cookie_and_takes_it_out_of_the_address(site):
    first = site.get(f"/?token={TOKEN}", Authorization=None)
    assert first.status == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"]
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    pair = cookie.partition(";")[0]

    assert site.get("/", Authorization=None, Cookie=pair).status == 200
    assert site.get("/api/overview", Authorization=None, Cookie=pair).status == 200
    assert site.get("/api/overview", Authorization=None, Cookie=pair[:-1]).status == 401


def test_a_cookie_that_came_by_https_goes_by_nothing_else(site, serve, queue):
    """A proxy on this machine is believed when it says so; the application's own server knows."""

    def cookie(site, **headers):
        return site.get(f"/?token={TOKEN}", Authorization=None, **headers).headers["set-cookie"].split("; ")

    app = create_app(queue, token=TOKEN)

    async def encrypted(scope, receive, send):
        await app({**scope, "scheme": "https"}, receive, send)

    assert "Secure" not in cookie(site)
    assert "Secure" in cookie(site, X_Forwarded_Proto="https")
    assert "Secure" in cookie(serve(encrypted))


def test_the_token_in_the_url_opens_only_the_page(site):
    """So no link with the token in it can lead to data."""
    assert site.get(f"/api/overview?token={TOKEN}", Authorization=None).status == 401


def test_who_has_no_token_is_asked_for_it_without_a_word_about_the_queue(site):
    for path in ("/", "/?token=wrong"):
        answer = site.get(path, Authorization=None)
        assert answer.status == 401
        assert "needs its token" in answer.text
        assert "set-cookie" not in answer.headers
        assert "orders" not in answer.text


@pytest.mark.parametrize("path", ["/", "/api/overview", "/static/app.css"])
def test_a_rebound_name_is_refused_even_with_the_token(site, path):
    assert site.get(path, Host="evil.example").status == 403
    assert site.get(path, Host=f"localhost:{site.port}").status == 200


def test_a_foreign_page_is_refused_even_with_the_cookie(site, queue):
    pair = site.get(f"/?token={TOKEN}", Authorization=None).headers["set-cookie"].partition(";")[0]
    sent = {"Authorization": None, "Cookie": pair}
    own = f"http://127.0.0.1:{site.port}"

    assert site.post("/api/pause", **sent, Origin="http://evil.example").status == 403
    assert site.post("/api/pause", **sent, Origin=own, Sec_Fetch_Site="cross-site").status == 403
    assert site.post("/api/pause", **sent, Origin=own, Content_Type="text/plain").status == 403
    assert site.post("/api/pause", **sent).status == 403
    assert (
        site.get("/api/overview", **sent, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    )
    assert not queue.stats().paused
    assert site.post("/api/pause", **sent, Origin=own, Sec_Fetch_Site="same-origin").status == 200


def test_nothing_is_changed_by_get(site, queue):
    for path in ("/api/pause", "/api/retry", "/api/purge", "/api/resume", "/api/faults"):
        assert site.get(path).status == 405
    assert not queue.stats().paused


def test_every_answer_binds_the_browser(site):
    for path in ("/", "/api/overview", "/api/nothing", "/static/app.js", "/static/../api.py", "/nothing"):
        answer = site.get(path)
        assert {name: answer.headers.get(name.lower()) for name in HEADERS} == HEADERS, path
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
    refused = site.get("/", Host="evil.example")
    assert refused.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/"],
)
def test_only_the_page_s_files_are_served(site, path):
    assert site.get(path).status == 404


def test_data_is_never_taken_for_a_page(site, failed):
    answer = site.get(f"/api/jobs/{failed[0]}")

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text.isascii()


def test_the_page_names_no_other_host_and_holds_no_inline_code(site):
    for path in (
        "/",
        "/static/app.css",
        *[f"/static/{name}.js" for name in ("app", "dom", "chart", "json", "api")],
    ):
        text = (
            site.get(path).text.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1:8123", "")
        )
        assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"^\s*//.*", "", text, flags=re.MULTILINE)), path
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
        ), path
    page = site.get("/").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", page)


def test_it_can_be_mounted_below_a_path(serve, queue):
    app = Starlette(routes=[Mount("/ops/events", create_app(queue, token=TOKEN))])
    site = serve(app)
    first = site.get(f"/ops/events/?token={TOKEN}", Authorization=None)

    assert (first.status, first.headers["location"]) == (303, "/ops/events/")
    assert "Path=/ops/events/" in first.headers["set-cookie"]
    assert site.get("/ops/events/").status == 200
    assert site.get("/ops/events/static/app.js").status == 200
    assert site.get("/ops/events/api/overview").json["stats"]["waiting"]["jobs"] == 0
    assert site.get("/ops/events/api/overview", Authorization=None).status == 401


def test_an_application_that_has_checked_who_asks_needs_no_token_but_the_rest_holds(serve, queue):
    site = serve(create_app(queue, token=None, allowed_hosts=["ops.example.com"]))

    assert site.get("/api/overview", Authorization=None).status == 200
    assert site.get("/api/overview", Authorization=None, Host="ops.example.com").status == 200
    assert site.get("/api/overview", Authorization=None, Host="evil.example").status == 403
    assert site.post("/api/pause", Authorization=None).status == 403


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.7:8123",
        "https://127.0.0.1:8123",
        "127.0.0.1:8123",
        "file:///etc/passwd",
        "http://x:99999",
        "",
    ],
)
def test_a_data_plane_elsewhere_is_refused(queue, url):
    with pytest.raises(ConfigError, match="dataplane must be"):
        create_app(queue, token=TOKEN, dataplane=url)


def test_a_token_that_can_be_guessed_is_refused(queue):
    with pytest.raises(ConfigError, match="token must be"):
        create_app(queue, token="1234")
