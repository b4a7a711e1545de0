"""The contract's table of outcomes, row by row, and what the data plane's words are taken to mean."""

from __future__ import annotations

import email.utils
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._delivery.verdict import (
    MAX_RETRY_AFTER,
    DeliveryResult,
    Verdict,
    judge,
    parse_rejections,
    parse_retry_after,
)

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *[(s, Verdict.DELIVERED) for s in (200, 201, 202, 204, 207, 299)],
        *[(s, Verdict.RETRY) for s in (408, 425, 429, 500, 501, 502, 503, 504, 507, 529, 599)],
        (413, Verdict.SPLIT),
        (400, Verdict.BISECT),
        (422, Verdict.BISECT),
        (401, Verdict.UNAUTHORIZED),
        (403, Verdict.UNAUTHORIZED),
        *[(s, Verdict.RETRY) for s in (300, 301, 302, 303, 304, 307, 308, 399)],
        *[
            (s, Verdict.REJECTED)
            for s in (402, 404, 405, 406, 409, 410, 411, 412, 414, 415, 426, 431, 451, 499)
        ],
        *[(s, Verdict.RETRY) for s in (100, 101, 103, 199, 600, 999)],
        (None, Verdict.RETRY),
    ],
)
def test_every_status_has_the_verdict_of_the_contract(status, verdict):
    assert judge(DeliveryResult(status)) is verdict


def test_a_result_describes_itself_without_the_answers_body():
    assert DeliveryResult(503, body=b"secret").describe() == "the data plane answered 503"
    assert DeliveryResult(error="no route").describe() == "no route"


def test_a_result_of_which_no_more_is_known_says_no_more():
    answer = DeliveryResult(200)
    assert (answer.error, answer.body, answer.retry_after, answer.timed_out) == ("", b"", None, False)


@pytest.mark.parametrize(
    ("result", "ending"),
    [
        (DeliveryResult(503), "503"),
        (DeliveryResult(timed_out=True), "timeout"),
        (DeliveryResult(error="no route"), "error"),
    ],
)
def test_a_result_ends_in_one_word(result, ending):
    assert result.ending == ending


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"ok": True}, {}),
        ({"ok": False}, None),
        ({"ok": False, "errors": []}, None),
        ({"ok": False, "errors": [{"index": 7}]}, None),  # out of range: it names none of ours
        ({"errors": [{"index": 1, "message": "no  \n userId"}]}, {1: "no userId"}),
        ({"errors": [{"index": 1, "error": "bad"}, {"index": 0}]}, {1: "bad", 0: ""}),
        ({"errors": [0, 2]}, {0: "", 2: ""}),
        ({"errors": ["0", "2"]}, {0: "", 2: ""}),
        ({"errors": {"2": "bad", "x": "junk"}}, {2: "bad"}),
        ({"errors": {"000000001": "bad", "0000000002": "too long for a position"}}, {1: "bad"}),
        ({"errors": [None, "bad", {"message": "worse"}]}, {1: "bad", 2: "worse"}),
        ({"ok": False, "errors": [None, None, 0]}, {2: "0"}),
        ({"errors": [None, None, None]}, {}),
        ({"results": [{"ok": True}, {"ok": False, "error": "bad"}, {"ok": True}]}, {1: "bad"}),
        ({"results": [{"ok": False}]}, {}),
        ({"errors": [None, 2]}, {2: ""}),
        ({"ok": True, "errors": [{"index": 0, "message": "bad"}]}, {0: "bad"}),
        ({"errors": [True, False, None, 1.0, -1, 3, [1], {"index": True}, {"index": "-1"}]}, {}),
        ({"errors": [{"index": 1, "message": "x" * 1000}]}, {1: "x" * 200}),
        ({"errors": [{"index": 1, "message": {"a": 1}}]}, {1: "{'a': 1}"}),
        ({"errors": "all of them"}, {}),
        ({"errors": None}, {}),
        (["errors", "ok"], {}),
        ("errors ok", {}),
        ({"ok": 0}, {}),
    ],
)
def test_rejections_are_read_in_every_known_form(answer, found):
    assert parse_rejections(json.dumps(answer).encode(), 3) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b'<html>"ok"</html>',
        b'{"ok": false',
        b'{"errors": \xff\xfe}',
        b'{"errors":' + b"[" * 30_000,
        b'{"errors":[' + b"9" * 5_000 + b"]}",
    ],
)
def test_an_unreadable_2xx_answer_rejects_nothing(body):
    assert parse_rejections(body, 3) == {}


@given(st.binary(max_size=60).map(lambda junk: b'{"errors":' + junk + b', "ok": false}'), st.integers(0, 5))
def test_no_answer_makes_reading_rejections_raise(body, events):
    found = parse_rejections(body, events)
    assert found is None or all(0 <= position < events for position in found)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-7", 0.0),
        ("1e9", 3600.0),
        ("9" * 5_000, MAX_RETRY_AFTER),
        ("inf", MAX_RETRY_AFTER),
        ("-inf", 0.0),
        ("nan", None),
        ("", None),
        (None, None),
        ("soon", None),
        ("Wed, 99 Foo 2026 99:99:99 GMT", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 0001 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
    ],
)
def test_retry_after_is_understood_and_clamped(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize("zone", ["UTC0", "XXX+9", "XXX-9"])
def test_a_date_means_gmt_on_every_machine(monkeypatch, zone):
    """The three forms of RFC 9110 name the same moment, also the one that has no zone in it."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        moment = time.gmtime(NOW + 90)
        forms = [
            email.utils.formatdate(NOW + 90, usegmt=True),
            time.strftime("%A, %d-%b-%y %H:%M:%S GMT", moment),
            time.asctime(moment),
        ]
        assert [parse_retry_after(form, NOW) for form in forms] == [90.0, 90.0, 90.0]
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=40))
def test_no_header_makes_reading_retry_after_raise(value):
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER
