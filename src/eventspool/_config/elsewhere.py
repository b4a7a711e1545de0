"""
What other SDKs call an option, so that ``ConfigError`` can answer a name of theirs with ours.

One table for those of the Segment family (Python and Node) and of PostHog. The pages in docs/migration are tested against it.
A name stands in the form ``snake_case``: ``flushAt`` of a Node SDK is looked up as ``flush_at``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ELSEWHERE", "Elsewhere", "find_elsewhere", "hint_at", "in_snake_case"]


class Elsewhere(NamedTuple):
    """
    Our answer to an option of another SDK.

    Args:
        option: Our option that does the same; "" where none does.
        instead: A sentence for where *option* cannot be given right there, or where there is none.
        note: What its value means here, where a program that changed the name alone would give a wrong one.
    """

    option: str
    instead: str = ""
    note: str = ""


_NO_EQUIVALENT = "no equivalent: "
_LOGGING = (
    _NO_EQUIVALENT + 'eventspool logs to logging.getLogger("eventspool"); set its level and its handlers'
)
_OAUTH = _NO_EQUIVALENT + "eventspool authenticates with the write key alone"
_HTTP = _NO_EQUIVALENT + "eventspool has its own HTTP client; it has proxy=…, ca_file=… and timeout=…"
_JOB = "give it in job_opts of the queue, persistence={{'url': …, 'job_opts': {{{0!r}: …}}}}; {1}"
_ATTEMPTS = _JOB.format("max_attempts", "without a queue an event is tried 10 times")
_CONCURRENCY = _JOB.format("concurrency", "without a queue 8 requests are in flight at most")
_FIRST = "it counts the first attempt, too"
_SECONDS = "it is in seconds"
_NEGATED = "it means the contrary"
_PRODUCT = _NO_EQUIVALENT + "eventspool sends events and has no other product of PostHog"
_GIVE_UP = (
    _NO_EQUIVALENT
    + "a job is given up after job_opts' max_attempts, and not before it is retry_for seconds old"
)

ELSEWHERE: dict[str, Elsewhere] = {
    # the Python SDKs of the Segment family
    "host": Elsewhere("data_plane_url"),
    "max_queue_size": Elsewhere("max_internal_queue_size"),
    "upload_size": Elsewhere("flush_at"),
    "upload_interval": Elsewhere("flush_interval"),
    "max_retries": Elsewhere("max_attempts", _ATTEMPTS, _FIRST),
    "send": Elsewhere("enable"),
    "sync_mode": Elsewhere(
        "", "give durability='persisted' with persistence=…, or call flush() after each event"
    ),
    "debug": Elsewhere("", _LOGGING),
    "log_handler": Elsewhere("", _LOGGING),
    "thread": Elsewhere("concurrency", _CONCURRENCY),
    "proxies": Elsewhere("proxy"),
    "max_total_backoff_duration": Elsewhere("", _GIVE_UP),
    "max_rate_limit_duration": Elsewhere("", _NO_EQUIVALENT + "Retry-After is honoured, for an hour at most"),
    # the Node SDKs
    "data_plane": Elsewhere("data_plane_url"),
    "data_plane_url": Elsewhere("data_plane_url"),
    "endpoint": Elsewhere("data_plane_url"),
    "max_events_in_batch": Elsewhere("flush_at"),
    "max_batch_size": Elsewhere("flush_at"),
    "retry_count": Elsewhere("max_attempts", _ATTEMPTS, _FIRST),
    "flush_interval": Elsewhere("flush_interval", "", _SECONDS),
    "http_request_timeout": Elsewhere("timeout", "", _SECONDS),
    "error_handler": Elsewhere("on_error"),
    "disable": Elsewhere("enable", "", _NEGATED),
    "disabled": Elsewhere("enable", "", _NEGATED),
    "log_level": Elsewhere("", _LOGGING),
    "http_client": Elsewhere("", _HTTP),
    "flush_override": Elsewhere("", _NO_EQUIVALENT + "eventspool itself sends what it has stored"),
    # PostHog
    "api_key": Elsewhere("write_key"),
    "project_api_key": Elsewhere("write_key"),
    "super_properties": Elsewhere(
        "", "give them to eventspool.context(properties=…) or eventspool.bind(properties=…)"
    ),
    "disable_geoip": Elsewhere("", _NO_EQUIVALENT + "the data plane decides what it makes of an address"),
    "historical_migration": Elsewhere(
        "", _NO_EQUIVALENT + "give each event its timestamp; `eventspool send` takes files"
    ),
    # what HTTP libraries call it
    "http_proxy": Elsewhere("proxy"),
    "https_proxy": Elsewhere("proxy"),
    "verify": Elsewhere("ca_file"),
    "ca_bundle": Elsewhere("ca_file"),
}
_BEGINNINGS: dict[str, Elsewhere] = {
    "oauth": Elsewhere("", _OAUTH),
    "axios": Elsewhere("", _HTTP),
    **dict.fromkeys(
        (
            "app_host",
            "capture_",
            "code_variables_",
            "email_",
            "enable_exception_",
            "enable_full_ai_",
            "enable_local_evaluation",
            "exception_autocapture_",
            "feature_flag",
            "flag_",
            "in_app_modules",
            "is_server",
            "log_captured_exceptions",
            "metrics",
            "migrated_from",
            "personal_api_key",
            "poll_interval",
            "privacy_mode",
            "project_root",
            "secret_key",
            "traces",
        ),
        Elsewhere("", _PRODUCT),
    ),
}
"""How names begin that have one answer."""


def in_snake_case(name: object) -> str:
    """Return *name*, which may be in ``camelCase``, in the form that options have here."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", str(name)).lower()


def find_elsewhere(name: str) -> Elsewhere | None:
    """Return our answer to *name*; ``None`` for one that no other SDK is known to have."""
    name = in_snake_case(name)
    found = ELSEWHERE.get(name)
    if found is None:
        found = next((each for begin, each in _BEGINNINGS.items() if name.startswith(begin)), None)
    return found


def hint_at(name: str, known: Collection[str]) -> str:
    """Return what to say to *name* where the options *known* may be given; "" where no other SDK has it."""
    found = find_elsewhere(name)
    if found is None:
        return ""
    if found.option in known:
        return f"did you mean {found.option!r}?{f' ({found.note})' if found.note else ''}"
    if not found.instead or "write_key" not in known:  # here are the options of a queue, or the like
        return ""
    return f"{found.instead} ({found.note})" if found.note else found.instead
