"""Values, keys, ids and moments of every kind, and calls that are wrong."""

import os
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

from segment.analytics import Client


class Colour(Enum):
    RED = "red"


class Size(int, Enum):
    LARGE = 3


client = Client("KEY", host=os.environ["DATA_PLANE"])

client.track(
    "u1",
    "Values",
    {
        "none": None,
        "true": True,
        "integer": 2**53,
        "decimal": Decimal("9.99"),
        "text": "Zoë 💥",
        "bytes": b"hi",
        "date": date(2020, 1, 2),
        "naive": datetime(2020, 1, 2, 3, 4, 5, 678_901),
        "aware": datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        "tuple": (1, "two", Decimal("3.5")),
        "set": {7},
        "nested": {"deep": [{"bytes": b"hi", "when": date(2020, 1, 2)}]},
        "enum": Colour.RED,
        "integer_enum": Size.LARGE,
        "object": object(),
        "list_with_object": [1, object()],
        "dict_with_object": {"kept": 1, "left_out": object()},
        "UUID": UUID("12345678123456781234567812345678"),
        "time": time(1, 2, 3),
        "timedelta": timedelta(seconds=90),
        "frozenset": frozenset({1}),
        2: "integer key",
        True: "bool key",
        None: "null key",
        2.5: "float key",
        "inner": {7: "integer key", None: {False: 1}},
    },
)
client.identify(157963456373623802, {"born": date(1981, 2, 2)})
client.identify("u1", {}, {"traits": {"from": "context"}})
client.identify("u1", {"a": 1}, {"ip": "192.168.0.1", "library": {"name": "mine"}})
client.track(anonymous_id=157963456373623803, event="Numeric Anonymous Id")
client.track("u1", "Float Id", anonymous_id=1.5)
client.track(0, "Zero", anonymous_id="a1")
client.track(True, "Bool Id")
client.track("u1", "Naive And Past", timestamp=datetime(2014, 9, 3))
client.track("u1", "Naive And Present", timestamp=datetime.now())
client.track("u1", "Aware", timestamp=datetime(2014, 9, 3, 1, 2, 3, 456_789, tzinfo=UTC))
client.track("u1", "Zone", timestamp=datetime(2014, 9, 3, 1, 2, 3, tzinfo=timezone(timedelta(hours=-7))))
client.track("u1", "Empty", {}, {}, None, None, {}, "message-1")
client.track("u1", "Falsy", [], (), None, None, 0, 17)
client.group(1, 2, {"size": 3})
client.alias(1, 2)
client.page("u1", "", "")
client.page("u1")
client.page(
    "u1", "category", "name", {"a": 1}, {"ip": "1.2.3.4"}, datetime(2014, 9, 3), "a1", {"X": True}, "m1"
)
client.screen(
    "u1", "category", "name", {"a": 1}, {"ip": "1.2.3.4"}, datetime(2014, 9, 3), "a1", {"X": True}, "m2"
)
client.group("u1", "g1", {"a": 1}, {"ip": "1.2.3.4"}, datetime(2014, 9, 3), "a1", {"X": True}, "m3")
client.identify("u1", {"a": 1}, {"ip": "1.2.3.4"}, datetime(2014, 9, 3), "a1", {"X": True}, "m4")
client.alias("a1", "u1", {"ip": "1.2.3.4"}, datetime(2014, 9, 3), {"X": True}, "m5")

for name, arguments in (
    ("track", {"event": "No Id"}),
    ("track", {"user_id": "u1"}),
    ("track", {"user_id": "u1", "event": 5}),
    ("track", {"user_id": 0, "event": "Zero"}),
    ("track", {"user_id": ["u1"], "event": "List"}),
    ("track", {"user_id": "u1", "event": "E", "properties": [1]}),
    ("track", {"user_id": "u1", "event": "E", "context": [1]}),
    ("track", {"user_id": "u1", "event": "E", "integrations": [1]}),
    ("track", {"user_id": "u1", "event": "E", "timestamp": "2020-01-01"}),
    ("track", {"user_id": "u1", "event": "E", "timestamp": 1.5}),
    ("identify", {}),
    ("identify", {"user_id": "u1", "traits": "x"}),
    ("page", {"name": "Home"}),
    ("page", {"user_id": "u1", "name": 5}),
    ("screen", {"user_id": "u1", "category": 5}),
    ("group", {"user_id": "u1"}),
    ("group", {"group_id": "g1"}),
    ("alias", {"user_id": "u1"}),
    ("alias", {"previous_id": "u1"}),
):
    try:
        getattr(client, name)(**arguments)
    except AssertionError:
        print(name, arguments, "AssertionError")
    else:
        print(name, arguments, "was taken")
try:
    Client()
except AssertionError:
    print("no write key: AssertionError")
client.shutdown()
