"""
Django: an app, a middleware, and event methods that wait for the commit.

    INSTALLED_APPS += ["eventspool.integrations.django"]
    MIDDLEWARE += ["eventspool.integrations.django.Middleware"]

The app makes the default client of ``settings.EVENTSPOOL`` (a mapping: the arguments of ``eventspool.Client``) and of the
environment. The middleware has each event know of its request; ``settings.EVENTSPOOL_REQUEST`` has its switches. And

    from eventspool.integrations.django import track

is ``eventspool.track`` for code in transactions: what is rolled back sends nothing. docs/frameworks/django.md tells the rest.
"""

from eventspool.integrations.django.commit import OnCommit
from eventspool.integrations.django.middleware import Middleware

__all__ = ["Middleware", "OnCommit", "alias", "group", "identify", "page", "screen", "track"]

_on_commit = OnCommit()

identify = _on_commit.identify
track = _on_commit.track
page = _on_commit.page
screen = _on_commit.screen
group = _on_commit.group
alias = _on_commit.alias
