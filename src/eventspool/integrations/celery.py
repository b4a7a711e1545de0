"""
Celery: the worker processes of its prefork pool end without running Python's exit handlers.

    from eventspool.integrations import celery

    celery.install()

in the module that makes the application has each worker process close its clients at its end, so that no event is left in
its memory.
"""

from __future__ import annotations

from celery.signals import worker_process_shutdown

from eventspool._guest.lifecycle import close_all

__all__ = ["install"]


def install() -> None:
    """Have each worker process that ends close its clients. May be called again."""
    worker_process_shutdown.connect(_close_clients, weak=False, dispatch_uid="eventspool")


def _close_clients(**_: object) -> None:
    close_all()
