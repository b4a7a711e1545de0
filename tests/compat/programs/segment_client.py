"""A client for each source, and what its calls return, as segment-analytics-python documents them."""

import os

from segment.analytics.client import Client

client = Client(
    "OTHER_WRITE_KEY",
    host=os.environ["DATA_PLANE"],
    debug=False,
    max_queue_size=100_000,
    send=True,
    gzip=False,
    upload_interval=0.2,
    upload_size=500,
    thread=1,
)
results = [
    client.identify("u1", {"email": "bat@example.com"}),
    client.track("u1", "Order Completed", {}),
    client.page("u1", name="Home"),
    client.screen("u1"),
    client.group("u1", "g1"),
    client.alias("a1", "u1"),
]
for ok, message in results:
    print(ok, message["type"], sorted(set(message) - {"timestamp", "messageId"}))
client.shutdown()
print(client.queue.empty())

quiet = Client("OTHER_WRITE_KEY", host=os.environ["DATA_PLANE"], send=False)
print(quiet.track("u1", "Never Sent")[0])
quiet.flush()
