"""The encoders agree on everything, and eventspool works without the optional ones."""

from __future__ import annotations

import copy
import os
import string
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventspool._events.encoding import dumps_fast
from eventspool._events.event import EventEncoder
from eventspool._exceptions import EventError

FAST, EXACT = EventEncoder(), EventEncoder(_fast=False)
SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

plain = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.text(st.characters(categories=["Cs", "L"]), max_size=4)
)  # fmt: skip
rich = (
    st.datetimes() | st.datetimes(timezones=st.just(UTC)) | st.dates() | st.times() | st.timedeltas()
    | st.decimals() | st.uuids() | st.binary(max_size=8)
)  # fmt: skip
keys = st.text(string.ascii_letters + 'é\n"\\😀', max_size=6)


def trees(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | st.tuples(inner, inner)
        ),
        max_leaves=12,
    )


def properties(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(keys, trees(leaves), max_size=5)


def meaning(value: object) -> object:
    """What a strict reader of JSON must get for a plain value."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {meaning(k): meaning(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [meaning(v) for v in value]
    return value


@SETTINGS
@given(properties(plain))
def test_plain_trees_come_back_as_they_were(decode, tree):
    assert dumps_fast is not None
    before = copy.deepcopy(tree)
    fast, exact = (decode(e.track("u", "e", tree))["properties"] for e in (FAST, EXACT))
    assert repr(tree) == repr(before)
    assert as_floats(fast) == as_floats(exact) == meaning(tree)


@SETTINGS
@given(properties(plain | rich))
def test_all_routes_have_one_meaning(decode, tree):
    seen = []
    for encoder in (FAST, EXACT):
        for call in (encoder.track, encoder.group):
            event = decode(call("u", "x", tree))
            seen.append(event.get("properties", event.get("traits")))
        event = decode(encoder.identify("u", tree))
        seen += [event["traits"], event["context"]["traits"]]
    assert all(other == seen[0] for other in seen)


def as_floats(value: object) -> object:
    from decimal import Decimal

    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {k: as_floats(v) for k, v in value.items()}
    return [as_floats(v) for v in value] if isinstance(value, list) else value


def test_dates_right_among_the_properties_are_left_to_the_fast_encoder(monkeypatch):
    def never(*_: object) -> bytes:
        raise AssertionError("the exact encoder was asked")

    monkeypatch.setattr("eventspool._events.event.encode_exactly", never)
    values = {
        "a": datetime.now(UTC),
        "b": date.today(),
        "c": time(1),
        "d": timedelta(1),
        "e": 2**70,
        "f": [1, "x"],
    }
    for call in (lambda: FAST.track("u", "e", values), lambda: FAST.identify("u", values)):
        call()
    with pytest.raises(AssertionError):
        FAST.track("u", "e", {"deep": [values]})


def test_everything_holds_without_orjson_and_uuid_utils(tmp_path):
    """The rules' own tests run again in an interpreter that cannot import either."""
    here = Path(__file__).parent
    blocker = textwrap.dedent(
        """
        import sys
        sys.modules["orjson"] = sys.modules["uuid_utils"] = None
        import pytest
        failed = pytest.main(["-q", "-p", "no:cacheprovider", "-n0", *sys.argv[1:]])
        from eventspool._events import clock as _clock, encoding as _encoding
        assert _encoding.dumps_fast is None and _clock.new_message_id is _clock._new_message_id
        sys.exit(failed)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", blocker, str(here / "test_calls.py"), str(here / "test_hostile.py")],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "EVENTSPOOL_FUZZED_CALLS": "500"},
        cwd=here.parents[1],
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_children_of_a_fork_draw_different_message_ids():
    FAST.track("u", "e")
    drawn = []
    for _ in range(2):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            ids = [FAST.track("u", "e")[1] for _ in range(50)]
            os.write(writer, " ".join(ids).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            drawn += stream.read().split()
        os.waitpid(child, 0)
    drawn += [FAST.track("u", "e")[1] for _ in range(50)]
    assert len(set(drawn)) == len(drawn) == 150


def test_no_optional_library_is_imported_by_encoding():
    script = textwrap.dedent(
        """
        import sys
        from decimal import Decimal
        from eventspool._events.event import EventEncoder
        class Odd: pass
        try:
            EventEncoder().track("u", "e", {"a": Decimal(1), "b": [Odd()]})
        except ValueError:
            pass
        found = {"numpy", "pandas", "pydantic", "attrs", "attr", "msgspec"} & set(sys.modules)
        assert not found, found
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_an_error_chain_shows_nothing_of_the_cause():
    class Bad:
        def __fspath__(self) -> str:
            raise ValueError("canary")

    for encoder in (FAST, EXACT):
        with pytest.raises(EventError) as caught:
            encoder.track("u", "e", {"v": Bad()})
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
