"""A shop whose orders are packed by a worker: ``celery -A shop worker``."""

from __future__ import annotations

import os

from celery import Celery

import eventspool.integrations.celery

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "redis://localhost:6379/1"))
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True)
eventspool.integrations.celery.connect(app)  # +


@app.task
def pack(sku: str) -> None:
    """Pack what somebody has bought. Whoever sends the task, in a request for instance, says in its scope who that is."""
    eventspool.track(event="Order Packed", properties={"sku": sku})
