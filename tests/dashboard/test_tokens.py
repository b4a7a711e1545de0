"""Tokens by name: who gets in, who may change something, and under which name it stands in the trail."""

from __future__ import annotations

import json
import logging
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from dashboard.site import TOKEN
from eventspool import ConfigError
from eventspool._dashboard import tokens
from eventspool._dashboard.security import cookie_name
from eventspool._dashboard.tokens import TokenFile, digest_of
from eventspool.integrations.dashboard import create_app


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def ann(file):
    return file.add("ann", read_only=False, now=1.0)


@pytest.fixture
def bob(file):
    return file.add("bob", read_only=True, now=2.0)


@pytest.fixture
def site(queue, serve, file, ann, bob):
    site = serve(create_app(queue, token=None, tokens=file.path, name="orders"))
    site.headers = {}
    return site


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_the_file_holds_no_token_and_nobody_else_reads_it(file, ann, bob):
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    text = file.path.read_text()
    assert ann not in text
    assert digest_of(ann) in text
    assert [(each.name, each.read_only, each.made_at) for each in file.read()] == [
        ("ann", False, 1.0),
        ("bob", True, 2.0),
    ]
    assert len(ann) >= 43, "32 random bytes"


@pytest.mark.parametrize("name", ["", "a b", "-x", "ä", "x" * 65, "a\n"])
def test_a_name_that_is_none_is_refused(file, name):
    with pytest.raises(ConfigError, match="no name for a token"):
        file.add(name, read_only=False, now=0.0)


def test_one_name_has_one_token_until_it_is_revoked(file, ann):
    with pytest.raises(ConfigError, match="already"):
        file.add("ann", read_only=True, now=0.0)
    file.revoke("ann")
    assert file.read() == ()
    with pytest.raises(ConfigError, match="no token for 'ann'"):
        file.revoke("ann")
    assert file.add("ann", read_only=False, now=0.0) != ann


def test_tokens_that_are_added_at_a_time_are_all_there(file):
    names = [f"person-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: TokenFile(file.path).add(name, read_only=True, now=1.0), names))
    assert sorted(each.name for each in file.read()) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"tokens": [1]}',
        '{"tokens": [{"name": 3, "sha256": ""}]}',
        '{"tokens": [{"name": "ann", "sha256": "ä"}]}',
        json.dumps({"tokens": [{"name": "ann", "sha256": "A" * 64}]}),
    ],
)
def test_a_file_of_something_else_is_refused(file, text):
    file.path.write_text(text)
    with pytest.raises(ConfigError, match="no file of tokens"):
        file.read()


def test_a_file_that_others_may_write_is_refused(file, ann):
    file.path.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod 600"):
        file.read()


def test_a_token_whose_entry_does_not_say_what_it_may_only_looks(file, ann):
    file.path.write_text(file.path.read_text().replace('"read_only": false', '"read_only": "no"'))
    assert file.read()[0].read_only


