"""
The tasks that the tests' real Celery workers run.

A task writes down the ids that it was given for its events. At every sixth number its process is killed the first time, and at
every fourth it is retried once. While there is a file named "hold", each later task says that it is held, and waits to be
killed: then no process fetches a message at the moment when all are killed. Such a message the broker's driver would lose
(kombu takes it off the list first), and its task would never run.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from celery import Celery

from eventspool import Client
from eventspool.integrations.celery import connect

BOOK = Path(os.environ["BOOK"])
HELD_FROM = 8
app = Celery("celery_tasks", broker=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 1},
    task_acks_late=True,
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    worker_lost_wait=0.5,
    worker_prefetch_multiplier=1,
)
connect(app)
client = Client(os.environ["WRITE_KEY"], durability="persisted", **json.loads(os.environ["CLIENT"]))


@app.task(name="work", bind=True)
def work(self, number: int) -> None:
    """Track three events."""
    said = {"number": number, "try": self.request.retries}
    ids = [
        client.track(event="Worked", properties=said),
        client.track(event="Twice", properties=said),
        client.track(event="Twice", properties=said),
    ]
    with (BOOK / f"{number}.{os.getpid()}.ids").open("a") as file:
        print(*ids, file=file)
    killed = BOOK / f"{number}.killed"
    if number % 6 == 0 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number >= HELD_FROM and (BOOK / "hold").exists():
        (BOOK / f"{number}.held").touch()
        while True:
            signal.pause()
    if number % 4 == 1 and not self.request.retries:
        raise self.retry(countdown=0)
    (BOOK / f"{number}.done").touch()
