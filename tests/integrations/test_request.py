"""What events are told of a request, switch by switch, and that no request can break out of it."""

from __future__ import annotations

import ipaddress
import json
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool import ConfigError
from eventspool.integrations._request import Request, Switches, describe, request_of_environ

NOTHING = {"ip": False, "user_agent": False, "page": False, "request_id": False, "trace": False}


def request(peer="203.0.113.9", scheme="https", path="/orders/17", **headers):
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(lambda name: found.get(name.lower(), ""), peer, scheme, path)


def told(switch, *args, value=True, **more):
    """Return the context with one switch on."""
    return describe(args[0] if args else request(), Switches(**{**NOTHING, switch: value, **more}))


# -- the client's address -------------------------------------------------------------------------------------------------


def address(peer="203.0.113.9", forwarded="", **switches):
    return told("ip", request(peer, x_forwarded_for=forwarded), **switches).get("ip")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        (' "203.0.113.9" ', "203.0.113.9"),
    ],
)
def test_an_address_has_one_form(peer, expected):
    assert address(peer) == expected
    assert address("10.0.0.1", peer, trusted_proxies=1) == expected


@pytest.mark.parametrize(
    "peer",
    [
        "",
        "testclient",
        "unix:",
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.4:port",
        "[::1",
        "::1]",
        "01.2.3.4",
        "1.2.3.4 5",
        "\0",
        "9" * 5_000,
        "[" * 60,
        "\uff11.2.3.4",
    ],
)
def test_what_is_no_address_is_left_out(peer):
    assert address(peer) is None
    assert address("10.0.0.1", peer + ",x", trusted_proxies=2) is None


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("203.0.113.9", "203.0.113.0"),
        ("::ffff:203.0.113.9", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2002:cb00:7109::1", "2002:cb00:7100::"),  # 6to4 of 203.0.113.9
        ("64:ff9b::203.0.113.9", "64:ff9b::"),
    ],
)
def test_an_anonymized_address_lacks_its_last_part(peer, expected):
    assert address(peer, value="anonymize") == expected


@given(st.ip_addresses(), st.ip_addresses())
def test_nobody_can_be_told_from_their_neighbours_by_an_anonymized_address(one, other):
    blurred = ipaddress.ip_address(address(str(one), value="anonymize"))

    assert blurred.packed[-1:] == b"\0"
    assert blurred.version == (4 if getattr(one, "ipv4_mapped", None) else one.version)
    assert address(str(other), value="anonymize") is not None


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        ("", 0, "10.0.0.1"),
        ("1.1.1.1", 0, "10.0.0.1"),  # nobody is trusted: anyone can write this
        ("", 1, "10.0.0.1"),
        ("2.2.2.2", 1, "2.2.2.2"),
        ("1.1.1.1, 2.2.2.2", 1, "2.2.2.2"),  # the client has written 1.1.1.1
        ("1.1.1.1, 2.2.2.2, 3.3.3.3", 2, "2.2.2.2"),
        ("2.2.2.2", 2, "10.0.0.1"),  # it came past one proxy, and only the client can have written this
        ("1.1.1.1,", 1, None),  # the trusted proxy has said nothing
        ("1.1.1.1, unknown", 1, None),
        ("1.1.1.1,2.2.2.2", 1, "2.2.2.2"),
    ],
)
def test_only_what_trusted_proxies_add_is_believed(forwarded, proxies, expected):
    assert address("10.0.0.1", forwarded, trusted_proxies=proxies) == expected


def test_a_proxy_on_a_unix_socket_counts_as_one():
    assert address("", "1.1.1.1, 2.2.2.2", trusted_proxies=1) == "2.2.2.2"


@given(st.text(max_size=300), st.integers(0, 4))
def test_a_forged_header_never_wins(forged, proxies):
    """Each of the proxies adds what it sees. Whatever the client has sent before, the first one has seen its address."""
    added = ["198.51.100.7", "10.0.0.3", "10.0.0.4", "10.0.0.5"][:proxies]
    peer = "10.0.0.6" if proxies else "198.51.100.7"
    header = ", ".join([forged, *added] if forged else added)

    assert address(peer, header, trusted_proxies=proxies) == "198.51.100.7"


# -- the other switches ---------------------------------------------------------------------------------------------------


def test_a_user_agent_is_one_line_of_bounded_length():
    agent = told("user_agent", request(user_agent="Moz\r\nilla\x1b[31m/5.0 " + "x" * 9_999))["userAgent"]

    assert agent.startswith("Mozilla[31m/5.0 xxx")
    assert len(agent) <= 512
    assert told("user_agent") == {}


