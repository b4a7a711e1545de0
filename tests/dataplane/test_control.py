"""The control endpoints: useful to this machine, of no use to a web page."""

from __future__ import annotations

import json

import pytest

from eventspool._dataplane.control import check_origin
from eventspool._dataplane.wire import Refused


def command(caller, path, body, **headers):
    """POST *body* as JSON to a control endpoint."""
    return caller.send(json.dumps(body), {"Content-Type": "application/json", **headers}, path)


def test_statistics_are_the_same_as_in_python(plane, call, event):
    call(plane).post(event("a"), event("b"))
    status, body, headers = call(plane).get("/__stats")

    assert status == 200
    assert body | {"uptime": 0} == plane.stats().as_dict() | {"uptime": 0, "connections": 2}
    assert headers["Cache-Control"] == "no-store"


def test_the_last_events_are_listed(plane, call, event):
    caller = call(plane)
    caller.post(*(event(name) for name in "abc"))

    assert [each["messageId"] for each in caller.get("/__events")[1]["events"]] == ["a", "b", "c"]
    assert [each["messageId"] for each in caller.get("/__events?limit=2")[1]["events"]] == ["b", "c"]
    assert caller.get("/__events?limit=0")[1] == {"events": []}
    assert caller.get("/__events?limit=-1")[0] == 400


def test_the_last_requests_are_listed_with_what_was_in_them_also_those_that_failed(plane, call, event):
    caller = call(plane)
    plane.script("status=503,next=1")
    for _ in range(2):
        caller.post(event("a"), event("b"))
    first, second = caller.get("/__requests")[1]["requests"]

    assert (first["status"], first["fault"], first["recorded"]) == (503, "status=503,next=1", 0)
    assert (second["status"], second["fault"], second["recorded"]) == (200, None, 2)
    assert first["message_ids"] == second["message_ids"] == ["a", "b"]
    assert caller.get("/__requests?limit=1")[1]["requests"] == [second]


def test_every_id_is_listed_once_in_order_of_arrival(plane, call, event):
    caller = call(plane)
    names = [f"id-{number}" for number in range(5_001)] + ["é", "two\nlines"]
    for start in range(0, len(names), 1000):
        caller.post(*(event(name) for name in names[start : start + 1000]))
    caller.post(event("id-0"))
    status, body, _ = caller.get("/__ids")

    assert status == 200
    assert body.decode().splitlines() == [*names[:-1], "two\\nlines"]
    assert caller.get("/__stats")[0] == 200


def test_faults_are_replaced_at_run_time(plane, call, event):
    caller, control = call(plane), call(plane)
    assert command(control, "/__faults", [{"status": 503}])[0] == 200
    assert caller.post(event())[0] == 503
    assert command(control, "/__faults", {"rules": ["status=500,p=1"], "seed": 3})[0] == 200
    assert caller.post(event())[0] == 500
    assert command(control, "/__faults", [])[0] == 200
    assert caller.post(event())[0] == 200


def test_who_sets_an_outage_gets_an_answer(plane, call, event):
    control = call(plane)
    assert command(control, "/__faults", ["outage,to=60"])[0] == 200

    for caller in (control, call(plane)):
        with pytest.raises(ConnectionRefusedError):
            caller.post(event())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([{"stauts": 503}], "did you mean 'status'"),
        ([{"status": 503, "p": 2}], "p must be"),
        ([{"status": 503, "predicate": "x"}], "unknown option 'predicate'"),
        (["outage"], "needs to"),
        ({"rules": "status=503"}, "rules must be an array"),
        ({"rule": []}, "an array of rules, or an object"),
        ({"rules": [], "seed": "x"}, "seed must be an integer"),
        (7, "rules must be an array"),
    ],
)
def test_a_wrong_script_is_answered_with_400_and_changes_nothing(plane, call, event, body, message):
    plane.script("status=503")
    status, answer, _ = command(call(plane), "/__faults", body)

    assert status == 400
    assert message in answer["message"]
    assert call(plane).post(event())[0] == 503


def test_a_script_that_is_no_json_is_answered_with_400(plane, call):
    assert call(plane).send(b"{", {}, "/__faults")[0] == 400
    assert call(plane).send(b"[" * 60_000, {}, "/__faults")[0] == 400
    assert call(plane).send(b"[" * 70_000, {}, "/__faults")[0] == 413


def test_reset_forgets_arrivals_and_keeps_faults(plane, call, event):
    caller, control = call(plane), call(plane)
    caller.post(event())
    plane.script("status=503")
    assert command(control, "/__reset", {})[0] == 200
    assert control.send(None, {}, "/__reset")[0] == 200

    assert plane.unique_ids() == []
    assert caller.post(event())[0] == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/__reset", 405),
        ("GET", "/__faults", 405),
        ("POST", "/__stats", 405),
        ("OPTIONS", "/__faults", 405),
        ("GET", "/__nothing", 404),
    ],
)
def test_nothing_is_changed_by_get(plane, call, method, path, status):
    assert call(plane).send(None, {}, path, method)[0] == status


@pytest.mark.parametrize("path", ["/__stats", "/__events", "/__ids", "/__faults", "/__reset"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused(plane, call, event, path, headers):
    method = "POST" if path in ("/__faults", "/__reset") else "GET"
    call(plane).post(event())
    status, body, answered = call(plane).send(b"[]" if method == "POST" else None, headers, path, method)

    assert (status, body["ok"]) == (403, False)
    assert "Access-Control-Allow-Origin" not in answered
    assert plane.stats().events == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:1"])
def test_loopback_names_and_pages_of_our_own_are_let_in(plane, call, host):
    assert call(plane).get("/__stats", Host=host)[0] == 200
    assert call(plane).get("/__stats", Host=host, Origin=f"http://{host}")[0] == 200


def test_other_machines_are_refused_whatever_name_they_use():
    check_origin({"host": "localhost"}, "::ffff:127.0.0.1")
    for peer in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1%eth0"):
        with pytest.raises(Refused) as caught:
            check_origin({"host": "localhost"}, peer)
        assert caught.value.status == 403
