"""
Delivers one batch as an instrumented worker does, and prints the links of the delivery's span.

``python traced_worker.py KEY URL QUEUE``, with the queue as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from eventspool import Client
from eventspool.integrations.opentelemetry import instrument

key, url, queue = sys.argv[1:]
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
with Client(key, data_plane_url=url, persistence=json.loads(queue)) as client:
    instrument(client, tracer_provider=provider)
    client.flush(timeout=0.1)
    deadline = time.monotonic() + 60.0
    while not exporter.get_finished_spans() and time.monotonic() < deadline:
        time.sleep(0.01)
contexts = [link.context for link in exporter.get_finished_spans()[0].links]
print(json.dumps([[f"{each.trace_id:032x}", f"{each.span_id:016x}", each.is_remote] for each in contexts]))
