"""How faults are written: as JSON, as text, in Python, and what a wrong one is answered with."""

from __future__ import annotations

import pytest

from eventspool import ConfigError
from eventspool._dataplane import DataPlane, Rule, parse_rule

FORMS = [
    ("status=503,p=0.2", {"status": 503, "p": 0.2}),
    ("status=429,retry_after=1,next=5", {"status": 429, "retry_after": 1, "next": 5}),
    ("status=429,retry_after_date=2.5", {"status": 429, "retry_after_date": 2.5}),
    ("status=500,record", {"status": 500, "record": True}),
    ("outage,from=2,to=4", {"outage": True, "from": 2, "to": 4}),
    ("latency=0.25", {"latency": 0.25}),
    ("latency=0.1..0.5", {"latency": [0.1, 0.5]}),
    ("drip=0.05,every=3", {"drip": 0.05, "every": 3}),
    ("drop=before", {"drop": "before"}),
    ("drop=after,record=true", {"drop": "after", "record": True}),
    ("hang=30", {"hang": 30}),
    ("redirect=http://127.0.0.1:1/x", {"redirect": "http://127.0.0.1:1/x"}),
    ("reject,event=Poison", {"reject": "batch", "event": "Poison"}),
    ("reject=events,event=Poison", {"reject": "events", "event": "Poison"}),
    ("max_events=50", {"max_events": 50}),
    ("max_bytes=10000", {"max_bytes": 10000}),
]


@pytest.mark.parametrize(("text", "given"), FORMS)
def test_text_and_json_say_the_same(text, given):
    assert parse_rule(text) == parse_rule(given)


@pytest.mark.parametrize(("text", "given"), FORMS)
def test_a_rule_can_be_read_back_from_its_text_and_its_dict(text, given):
    rule = parse_rule(given)

    assert parse_rule(str(rule)) == rule
    assert parse_rule(rule.as_dict()) == rule


def test_the_python_form_is_the_same_rule():
    assert Rule(outage=True, from_=2, to=4) == parse_rule("outage,from=2,to=4")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("status=503,probability=0.2", "unknown option 'probability'"),
        ({"status": 503, "retryAfter": 1}, "did you mean 'retry_after'"),
        ("p=0.5", "exactly one action"),
        ("status=503,latency=1", "found status and latency"),
        ("status=503,status=500", "status came twice"),
        ("status", "status needs a value"),
        ("status=5xx", "status must be an integer"),
        ("status=99", "status must be from 200 to 599"),
        ({"status": True}, "status must be an integer"),
        ({"status": 503, "p": 1.5}, "p must be at most 1"),
        ({"status": 503, "p": -0.1}, "p must be at least 0"),
        ({"status": 503, "p": "0.5"}, "p must be a number"),
        ("status=503,every=0", "every must be at least 1"),
        ("status=503,next=0", "next must be at least 1"),
        ("status=503,retry_after=-1", "retry_after must be at least 0"),
        ({"status": 429, "retry_after": 1, "retry_after_date": 1}, "either retry_after or"),
        ({"status": 429, "retry_after": "1\r\nX: y"}, "retry_after must be printable"),
        ("latency=1,retry_after=1", "retry_after goes with status only"),
        ("drop=after,body=x", "body goes with status only"),
        ("drop=never", "drop must be 'before' or 'after' or 'half'"),
        ("reject=some,event=x", "reject must be 'batch' or 'events'"),
        ("reject", "reject needs event"),
        ("drop=before,record", "drop=before never sees the events"),
        ("drop=before,event=x", "drop=before never sees the events"),
        ("latency=1,record", "record does not go with latency"),
        ("outage,p=0.5", "outage takes only from and to"),
        ("outage,from=4,to=2", "to must be more than from"),
        ("latency=0.5..0.1", "latency must be [lowest, highest]"),
        ("latency=1..2..3", "latency must be a number of seconds or"),
        ("latency=86401", "latency must be at most a day"),
        ("latency=1e300", "latency must be at most"),
        ({"latency": float("nan")}, "latency must be a number"),
        ("outage,from=86401", "from must be at most a day"),
        ("outage,from=1e300", "from must be at most"),
        ("redirect=http://x/\x7f", "redirect must be printable"),
        ({"outage": "yes"}, "outage must be True or False"),
        (["status", 503], "must be an object or text, not list"),
        (503, "must be an object or text, not int"),
    ],
)
def test_a_wrong_rule_is_refused_by_the_name_of_its_key(given, message):
    with pytest.raises(ConfigError) as caught:
        parse_rule(given)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"write_key": ""}, "write_key"),
        ({"path": "v1/batch"}, "path"),
        ({"path": "/__stats"}, "path"),
        ({"port": -1}, "port"),
        ({"keep_events": -1}, "keep_events"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"max_inflated_bytes": 1.5}, "max_inflated_bytes"),
        ({"read_timeout": 0}, "read_timeout"),
        ({"partial_failures": 1}, "partial_failures"),
        ({"faults": ["stauts=503"]}, "did you mean 'status'"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(options, message):
    with pytest.raises(ConfigError, match=message):
        DataPlane(**options)
