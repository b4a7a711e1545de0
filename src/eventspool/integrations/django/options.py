"""What the settings say: the client's options, and the switches of the middleware."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.conf import settings

from eventspool import _default
from eventspool._config.checks import reject_unknown
from eventspool._exceptions import ConfigError
from eventspool._guest.log import Log
from eventspool.integrations._request import Switches

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["begin_client", "has_write_key", "read_switches"]

_log = Log("eventspool")


def begin_client() -> None:
    """
    Make the default client.

    Without a write key it takes events and forgets them, as where ``enable`` is off: a developer's machine, or a build that
    calls ``manage.py``, need no key. The log and the system checks say so.

    Raises:
        ConfigError: An option is unknown or wrong.
    """
    given = _read_mapping("EVENTSPOOL")
    if not given and _default.current_client() is not None:
        return  # the application has made one already
    if not has_write_key():
        _log.warning(
            "there is no write key: events are forgotten (set EVENTSPOOL_WRITE_KEY, or settings.EVENTSPOOL)"
        )
        given = {**given, "write_key": "none", "enable": False}
    _default.init(**given)


def has_write_key() -> bool:
    """Whether the settings or the environment have a write key."""
    return bool(_read_mapping("EVENTSPOOL").get("write_key") or os.environ.get("EVENTSPOOL_WRITE_KEY"))


def read_switches() -> Switches:
    """
    Return what ``settings.EVENTSPOOL_REQUEST`` says.

    Raises:
        ConfigError: A switch is unknown or wrong.
    """
    given = _read_mapping("EVENTSPOOL_REQUEST")
    reject_unknown(given, list(Switches.__dataclass_fields__), "settings.EVENTSPOOL_REQUEST")
    return Switches(**given)


def _read_mapping(name: str) -> Mapping[str, Any]:
    given = getattr(settings, name, None) or {}
    if not hasattr(given, "keys"):
        raise ConfigError(f"settings.{name} must be a mapping, not {type(given).__name__}")
    return given
