"""A client of its own, as rudder-sdk-python documents it."""

import os

from rudderstack.analytics.client import Client

client = Client("SOURCE_WRITE_KEY", os.environ["DATA_PLANE"], max_queue_size=500, upload_size=10)
ok, message = client.identify("u1", {"plan": "free"})
print(ok, message["context"]["traits"], message["channel"], message["integrations"], "traits" in message)
ok, message = client.track("u1", "Order Completed", {"total": 5.5}, message_id="m-1")
print(ok, message["messageId"], message["userId"], message["anonymousId"])
client.flush()
client.join()
