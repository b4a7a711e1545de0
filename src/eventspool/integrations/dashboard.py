"""
The dashboard as an ASGI app, to be mounted in an application of yours. Needs ``eventspool[dashboard]``.

    app.mount("/events", create_app(eventspool.open_queue("redis://localhost"), token=None))

``token=None`` is for applications that have already checked who sends the request.
"""

from eventspool._dashboard.app import create_app

__all__ = ["create_app"]
