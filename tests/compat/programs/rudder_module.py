"""Module settings and the six calls, as rudder-sdk-python documents them. The functions return nothing."""

import os

import rudderstack.analytics as analytics

analytics.write_key = "SOURCE_WRITE_KEY"
analytics.dataPlaneUrl = os.environ["DATA_PLANE"]
analytics.gzip = True
analytics.debug = False
analytics.max_retries = 5

analytics.identify("u1", {"name": "Alex Keener", "plan": "free"}, context={"ip": "10.0.0.1"})
print(analytics.track("u1", "Simple Track Event", {"key1": "val1"}))
analytics.track(
    "u2",
    "Simple Track Event",
    anonymous_id="anonymousId",
    properties={"key1": "val1"},
    context={"key1": "val1"},
    integrations={"All": False, "Amplitude": True},
)
analytics.page("u1", "Docs", "Introduction", {"url": "https://example.com"})
analytics.screen("u1", "Settings", "Sound", {"prop1": 5})
analytics.group("u1", "g1", {"name": "Initech", "employees": 450})
analytics.alias("old", "u1")
analytics.flush()
analytics.shutdown()
