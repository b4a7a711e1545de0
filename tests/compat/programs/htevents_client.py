"""One client for each write key beside the default one, as events-sdk-python documents it."""

import os

import hightouch.htevents as htevents
from hightouch.htevents.client import Client

htevents.write_key = "YOUR_WRITE_KEY"
htevents.host = os.environ["DATA_PLANE"]
other_htevents = Client("OTHER_WRITE_KEY", host=os.environ["DATA_PLANE"])

htevents.identify("userId1", {"email": "bat@example.com"})
htevents.flush()
other_htevents.identify("userId1", {"email": "bat@example.com"})
other_htevents.flush()
htevents.track("userId1", "Order Completed", {})
htevents.flush()
other_htevents.track("userId1", "Order Completed", {})
other_htevents.shutdown()
htevents.shutdown()