def test_who_has_a_token_gets_in_and_nobody_else(site, ann):
    assert site.get("/api/overview").status == 401
    assert site.get("/api/overview", **bearer("x" * 43)).status == 401
    assert site.get("/api/overview", **bearer(digest_of(ann))).status == 401
    assert site.get("/api/overview", **bearer(ann)).status == 200
    first = site.get(f"/?token={ann}")
    assert (first.status, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert site.get("/api/overview", Cookie=cookie).status == 200
    assert site.get("/api/overview", Cookie=f"eventspool_000000000000={ann}").status == 401


def test_a_link_counts_more_than_the_cookie_of_who_was_there_before(site, queue, file, ann, monkeypatch):
    """Two persons use one browser: what is done in it is done by the one who came last, whoever stands first in the file."""
    monkeypatch.setattr(tokens, "_EVERY", 0.0)
    secrets = {"ann": ann, "zoe": file.add("zoe", read_only=False, now=3.0)}
    here = f"http://127.0.0.1:{site.port}"
    for first, second in (("ann", "zoe"), ("zoe", "ann")):
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        for name in (first, second):
            browser.open(f"{here}/?token={secrets[name]}").close()
        headers = {"Origin": here, "Content-Type": "application/json"}
        browser.open(Request(f"{here}/api/resume", b"{}", headers)).close()
        assert queue.trail(1)[0].actor == second


def test_who_signs_in_leaves_the_cookie_of_another_dashboard(site, ann):
    foreign = "another-dashboard-on-another-port"
    answer = site.get(f"/?token={ann}", Cookie=f"{cookie_name(foreign)}={foreign}")
    assert cookie_name(foreign) not in str(answer.headers)


def test_what_a_person_does_stands_in_the_trail_under_their_name(site, queue, ann, failed):
    assert site.post("/api/retry", {"all": True}, **bearer(ann)).json == {"retried": 2}
    assert site.post("/api/pause", {"reason": "the warehouse moves"}, **bearer(ann)).json == {"paused": True}
    assert site.get("/api/export?state=waiting", **bearer(ann)).status == 200
    told = [(each.actor, each.action, each.note) for each in queue.trail()]
    assert told == [("ann", "export", ""), ("ann", "pause", "the warehouse moves"), ("ann", "retry", "")]
    overview = site.get("/api/overview", **bearer(ann)).json
    assert (overview["pause"]["actor"], overview["pause"]["reason"]) == ("ann", "the warehouse moves")
    assert overview["pause"]["since"] == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("retry", {"all": True}),
        ("purge", {"ids": ["x"], "confirm": "purge"}),
        ("pause", {}),
        ("resume", {}),
        ("edit", {"job": "x", "index": 0, "event": "{}"}),
        ("faults", {"rules": []}),
    ],
)
def test_a_read_only_token_changes_nothing(site, queue, bob, failed, path, body):
    answer = site.post(f"/api/{path}", body, **bearer(bob))
    assert (answer.status, answer.json["error"]) == (403, "your token is read-only: it changes nothing")
    assert queue.stats().failed.jobs == 2
    assert queue.trail() == []


def test_a_read_only_token_sees_everything(site, ann, bob, failed):
    assert site.get("/api/overview", **bearer(bob)).json["read_only"]
    assert not site.get("/api/overview", **bearer(ann)).json["read_only"]
    assert len(site.get("/api/jobs", **bearer(bob)).json["jobs"]) == 2
    assert site.get("/api/trail", **bearer(bob)).json["actions"] == []


def test_who_only_looks_pushes_nothing_out_of_the_trail_by_repeating_an_export(site, queue, ann, bob, failed):
    for token, what in ((bob, "failed"), (bob, "failed&event=Bad"), (ann, "failed")) * 2:
        assert site.get(f"/api/export?state={what}", **bearer(token)).status == 200
    told = [(each.actor, each.events) for each in reversed(queue.trail())]
    assert told == [("bob", 3), ("bob", 1), ("ann", 3)]


def test_a_token_that_was_revoked_opens_nothing_seconds_later(site, file, ann, bob):
    assert site.get("/api/overview", **bearer(ann)).status == 200
    file.revoke("ann")
    deadline = time.monotonic() + 30
    while site.get("/api/overview", **bearer(ann)).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert site.get("/api/overview", **bearer(bob)).status == 200


@pytest.mark.parametrize("damage", ["missing", "broken", "open"])
def test_a_file_that_cannot_be_trusted_any_more_lets_nobody_in(file, ann, monkeypatch, caplog, damage):
    monkeypatch.setattr(tokens, "_EVERY", 0.0)
    assert [each.name for each in file.tokens()] == ["ann"]
    if damage == "missing":
        file.path.unlink()
    elif damage == "broken":
        file.path.write_text("{")
    else:
        file.path.chmod(0o666)
    with caplog.at_level(logging.ERROR, "eventspool"):
        assert file.tokens() == ()
    assert (damage == "missing") or "lets nobody in" in caplog.text
    assert ann not in caplog.text


def test_the_common_token_goes_on_beside_those_of_persons(serve, queue, file, ann):
    site = serve(create_app(queue, token=TOKEN, tokens=file.path))
    for token in (TOKEN, ann):
        assert site.get("/api/overview", **bearer(token)).status == 200


def test_a_dashboard_does_not_start_with_a_file_that_it_cannot_trust(queue, file, ann):
    file.path.chmod(0o622)
    with pytest.raises(ConfigError, match="chmod 600"):
        create_app(queue, token=None, tokens=file.path)


def test_an_application_says_who_its_user_is(serve, queue, failed):
    app = create_app(queue, token=None, actor=lambda scope: dict(scope["headers"])[b"x-user"].decode())
    site = serve(app)
    site.post("/api/retry", {"ids": failed[:1]}, X_User="carol")
    assert [(each.actor, each.action) for each in queue.trail()] == [("carol", "retry")]
