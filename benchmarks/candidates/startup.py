"""
What ``startup`` measures: ``startup.py CLIENT REPEATS SINK_URL FIRST_ORDER [QUEUE_URL]`` prints one JSON object.

Starts fresh interpreters in turns: one that does nothing, one that imports the client's package, one that makes a client and
tracks an event. Each says when it got there, on the clock that all processes share, so its end does not count. The last then
delivers its event: order numbers count up from FIRST_ORDER. The first
turn warms the bytecode and does not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median

from benchmarks.event import EVENT, USER, properties

_IMPORTS = {
    "eventspool": "import eventspool",
    "segment": "import segment.analytics",
    "hightouch": "import hightouch.htevents",
    "rudder": "import rudderstack.analytics",
    "posthog": "import posthog",
    "mixpanel": "import mixpanel",
    "snowplow": "import snowplow_tracker",
    "amplitude": "import amplitude",
}
_SEGMENT_LIKE = """
client = Client("key", host=sink)
client.track(user, event, properties)
reached()
client.flush()
"""
_FIRST_TRACKS = {
    "eventspool": """
import eventspool
client = eventspool.Client("key", data_plane_url=sink, persistence=queue)
client.track(user, event, properties)
reached()
client.close(30)
""",
    "segment": "from segment.analytics.client import Client" + _SEGMENT_LIKE,
    "hightouch": "from hightouch.htevents.client import Client" + _SEGMENT_LIKE,
    "rudder": "from rudderstack.analytics.client import Client" + _SEGMENT_LIKE,
    "posthog": """
from posthog import Posthog
client = Posthog("key", host=sink)
client.capture(event, distinct_id=user, properties=properties)
reached()
client.flush()
""",
    "mixpanel": """
import mixpanel
consumer = mixpanel.BufferedConsumer(events_url=sink + "/track")
mixpanel.Mixpanel("token", consumer=consumer).track(user, event, properties)
reached()
consumer.flush()
""",
    "snowplow": """
from snowplow_tracker import AsyncEmitter, SelfDescribing, SelfDescribingJson, Subject, Tracker
emitter = AsyncEmitter("127.0.0.1", protocol="http", port=int(sink.rsplit(":", 1)[1]), batch_size=500)
subject = Subject()
subject.set_user_id(user)
order = SelfDescribingJson("iglu:com.example/order_completed/jsonschema/1-0-0", properties)
tracker = Tracker("benchmark", emitter, app_id="benchmark", encode_base64=False)
tracker.track(SelfDescribing(order, event_subject=subject))
reached()
emitter.sync_flush()
""",
    "amplitude": """
from amplitude import Amplitude, BaseEvent, Config
import threading
delivered = threading.Event()
config = Config(server_url=sink + "/2/httpapi", callback=lambda *given: delivered.set())
client = Amplitude("key", config)
client.track(BaseEvent(event, user_id=user, event_properties=properties))
reached()
client.flush()
delivered.wait(30)
""",
}
_CHILD = """
import os, sys, time
def reached():
    sys.stdout.write(str(time.perf_counter()))
    sys.stdout.flush()
{given}
{program}
sys.stdout.flush()
os._exit(0)
"""


def run(program: str, given: dict[str, object] | None = None) -> float:
    """Run *program* in a fresh interpreter with *given* names. Return the milliseconds until it called ``reached()``."""
    names = "\n".join(f"{name} = {value!r}" for name, value in (given or {}).items())
    code = _CHILD.format(given=names, program=program)
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )
    return (float(done.stdout) - begin) * 1000


def main(client: str, repeats: int, sink: str, first: int, queue: str | None = None) -> None:
    """Measure and print."""
    bare, imported, tracked = [], [], []
    for number in range(first, first + repeats + 1):
        given = {"sink": sink, "queue": queue, "user": USER, "event": EVENT, "properties": properties(number)}
        bare.append(run("reached()"))
        imported.append(run(f"{_IMPORTS[client]}\nreached()"))
        tracked.append(run(_FIRST_TRACKS[client], given))
    print(
        json.dumps(
            {
                "bare_ms": median(bare[1:]),
                "import_ms": median(imported[1:]) - median(bare[1:]),
                "first_track_ms": median(tracked[1:]) - median(bare[1:]),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
