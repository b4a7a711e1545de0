"""The default client, as events-sdk-python documents it."""

import os

import hightouch.htevents as htevents

htevents.write_key = "YOUR_WRITE_KEY"
htevents.host = os.environ["DATA_PLANE"]

htevents.identify("userId1", {"email": "bat@example.com", "name": "Person People"})
ok, message = htevents.track("userId1", "Order Completed", {})
print(ok, message["type"], message["event"], message["properties"])
htevents.page("userId1", "Docs", "Start")
htevents.screen("userId1", name="Home")
htevents.group("userId1", "company1", {"name": "Initech"})
htevents.alias("anonymous1", "userId1")
htevents.flush()
htevents.shutdown()
