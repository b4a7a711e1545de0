"""
System checks: what ``eventspool doctor`` would find.

``manage.py check`` asks no server: it says what is wrong with the settings, the environment and a SQLite file. ``manage.py
check --deploy`` examines the queue and the data plane, too. What is found there is a warning at most: a data plane that is
away at the moment must not stop a deployment.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.core import checks

from eventspool import _default
from eventspool._backends.stores import resolve
from eventspool._doctor import Severity, examine
from eventspool._doctor.environment_checks import check_environment
from eventspool._exceptions import ConfigError
from eventspool.integrations.django.options import has_write_key, read_switches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

from eventspool._doctor import Finding

__all__ = ["register"]

_TAG = "eventspool"
_KEY_HINT = "set EVENTSPOOL_WRITE_KEY in the environment, or write_key in settings.EVENTSPOOL"


def register() -> None:
    """Have ``manage.py check`` run the checks, also alone: ``--tag eventspool``."""
    checks.register(_check_settings, _TAG)
    checks.register(_check_deployment, _TAG, deploy=True)


def _check_settings(**_: Any) -> list[Any]:
    seen = [*check_environment(os.environ), *_look_at_local_queue()]
    urgent = [finding for finding in seen if finding.severity is not Severity.NOTE]
    return [*_missing_key(), *_wrong_switches(), *_as_messages(urgent)]


def _missing_key() -> Iterator[Any]:
    client = _default.current_client()
    if not has_write_key() and (client is None or not client._opts.enable):  # noqa: SLF001
        yield checks.Warning(
            "there is no write key: events are forgotten", hint=_KEY_HINT, id="eventspool.W001"
        )


def _wrong_switches() -> Iterator[Any]:
    try:
        read_switches()
    except ConfigError as error:
        yield checks.Error(str(error), hint="correct settings.EVENTSPOOL_REQUEST", id="eventspool.E001")


def _look_at_local_queue() -> Iterable[Finding]:
    client = _default.current_client()
    queue = client._beginning.queue_opts if client is not None and client._opts.enable else None  # noqa: SLF001
    if queue is None or not queue.kind.is_local:
        return []
    findings: list[Finding] = resolve(queue.kind.doctor)(queue)[0]
    return findings


def _check_deployment(**_: Any) -> list[Any]:
    client = _default.current_client()
    if client is None or not client._opts.enable:  # noqa: SLF001
        return []
    found = examine(client._beginning.queue_opts, client._opts, interval=0.0)  # noqa: SLF001
    return list(_as_messages(found.findings))


def _as_messages(findings: Iterable[Finding]) -> Iterator[Any]:
    for finding in findings:
        kind = checks.Info if finding.severity is Severity.NOTE else checks.Warning
        yield kind(finding.what, hint=finding.action, id=f"eventspool.{finding.check}")
