"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass

from eventspool._operate.diagnosis import Severity

__all__ = ["Finding", "Severity", "error", "note", "warning"]


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
