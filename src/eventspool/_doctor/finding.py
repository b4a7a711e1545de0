"""What a check has to say."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Severity", "error", "note", "warning"]


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Events are not delivered, or can be lost or read by others, as things are now."""
    WARNING = "warning"
    """Events flow, but will not for long, or not after the next restart."""
    NOTE = "note"
    """Something could not be checked. The operator need not act."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that is not as it should be.

    Args:
        check: The check that found it, as a word for programs: ``redis.eviction``.
        severity: How bad it is.
        what: What is the case, in one sentence. Never holds an event, a write key or a password.
        action: What to do, in one sentence.
    """

    check: str
    severity: Severity
    what: str
    action: str


def error(check: str, what: str, action: str) -> Finding:
    """Return a finding that costs events now."""
    return Finding(check, Severity.ERROR, what, action)


def warning(check: str, what: str, action: str) -> Finding:
    """Return a finding that will cost events."""
    return Finding(check, Severity.WARNING, what, action)


def note(check: str, what: str, action: str) -> Finding:
    """Return what could not be checked."""
    return Finding(check, Severity.NOTE, what, action)
