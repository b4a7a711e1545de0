"""The Django app: it makes the default client when Django starts."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["EventSpoolConfig"]


class EventSpoolConfig(AppConfig):
    """
    Makes the default client of ``settings.EVENTSPOOL`` and the environment, and registers the system checks.

    That starts no thread and opens no connection, so it is safe in a parent that forks (``gunicorn --preload``) and in a
    management command.
    """

    name = "eventspool.integrations.django"
    label = "eventspool"
    verbose_name = "eventspool"

    def ready(self) -> None:
        """
        Begin.

        Raises:
            ConfigError: An option is unknown or wrong.
        """
        from eventspool.integrations.django import checks
        from eventspool.integrations.django.options import begin_client

        checks.register()
        begin_client()
