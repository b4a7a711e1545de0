"""What the SDKs of the Segment family send, each in its own way, is taken; a user's mistakes are still found."""

from __future__ import annotations

import gzip
import json
import urllib.request

import pytest

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT = {"Content-Type": "text/plain;charset=UTF-8"}


def send(caller, body, headers, path="/v1/batch"):
    status, answer, _ = caller.send(
        body if isinstance(body, bytes) else json.dumps(body).encode(), headers, path
    )
    return status, answer


@pytest.fixture
def basic(headers):
    def basic(kind=JSON, key="local-write-key"):
        return {"Authorization": headers(key)["Authorization"], **kind}

    return basic


def test_a_write_key_in_the_body_counts(plane, call, event):
    body = {"batch": [event(), event()], "sentAt": "2026-01-01T00:00:00Z", "writeKey": plane.write_key}
    assert send(call(plane), body, JSON)[0] == 200
    assert (
        send(call(plane), gzip.compress(json.dumps(body).encode()), {**JSON, "Content-Encoding": "gzip"})[0]
        == 200
    )
    assert plane.stats().events == 4


@pytest.mark.parametrize("key", ["wrong", "", None, 7, ["local-write-key"], "local-write-key:", "löcal"])
def test_a_wrong_write_key_in_the_body_is_refused(plane, call, event, key):
    assert send(call(plane), {"batch": [event()], "writeKey": key}, JSON)[0] == 401
    assert plane.stats().events == 0


def test_a_body_that_cannot_be_read_has_no_key(plane, call):
    assert send(call(plane), b"no json", JSON)[0] == 401
    assert send(call(plane), b'{"batch":[]}', JSON)[0] == 401


def test_basic_auth_decides_where_both_are_given(plane, call, event, basic):
    body = {"batch": [event()], "writeKey": plane.write_key}
    assert send(call(plane), body, basic(key="wrong"))[0] == 401
    assert send(call(plane), body, {**JSON, "Authorization": "Bearer x"})[0] == 401
    assert send(call(plane), {**body, "writeKey": "another"}, basic())[0] == 200


def test_any_write_key_may_stand_in_the_body_where_any_is_taken(start_plane, call, event):
    plane = start_plane(None)
    assert send(call(plane), {"batch": [event()], "writeKey": "whatever"}, JSON)[0] == 200
    assert send(call(plane), {"batch": [event()], "writeKey": ""}, JSON)[0] == 401


@pytest.mark.parametrize("kind", [FORM, TEXT])
@pytest.mark.parametrize("packed", [False, True])
def test_json_that_is_called_a_form_or_text_is_read(plane, call, event, batch_of, basic, kind, packed):
    body = batch_of([event()])
    if packed:
        assert send(call(plane), gzip.compress(body), basic({**kind, "Content-Encoding": "gzip"}))[0] == 200
    else:
        assert send(call(plane), body, basic(kind))[0] == 200
    assert send(call(plane), b"a=1&b=2", basic(kind))[0] == 400
    assert plane.stats().events == 1


def test_events_without_a_time_and_with_numbers_as_ids_are_taken(plane, call, event, basic):
    bare = event()
    del bare["timestamp"]
    events = [bare, event(type="group", groupId=7, traits={}), event(userId=12, anonymousId=None)]
    assert send(call(plane), {"batch": events}, basic())[0] == 200
    assert [e.get("groupId") for e in plane.events] == [None, 7, None]


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group", "alias"])
def test_one_event_may_come_to_the_path_of_its_type(plane, call, event, basic, kind):
    one = event(groupId="g", previousId="p")
    with_key = {**event(groupId="g", previousId="p"), "type": kind, "writeKey": plane.write_key}
    del one["type"]
    assert send(call(plane), one, basic(), f"/v1/{kind}")[0] == 200
    assert send(call(plane), with_key, JSON, f"/v1/{kind}")[0] == 200
    assert [e["type"] for e in plane.events] == [kind, kind]
    assert "writeKey" not in plane.events[1]


def test_an_event_at_the_path_of_another_type_is_refused(plane, call, event, basic):
    assert send(call(plane), event(), basic(), "/v1/page")[0] == 400
    assert send(call(plane), [event()], basic(), "/v1/track")[0] == 400
    assert send(call(plane), event(messageId=""), basic(), "/v1/track")[0] == 400
    assert send(call(plane), event(), basic(key="wrong"), "/v1/track")[0] == 401


def test_batches_go_to_the_older_path_as_well(plane, call, event, batch_of, basic):
    assert send(call(plane), batch_of([event()]), basic(), "/v1/import")[0] == 200
    assert send(call(plane), batch_of([event()]), basic(), "/v1/events")[0] == 404


def test_a_path_of_ones_own_is_the_only_one(start_plane, call, event, batch_of, basic):
    plane = start_plane(path="/collect")
    assert send(call(plane), batch_of([event()]), basic(), "/collect")[0] == 200
    assert send(call(plane), event(), basic(), "/track")[0] == 404


def test_numbers_that_python_does_not_read_are_taken_and_shown(plane, call, event, basic):
    digits = "8" * 6000
    body = json.dumps({"batch": [event(properties={"n": 0})]}).replace('"n": 0', f'"n": {digits}')
    assert send(call(plane), body.encode(), basic())[0] == 200
    with urllib.request.urlopen(f"{plane.url}/__events") as answer:
        assert digits in answer.read().decode()
