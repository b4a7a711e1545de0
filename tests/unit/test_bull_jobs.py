"""Jobs of the Node SDKs are read as text: what is data is read exactly, and everything else is refused."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._operate.bull.batch import UnreadableError, read_batch
from eventspool._operate.bull.literal import LiteralError, read_literal
from node_sdks import RECORDED, WRITE_KEY

RECORDINGS = sorted(RECORDED.glob("*.json"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_read_as_json(value):
    assert read_literal(json.dumps(value, separators=(",", ":"))) == value


@given(st.lists(st.none() | st.booleans()), st.text())
def test_undefined_members_are_left_out_wherever_they_stand(members, name):
    """``None`` stands for a member that is undefined."""
    text = ",".join(
        f"{json.dumps(f'{name}{n}')}:{'undefined' if value is None else json.dumps(value)}"
        for n, value in enumerate(members)
    )
    assert read_literal("{" + text + "}") == {
        f"{name}{n}": value for n, value in enumerate(members) if value is not None
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[new Date("2026-01-02T03:04:05.006Z")]', ["2026-01-02T03:04:05.006Z"]),
        ('{"a":new URL("https:\\u002F\\u002Fx.example")}', {"a": "https://x.example"}),
        ("[NaN,Infinity,-Infinity,undefined]", [None] * 4),
        ('[{"a":undefined},undefined,[undefined,1]]', [{}, None, [None, 1]]),
        ('{"a":"undefined, new Date(\\"x\\")}"}', {"a": 'undefined, new Date("x")}'}),
        ('{"a":1,"callbacks":[() => { }],"attempts":0}', {"a": 1}),
        ('{"a":1,"callbacks":[(e) => { return "],\\"attempts\\":1}" + /}"/ }],"attempts":3}', {"a": 1}),
        ('{"callbacks":[],"attempts":3}', {}),
        (
            '{"a":{"callbacks":[1],"attempts":3},"b":"callbacks"}',
            {"a": {"callbacks": [1], "attempts": 3}, "b": "callbacks"},
        ),
        ("-0.5e-7", -0.5e-7),
    ],
)
def test_what_is_data_is_read(text, value):
    assert read_literal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alert(1)",
        '{"a":() => 1}',
        '{"a":{"callbacks":[() => 1],"attempts":0}}',
        '{"callbacks":[() => 1],"attempts":0,"b":1}',
        '{"a":function f(){}}',
        '{"a":new Map([])}',
        '{"a":new Set([])}',
        '{"a":new RegExp("x", "")}',
        '{"a":BigInt("1")}',
        '{"a":Array.prototype.slice.call({"length":1})}',
        '{"a":new Date(0)}',
        '{"a":new Date("x",process.exit())}',
        '{"a":"unended}',
        '{"a":1,}',
        "{undefined}",
        "{,undefined:1}",
        '{"a"undefined}',
        "[1][2]",
        "{\"a\":'x'}",
        '{"__proto__":{}}x',
        "[" * 100_000,
        "[" + "1" * 10_000 + "]",
    ],
)
def test_what_is_no_data_is_refused(text):
    with pytest.raises(LiteralError) as refused:
        read_literal(text)
    assert refused.value.__cause__ is None


def test_a_text_made_to_take_long_is_refused_at_once():
    """Each name of the callbacks had the rest of the text searched: two hours for the ten megabytes of a job."""
    text = "{" + '"callbacks":[],' * 100_000 + '"a":() => 1}'
    began = time.process_time()
    with pytest.raises(LiteralError):
        read_literal(text)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_each_sdks_jobs_are_read_as_the_sdk_would_send_them(path):
    recorded = json.loads(path.read_text())
    batches = [read_batch(data.encode(), 32_768) for data in recorded["data"]]

    assert [json.loads(event) for batch in batches for event in batch.events] == recorded["events"]
    assert {batch.write_key for batch in batches} == {WRITE_KEY}
    ids = [batch.id_of_part(0, 0) for batch in batches]
    assert ids == [read_batch(data.encode(), 32_768).id_of_part(0, 1) for data in recorded["data"]]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 28 for each in ids)


def test_there_is_a_recording_of_each_sdk():
    assert [path.stem for path in RECORDINGS] == [
        "events-sdk-node-1.0.3",
        "rudder-sdk-node-1.1.5",
        "rudder-sdk-node-2.1.11",
        "rudder-sdk-node-3.0.13",
    ]


def job(**changes):
    """Return the data of a job, with these members of its request or body in place of the usual ones."""
    event = {"type": "track", "messageId": "m1", "event": "E"}
    body = {"batch": changes.pop("batch", [event]), **changes.pop("body", {})}
    request = {"auth": {"username": "key"}, "data": body, **changes.pop("request", {})}
    whole = {"description": "d", "request": request, "attempts": 0, **changes}
    return json.dumps({"version": 3, "eventData": json.dumps(whole)}).encode()


def test_a_batch_from_which_the_sdk_has_lost_events_holds_the_others():
    assert len(read_batch(job(batch=[None, {"type": "track", "messageId": "m"}]), 1000).events) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": []},
        {"batch": [None]},
        {"batch": "x"},
        {"batch": [[]]},
        {"batch": [{"type": "track"}]},
        {"batch": [{"messageId": "m"}]},
        {"batch": [{"type": "track", "messageId": 7}]},
        {"request": {"auth": {}}},
        {"request": {"auth": {"username": 7}}},
        {"request": {"data": {"type": "Buffer", "data": [1, 2, 3]}}},
        {"request": {"data": {"type": "Buffer", "data": [999]}}},
        {"request": {"data": {"type": "Buffer", "data": 10}}},
        {"request": {"data": {"type": "Buffer", "data": 10**13}}},
        {"request": {"data": {"type": "Buffer", "data": 10**30}}},
        {"request": {"data": {"type": "Buffer"}}},
        {"request": {"data": 7}},
        {"description": ""},
        {"description": None},
    ],
)
def test_what_is_no_batch_is_refused(changes):
    with pytest.raises(UnreadableError) as refused:
        read_batch(job(**changes), 1000)
    assert refused.value.reason == "foreign"


@pytest.mark.parametrize(
    ("value", "reason"), [("x" * 1000, "too_large"), (json.loads("[" * 300 + "]" * 300), "unencodable")]
)
def test_an_event_that_a_client_would_refuse_is_refused(value, reason):
    with pytest.raises(UnreadableError) as refused:
        read_batch(job(batch=[{"type": "track", "messageId": "m", "properties": value}]), 1000)
    assert refused.value.reason == reason


@pytest.mark.parametrize("moment", ["never", 7, None, "9999999", "0001-01-01T00:00:00Z"])
def test_a_batch_without_a_moment_has_that_of_its_job(moment):
    assert (
        read_batch(job(body={"timestamp": moment}), 1000)
        .id_of_part(0, 1_700_000_000_000)
        .startswith(("018bcfe56800", "000000000000"))
    )


def test_batches_that_another_program_calls_the_same_are_two():
    """Else the second would be taken for stored already, and be deleted."""
    batches = [[{"type": "track", "messageId": each}] for each in ("m1", "m2", "m1")]
    first, second, again = (read_batch(job(batch=batch), 1000).id_of_part(0, 1) for batch in batches)
    assert (first == again, first == second) == (True, False)
