"""Who may ask: the decisions alone."""

from __future__ import annotations

import pytest

from eventspool import ConfigError
from eventspool._dashboard import security, tokens
from eventspool._dashboard.security import Forbidden, candidates, check_host, check_site
from eventspool._dashboard.tokens import Token, digest_of, find_token

TOKEN = "canary-token-0123456789"
HOSTS = (*security.LOOPBACK_HOSTS, "ops.example.com")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8124",
        "LOCALHOST:1",
        "127.0.0.1:8124",
        "[::1]:8124",
        "ops.example.com",
        "localhost.:1",
    ],
)
def test_its_own_names_are_answered(host):
    check_host(host, HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8124",
        "evil@localhost",
        "localhost@evil.example",
        "evil.example#localhost",
        "localhost/evil",
        "[::1",
        "10.0.0.7",
        "127.0.0.1:8124 evil.example",
    ],
)
def test_a_rebound_or_broken_name_is_not(host):
    with pytest.raises(Forbidden):
        check_host(host, HOSTS)


def test_on_all_interfaces_any_address_is_answered_and_no_other_name():
    """A name can be rebound to our address, an address cannot."""
    hosts = (*HOSTS, security.ANY_ADDRESS)
    check_host("10.0.0.7:8124", hosts)
    check_host("[fe80::1]:8124", hosts)

    with pytest.raises(Forbidden):
        check_host("evil.example", hosts)
    with pytest.raises(Forbidden):
        check_host(security.ANY_ADDRESS, HOSTS)


JSON = {"host": "localhost:8124", "content-type": "application/json"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:8124", "sec-fetch-site": "same-origin"},
        {"origin": "https://LOCALHOST:8124"},
        {"sec-fetch-site": "same-origin"},
        {"authorization": "Bearer x"},
    ],
)
def test_the_page_itself_and_programs_may_change_something(headers):
    check_site("POST", {**JSON, **headers}, page=False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:8125"},
        {"origin": "http://localhost:8124.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none", "origin": "http://evil.example"},
        {"origin": "http://localhost:8124", "content-type": "text/plain"},
        {"origin": "http://localhost:8124", "content-type": "application/x-www-form-urlencoded"},
        {"authorization": "Bearer x", "origin": "http://evil.example"},
    ],
)
def test_another_page_may_not(headers):
    with pytest.raises(Forbidden):
        check_site("POST", {**JSON, **headers}, page=False)


def test_a_link_may_lead_to_the_page_but_nothing_else_may_be_loaded_from_elsewhere():
    link = {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    check_site("GET", link, page=True)

    for headers, page in [(link, False), ({**link, "sec-fetch-mode": "no-cors"}, True)]:
        with pytest.raises(Forbidden):
            check_site("GET", headers, page=page)


def test_the_token_is_taken_from_the_url_the_cookie_or_the_header():
    nothing = {"given": None, "authorization": None, "cookies": {}}
    name = security.cookie_name(TOKEN)

    assert candidates(**{**nothing, "given": TOKEN}) == [TOKEN]
    assert candidates(**{**nothing, "cookies": {name: TOKEN, "session": "x"}}) == [TOKEN]
    assert candidates(**{**nothing, "cookies": {name: "another"}}) == []
    assert candidates(**{**nothing, "authorization": f"bearer {TOKEN}"}) == [TOKEN]
    assert candidates(**{**nothing, "authorization": f"Basic {TOKEN}"}) == []
    assert candidates(**nothing) == []


def test_a_token_is_known_by_its_digest():
    known = [Token("", digest_of(TOKEN)), Token("ann", digest_of("another" * 4), read_only=True)]
    assert find_token(["nope", TOKEN], known) == known[0]
    assert find_token(["another" * 4], known) == known[1]
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "ü" * 20, "\udc80", TOKEN.upper(), digest_of(TOKEN)):
        assert find_token([wrong], known) is None
    assert find_token([TOKEN], []) is None


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or True)

    find_token(["one", "two"], [Token("a", "1"), Token("b", "2"), Token("c", "3")])
    assert len(compared) == 2 * 3, "a token that is found does not end the search"


@pytest.mark.parametrize(
    "token", ["", "short", "a" * 15, "with a space in between", "ü" * 20, "line\nbreak-" * 3]
)
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token):
    with pytest.raises(ConfigError, match="token must be at least 16"):
        security.require_token(token)


def test_new_tokens_differ_and_are_long():
    assert len({security.new_token() for _ in range(100)}) == 100
    assert len(security.require_token(security.new_token())) >= 32


def test_two_dashboards_on_one_host_have_two_cookies():
    assert security.cookie_name("a" * 20) != security.cookie_name("b" * 20)
    assert "a" * 20 not in security.cookie_name("a" * 20)


def test_the_policy_allows_no_inline_code_no_other_origin_and_no_html_from_strings():
    policy = dict(part.split(" ", 1) for part in security.HEADERS["Content-Security-Policy"].split("; "))

    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "*", "data:"} & set(
        " ".join(policy.values()).split()
    )
