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
    UnclearAnswerError,
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
        *[(s, Verdict.RETRY) for s in (407, 408, 421, 425, 429, 500, 501, 502, 503, 504, 507, 529, 599)],
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


@pytest.mark.parametrize("status", [200, 204, 401, 413, 404])
def test_an_answer_with_something_wrong_is_tried_again_whatever_its_status(status):
    """Nobody knows what was taken."""
    result = DeliveryResult(status, "https://x.example answered 200 and broke the answer off")
    assert (judge(result), result.ending) == (Verdict.RETRY, "error")
    assert result.describe() == result.error


def test_a_result_says_who_answered():
    assert (
        DeliveryResult(503, who="https://x.example:8443").describe() == "https://x.example:8443 answered 503"
    )


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
        (DeliveryResult(200, "late", timed_out=True), "timeout"),
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
        ({"errors": {"0": None, "1": "bad"}}, {1: "bad"}),
        ({"results": [{"ok": True}, {"ok": False, "error": "bad"}, {"ok": True}]}, {1: "bad"}),
        ({"results": [{"ok": False}]}, None),  # one is wrong, and there are three
        ({"results": [{"ok": False, "index": 2, "error": "bad"}]}, {2: "bad"}),
        ({"results": [None, "x", {"ok": False}]}, {2: ""}),
        ({"results": {"ok": False}}, {}),
        ({"errors": [None, 2]}, {2: ""}),
        ({"ok": True, "errors": [{"index": 0, "message": "bad"}]}, {0: "bad"}),
        ({"errors": [1, True, False, None, 1.0, -1, 3, [1], {"index": True}, {"index": "-1"}]}, {1: ""}),
        ({"errors": [True, False, None, 1.0, -1, 3, [1], {"index": True}, {"index": "-1"}]}, None),
        ({"errors": [{"index": 1, "message": "x" * 1000}]}, {1: "x" * 200}),
        ({"errors": [{"index": 1, "message": {"a": 1}}]}, {1: '{"a": 1}'}),
        ({"errors": ["bad", "worse", "worst"]}, {0: "bad", 1: "worse", 2: "worst"}),
        ({"errors": [{"message": "bad"}, {}, {"code": 7}]}, {0: "bad", 2: ""}),
        ({"errors": [{"index": 2}, None, None]}, {2: ""}),
        ({"errors": {"index": 1, "message": "bad"}}, {1: "bad"}),
        ({"errors": "all of them"}, None),
        ({"errors": 2}, None),
        ({"errors": {"userId": "is missing"}}, None),
        ({"errors": [{"message": "one of them has no userId"}]}, None),
        ({"errors": [{"index": 3}]}, None),
        ({"errors": None}, {}),
        ({"errors": 0}, {}),
        ({"errors": False}, {}),
        ({"errors": ""}, {}),
        ({"errors": []}, {}),
        ({"errors": {}}, {}),
        (["errors", "ok"], {}),
        ("errors ok", {}),
        ({"ok": 0}, {}),
    ],
)
def test_rejections_are_read_in_every_known_form(answer, found):
    assert parse_rejections(json.dumps(answer).encode(), 3) == found


POSITIONS = st.sets(st.integers(0, 9))
FORMS = {
    "objects": lambda at: {"errors": [{"index": i, "message": f"m{i}"} for i in at]},
    "digits in objects": lambda at: {"errors": [{"index": str(i)} for i in at]},
    "positions": lambda at: {"errors": list(at)},
    "digits": lambda at: {"errors": [str(i) for i in at]},
    "one for each": lambda at: {"errors": [f"m{i}" if i in at else None for i in range(10)]},
    "mapping": lambda at: {"errors": {str(i): f"m{i}" for i in at}},
    "one result for each": lambda at: {"results": [{"ok": i not in at} for i in range(10)]},
    "results that name": lambda at: {"results": [{"ok": False, "index": i} for i in at]},
}


@given(st.sampled_from(sorted(FORMS)), POSITIONS, st.sampled_from([True, None]))
def test_every_form_is_understood_alone(form, at, ok):
    answer = FORMS[form](at) | ({} if ok is None else {"ok": ok})
    assert set(parse_rejections(json.dumps(answer).encode(), 10)) == at