def test_a_page_has_no_query_fragment_or_password():
    asked = request(
        path="/orders/ü 17", host="shop.example:8443", referer="https://me:secret@x@a.example/b?q=1#c"
    )

    assert told("page", asked)["page"] == {
        "path": "/orders/ü 17",
        "url": "https://shop.example:8443/orders/%C3%BC%2017",
        "referrer": "https://a.example/b",
    }


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "evil.example/?x=", "me@x", "a,b", "a" * 300, "x:99999999", "\u2603"]
)
def test_a_host_that_is_none_makes_no_url(host):
    assert told("page", request(host=host))["page"] == {"path": "/orders/17"}


@pytest.mark.parametrize(
    "referrer", ["", "about:blank", "javascript:alert(1)", "//a", "https://", "https:///x", "data:,x"]
)
def test_a_referrer_that_is_no_url_of_a_page_is_left_out(referrer):
    assert told("page", request(referer=referrer))["page"] == {"path": "/orders/17"}


@pytest.mark.parametrize(
    "given_id", ["a", "0f-9", "Root=1-67891233-abcdef012345678912345678", "x" * 128, "a/b+c=="]
)
def test_a_request_id_that_is_one_is_kept(given_id):
    assert told("request_id", request(x_request_id=given_id), value="X-Request-ID") == {"requestId": given_id}
    assert told("request_id", request(x_trace=given_id), value="X-Trace") == {"requestId": given_id}


@pytest.mark.parametrize(
    "given_id", ["", " ", "a b", "a,b", "x" * 129, "a\n", "<script>", "\u0661", "'; drop"]
)
def test_another_request_id_is_made_for_what_is_none(given_id):
    ids = {
        told("request_id", request(x_request_id=given_id), value="X-Request-ID")["requestId"]
        for _ in range(2)
    }

    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f-]{36}", each) for each in ids)


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-more"]
)
def test_a_traceparent_is_read(header):
    assert told("trace", request(traceparent=header)) == {"traceId": TRACE, "spanId": SPAN}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 9_999}",
        f" 00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent_is_left_out(header):
    assert told("trace", request(traceparent=header)) == {}


def test_the_active_span_goes_before_the_header():
    from opentelemetry.sdk.trace import TracerProvider

    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        context = span.get_span_context()
        found = told("trace", request(traceparent=f"00-{TRACE}-{SPAN}-01"))

    assert found == {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    assert told("trace", request(traceparent=f"00-{TRACE}-{SPAN}-01"))["traceId"] == TRACE


def test_a_switch_that_is_off_tells_nothing():
    headers = {"user_agent": "x", "x_request_id": "x", "host": "x", "traceparent": f"00-{TRACE}-{SPAN}-01"}

    assert describe(request(**headers), Switches(**NOTHING)) == {}
    assert set(describe(request(**headers), Switches())) == {
        "ip",
        "userAgent",
        "page",
        "requestId",
        "traceId",
        "spanId",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"ip": "anonymise"},
        {"ip": 1},
        {"ip": None},
        {"trusted_proxies": -1},
        {"trusted_proxies": True},
        {"trusted_proxies": "1"},
        {"user_agent": "yes"},
        {"page": 1},
        {"trace": None},
        {"request_id": True},
        {"request_id": ""},
        {"request_id": "X Request"},
        {"request_id": None},
    ],
)
def test_a_wrong_switch_is_named(wrong):
    [name] = wrong
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        Switches(**wrong)


# -- whatever arrives -----------------------------------------------------------------------------------------------------

anything = st.text(max_size=2_000) | st.binary(max_size=2_000).map(lambda raw: raw.decode("latin-1"))
HEADERS = [
    "HTTP_HOST",
    "HTTP_REFERER",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_REQUEST_ID",
    "HTTP_TRACEPARENT",
]


@given(
    st.dictionaries(st.sampled_from([*HEADERS, "REMOTE_ADDR", "PATH_INFO", "SCRIPT_NAME"]), anything),
    st.integers(0, 3),
)
def test_no_request_breaks_out(environ, proxies):
    """Whatever a client sends, the context can be encoded, is short, and holds no line break."""
    switches = Switches(trusted_proxies=proxies)
    found = describe(request_of_environ(environ), switches)

    text = json.dumps(found, ensure_ascii=False)
    assert len(text.encode()) < 16_384  # half of max_event_bytes
    assert not re.search(r"\\n|\\r|\\u00", text)
    if "ip" in found:
        ipaddress.ip_address(found["ip"])


@given(st.binary(max_size=200))
def test_the_path_of_wsgi_is_read_as_utf_8(raw):
    asked = request_of_environ({"PATH_INFO": raw.decode("latin-1")})

    assert asked.path == raw.decode("utf-8", "replace")


def test_a_broken_opentelemetry_is_no_concern_of_a_request(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.trace", SimpleNamespace())

    assert told("trace", request(traceparent=f"00-{TRACE}-{SPAN}-01"))["traceId"] == TRACE
