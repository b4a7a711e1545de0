"""From the options of an SDK of the family to those of ``eventspool.Client``."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from eventspool._client import Client
from eventspool._config import JobOpts, reject_unknown
from eventspool._config.elsewhere import find_elsewhere
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._config import QueueOpts
    from eventspool.compat._peer import Peer

__all__ = ["NAMES", "OTHERS", "OWN", "Translated", "check_names", "patient_as", "translate"]

NAMES: Mapping[str, str] = {
    "write_key": "write_key",
    "host": "data_plane_url",
    "on_error": "on_error",
    "max_queue_size": "max_internal_queue_size",
    "send": "enable",
    "gzip": "gzip",
    "timeout": "timeout",
    "upload_size": "flush_at",
    "upload_interval": "flush_interval",
}
"""Options of the family that the client has under another name, or the same one."""
OTHERS = ("debug", "log_handler", "max_retries", "proxies", "sync_mode", "thread")
"""Options of the family that become something else than one option of the client."""
OWN = tuple(
    name for name in inspect.signature(Client).parameters if name not in NAMES.values() and name != "strict"
)
"""Options of the client that the family has no name for. A face takes them, too: *persistence* brings a durable queue."""

_USUAL: Mapping[str, Any] = {
    "max_queue_size": 10_000,
    "send": True,
    "timeout": 15,
    "upload_size": 100,
    "upload_interval": 0.5,
}
"""What the family does unless told otherwise. The environment goes before it, and a program before the environment."""
_USUAL_JOBS = JobOpts(max_attempts=11, concurrency=1)


class Translated(NamedTuple):
    """
    Options of the family, as the client takes them.

    Args:
        options: Of the client.
        jobs: How patiently events are tried.
    """

    options: dict[str, Any]
    jobs: JobOpts


def check_names(names: Mapping[str, Any], face: str) -> None:
    """Raise ``ConfigError`` for the first of *names* that no option of *face* has. It says what to use in its place."""
    for name in names:
        if name in (*NAMES, *OTHERS, *OWN):
            continue
        theirs = next((theirs for theirs, ours in NAMES.items() if ours == name), None)
        if theirs is not None:
            raise ConfigError(f"unknown option {name!r} in {face}: it is called {theirs!r} here")
        found = find_elsewhere(name)
        if found is not None and not found.option:
            raise ConfigError(f"unknown option {name!r} in {face}: {found.instead}")
        reject_unknown({name: None}, [*NAMES, *OTHERS, *OWN], face)


def translate(peer: Peer, given: Mapping[str, Any], own: Mapping[str, Any]) -> Translated:
    """
    Return the options of the client.

    Args:
        peer: The SDK.
        given: Each of its options that can be had here.
        own: Options of the client that the SDK does not have.

    Raises:
        AssertionError: There is no write key, as the family has it.
        ConfigError: An option cannot be had, or there is no address of a data plane.
    """
    check_names(own, peer.face)
    options: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    usual = {**_USUAL, "gzip": peer.gzip}
    for theirs, ours in NAMES.items():
        if theirs not in usual or given[theirs] != usual[theirs] or not _read_variable(ours):
            options[ours] = given[theirs]
    for name in ("max_event_bytes", "max_batch_bytes"):
        if not _read_variable(name):
            options.setdefault(name, getattr(peer, name))
    options["on_error"] = given["on_error"] or None
    _read_address(options, peer.face)
    if given["proxies"]:
        if options.get("proxy"):
            raise ConfigError("give either proxies or proxy, not both")
        options["proxy"] = _proxy_of(given["proxies"], options["data_plane_url"])
    return Translated(options, _jobs_of(given))


def _read_variable(option: str) -> str | None:
    """Return what the environment says of an option of the client; ``None`` where it says nothing."""
    return os.environ.get(f"EVENTSPOOL_{option.upper()}") or None


def _read_address(options: dict[str, Any], face: str) -> None:
    """Take from the environment what the program does not say. An address of another SDK's vendor is never assumed."""
    if options["write_key"] is None:
        options["write_key"] = _read_variable("write_key")
    if options["write_key"] is None:
        raise AssertionError("write_key must be str, not NoneType")
    options["data_plane_url"] = options["data_plane_url"] or _read_variable("data_plane_url")
    if not options["data_plane_url"]:
        where = "set host, or EVENTSPOOL_DATA_PLANE_URL in the environment"
        raise ConfigError(f"{face} needs to know where the data plane is: {where}")


def _jobs_of(given: Mapping[str, Any]) -> JobOpts:
    try:
        return JobOpts(max_attempts=given["max_retries"] + 1, concurrency=given["thread"])
    except (TypeError, ConfigError):
        raise ConfigError("max_retries must be an integer of at least 0, and thread of at least 1") from None


def patient_as(queue: QueueOpts, jobs: JobOpts) -> QueueOpts:
    """Return *queue* with what the program says in *jobs*, unless the queue itself says otherwise."""
    said = {
        name: getattr(jobs, name)
        for name in ("max_attempts", "concurrency")
        if getattr(jobs, name) != getattr(_USUAL_JOBS, name)
        and getattr(queue.jobs, name) == getattr(JobOpts(), name)
    }
    return replace(queue, job_opts=replace(queue.jobs, **said))


def _proxy_of(proxies: Any, url: str) -> str:
    """Return the proxy for *url* of *proxies*: a URL, or a mapping as of ``requests``."""
    if isinstance(proxies, dict):
        parts = urlsplit(url)
        keys = (f"{parts.scheme}://{parts.hostname}", parts.scheme, f"all://{parts.hostname}", "all")
        proxies = next((proxies[key] for key in keys if proxies.get(key)), "")
    if not isinstance(proxies, str):
        raise ConfigError(
            f"proxies must be a mapping of schemes to URLs, or a URL, not {type(proxies).__name__}"
        )
    return proxies if not proxies or "://" in proxies else f"http://{proxies}"
