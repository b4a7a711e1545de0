"""Which proxy an environment means, without any network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._config.proxy import Proxy, find_proxy, is_bypassed, parse_proxy

AT = "http://proxy.example:3128"
OTHER = "http://other.example:3128"


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        (AT, Proxy("proxy.example", 3128)),
        ("proxy.example:3128", Proxy("proxy.example", 3128)),
        ("proxy.example", Proxy("proxy.example", 80)),
        ("  HTTP://Proxy.example:3128/  ", Proxy("proxy.example", 3128)),
        ("http://user:p%40ss@proxy.example", Proxy("proxy.example", 80, "user:p@ss")),
        ("user@proxy.example:1", Proxy("proxy.example", 1, "user:")),
        ("http://[2001:db8::1]:3128", Proxy("2001:db8::1", 3128)),
        ("[::1]", Proxy("::1", 80)),
        ("http://[fe80::1%25eth0]:3128", Proxy("fe80::1%eth0", 3128)),
    ],
)
def test_a_proxy_is_read_from_its_url(url, proxy):
    found = parse_proxy(url)
    assert (found, found.login) == (proxy, proxy.login)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http://:3128",
        "http://[::1",
        "http://p:99999",
        "http://p:0",
        "http://p:x",
        "http://a b",
    ],
)
def test_what_is_no_url_is_no_proxy(url):
    with pytest.raises(ValueError, match=r"^is no URL$"):
        parse_proxy(url)


@pytest.mark.parametrize("kind", ["https", "socks4", "socks5", "socks5h", "ftp"])
def test_a_kind_that_is_not_supported_is_named(kind):
    with pytest.raises(ValueError, match=f"not supported, '{kind}'"):
        parse_proxy(f"{kind}://user:canary@proxy.example")


@given(st.text(max_size=30))
def test_no_text_is_repeated_nor_read_with_another_error(text):
    with pytest.raises(ValueError, match=r"^is (no URL|of a kind)") as caught:
        parse_proxy(f"{text}://canary@[{text}")
    assert "canary" not in str(caught.value)


def test_no_password_shows():
    proxy = parse_proxy("http://user:canary@proxy.example:3128")
    assert (str(proxy), "canary" in repr(proxy)) == (AT, False)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": AT}, AT),
        ({"https_proxy": AT}, AT),
        ({"ALL_PROXY": AT}, AT),
        ({"all_proxy": AT}, AT),
        ({"HTTP_PROXY": AT}, None),
        ({"HTTPS_PROXY": AT, "ALL_PROXY": OTHER}, AT),
        ({"https_proxy": AT, "HTTPS_PROXY": OTHER}, AT),
        ({"https_proxy": "", "HTTPS_PROXY": OTHER}, None),
        ({"https_proxy": "", "ALL_PROXY": AT}, AT),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": AT}, AT),
        ({"HTTPS_PROXY": AT, "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": AT, "no_proxy": "", "NO_PROXY": "*"}, AT),
        ({"ALL_PROXY": AT, "no_proxy": "plane.example"}, None),
    ],
)
def test_the_environment_names_the_proxy_for_https(environ, found):
    proxy = find_proxy("https", "plane.example", 443, environ)
    assert (None if proxy is None else str(proxy)) == found


def test_under_cgi_a_header_of_a_request_names_no_proxy():
    """There HTTP_PROXY is what a stranger sent as the header ``Proxy``."""
    environ = {"HTTP_PROXY": AT, "REQUEST_METHOD": "GET"}
    assert find_proxy("http", "plane.example", 80, environ) is None
    assert find_proxy("http", "plane.example", 80, {**environ, "http_proxy": OTHER}) == parse_proxy(OTHER)
    assert find_proxy("http", "plane.example", 80, {"HTTP_PROXY": AT}) == parse_proxy(AT)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_the_variable_is_named_where_it_holds_no_proxy(variable):
    with pytest.raises(ValueError, match=f"^the proxy that {variable} names is no URL$"):
        find_proxy("http", "plane.example", 80, {variable: "http://user:canary@[::1"})


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        ("*", "plane.example", True),
        ("a.example, *", "10.0.0.1", True),
        ("plane.example", "plane.example", True),
        ("PLANE.example", "Plane.EXAMPLE", True),
        ("plane.example", "plane.example.", True),
        ("plane.example.", "plane.example", True),
        ("plane.example", "eu.plane.example", True),
        (".plane.example", "plane.example", True),
        (".plane.example", "eu.plane.example", True),
        ("*.plane.example", "eu.plane.example", True),
        ("plane.example", "aeroplane.example", False),
        ("plane.example", "plane.example.org", False),
        ("a.example b.example,,plane.example", "plane.example", True),
        ("plane.example:443", "plane.example", True),
        ("plane.example:8443", "plane.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.33", False),
        ("2.3", "10.1.2.3", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3/8", "10.200.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "plane.example", False),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("10.0.0.0/99", "10.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("2001:db8::/32", "2001:db8::7", True),
        ("[2001:db8::]/32", "2001:db8::7", True),
        ("2001:db8::/32", "2001:db9::7", False),
        ("2001:db8::/32", "10.0.0.1", False),
        ("2001:DB8:0::7", "2001:db8::7", True),
        ("[2001:db8::7]", "2001:db8::7", True),
        ("[2001:db8::7]:443", "2001:db8::7", True),
        ("[2001:db8::7]:80", "2001:db8::7", False),
        ("fe80::1", "fe80::1%eth0", True),
        ("", "plane.example", False),
        (".", "plane.example", False),
        ("*.", "plane.example", False),
        (",", "", False),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_no_proxy_names_hosts_and_networks(no_proxy, host, bypassed):
    assert is_bypassed(host, 443, no_proxy) is bypassed


@given(st.text(max_size=30), st.text(max_size=20))
def test_no_list_makes_looking_raise(no_proxy, host):
    assert is_bypassed(host, 443, no_proxy) in (True, False)