@given(
    st.sampled_from([f for f in sorted(FORMS) if "result" not in f]),
    st.sampled_from([f for f in sorted(FORMS) if "result" in f]),
    POSITIONS,
    POSITIONS,
    st.booleans(),
)
def test_every_form_is_understood_beside_another(errors, results, of_errors, of_results, ok):
    """What two parts of one answer name is rejected, whichever names it."""
    answer = {"ok": ok} | FORMS[results](of_results) | FORMS[errors](of_errors)
    named = of_errors | of_results
    found = parse_rejections(json.dumps(answer).encode(), 10)
    assert found is None if not (named or ok) else set(found) == named


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["object", "digits", "number"])), max_size=9))
def test_every_entry_of_a_mixed_list_names_its_event(entries):
    made = {"object": lambda i: {"index": i}, "digits": str, "number": int}
    answer = {"errors": [made[form](i) for i, form in entries]}
    assert set(parse_rejections(json.dumps(answer).encode(), 100)) == {i for i, _ in entries}


@given(
    st.lists(st.one_of(st.none(), st.text(min_size=1), st.integers(), st.just({"message": "m"})), min_size=2)
)
def test_of_one_error_or_null_for_each_event_every_error_counts(errors):
    errors = [*errors, None]
    found = parse_rejections(json.dumps({"errors": errors}).encode(), len(errors))
    assert set(found) == {place for place, error in enumerate(errors) if error is not None}


@given(
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    st.booleans(),
    st.sampled_from(["", " \r\n\t"]),
)
def test_the_encodings_of_json_are_all_read(encoding, escape, space):
    text = space + json.dumps({"errors": [{"index": 1, "message": "süß"}]}, ensure_ascii=escape)
    assert parse_rejections(text.encode(encoding), 3) == {1: "süß"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"errors": [{"index": 1, "message": "caf\xe9"}]}', {1: "caf\N{REPLACEMENT CHARACTER}"}),
        (b'{"errors": [{"index": 1, "message": "two\nlines"}]}', {1: "two lines"}),
        (b'{"\\u0065rrors": [1]}', {1: ""}),
        (b'{"errors": [1, ' + b"9" * 9_000 + b"]}", {1: ""}),
        (b'{"errors": [{"index": 1, "code": -' + b"9" * 9_000 + b"}]}", {1: ""}),
        (b'{"errors": [' + b"9" * 9_000 + b"]}", None),
        (b'{"errors": [' + b"9" * 30 + b"]}", None),
        (b'{"errors": [1e400, NaN]}', None),
        (b'{"errors": {"' + b"9" * 9_000 + b'": "bad"}}', None),
    ],
)
def test_an_answer_in_odd_writing_rejects_what_it_names(body, found):
    assert parse_rejections(body, 3) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"true",
        b"[1, 2",
        b'<html>"ok"</html>',
        b"{status: ok}",
        b"{'ok': True}",
        b"{}",
        b"\xff\xfe",
        b"\0\0\0",
    ],
)
def test_a_2xx_answer_that_speaks_of_no_errors_rejects_nothing(body):
    assert parse_rejections(body, 3) == {}


@pytest.mark.parametrize(
    "body",
    [
        b'{"ok": false',
        b'{"ok": true, "rec',
        b'{"receiv',
        b"{",
        b'{"errors": [1, 2], }',
        b'{"errors": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"ok": true, "a": ' + b'{"a":' * 30_000 + b"1" + b"}" * 30_001,
        b'{"errors": [{"index": 1}]} trailing',
        '{"errors": [{"index": 1}'.encode("utf-16"),
        b'{"results": [{"ok": false}, {"ok',
    ],
)
def test_of_a_2xx_answer_that_speaks_of_errors_and_cannot_be_read_nobody_knows_what_it_took(body):
    with pytest.raises(UnclearAnswerError):
        parse_rejections(body, 3)


@given(st.sampled_from(sorted(FORMS)), POSITIONS.filter(bool), st.data())
def test_an_answer_that_ends_too_early_is_never_a_delivery(form, at, data):
    body = json.dumps({"ok": False} | FORMS[form](at)).encode()
    end = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(UnclearAnswerError):
        parse_rejections(body[:end], 10)


@given(st.binary(max_size=60), st.binary(max_size=9), st.integers(0, 5))
def test_no_answer_makes_reading_rejections_raise_anything_else(junk, before, events):
    for body in (before + junk, b'{"errors":' + junk + b', "ok": false}'):
        try:
            found = parse_rejections(body, events)
        except UnclearAnswerError:
            continue
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
