"""A Celery application: tracks when it is loaded, and once per task. ``python -m guest.celery_app TASKS`` sends tasks."""

from __future__ import annotations

import os
import sys

from celery import Celery

from eventspool.integrations import celery as eventspool_celery
from guest import journal

app = Celery("guest", broker=os.environ["GUEST_BROKER"])
app.conf.update(
    task_ignore_result=True, broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1
)
eventspool_celery.connect(app)


@app.task(name="guest.track")
def track() -> None:
    """Track an event."""
    journal.track(client, "Worked")


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        app.send_task("guest.track")
else:
    client = journal.new_client()
    journal.track(client, "Loaded")
