"""Module settings and the six calls, as segment-analytics-python documents them."""

import os
from datetime import UTC, datetime

import segment.analytics as analytics

failures = []


def on_error(error, items):
    failures.append(error)


analytics.write_key = "YOUR_WRITE_KEY"
analytics.host = os.environ["DATA_PLANE"]
analytics.on_error = on_error
analytics.send = True
analytics.gzip = True
analytics.max_retries = 3
analytics.timeout = 20
analytics.max_queue_size = 100_000

analytics.identify("f4ca124298", {"name": "Michael Bolton", "email": "mbolton@example.com", "friends": 42})
analytics.track("f4ca124298", "Signed Up", {"plan": "Enterprise"})
analytics.track(anonymous_id="a-17", event="Song Played", properties={"name": "Fallin for You"})
analytics.page("f4ca124298", "Docs", "Python library", {"url": "https://example.com/docs/python/"})
analytics.screen("f4ca124298", "Settings", "Brightness", {"from": "Settings Screen"})
analytics.group("f4ca124298", "g-17", {"name": "Initech", "description": "Accounting Software"})
analytics.alias("a-17", "f4ca124298")
analytics.track(
    user_id="f4ca124298",
    event="Article Bookmarked",
    properties={"title": "Snow Fall", "revenue": 39.95},
    timestamp=datetime(2021, 3, 4, 5, 6, 7, 891_000, tzinfo=UTC),
    context={"ip": "35.1.2.3", "locale": "en"},
    integrations={"All": False, "Vero": True},
)
ok, message = analytics.track("f4ca124298", "Article Completed", {"course": "Intro"})
print(ok, message["event"], message["userId"], message["anonymousId"], message["properties"])

analytics.flush()
analytics.shutdown()
print(len(failures), "failures")
