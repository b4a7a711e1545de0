"""
The sentence at the top of the page: whether events flow, and if not, what to do. Pure.

The rules are in the order of their gravity, and the first that applies gives the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._operate.answers import is_refusal
from eventspool._operate.diagnosis import Severity
from eventspool._operate.figures import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._dashboard.history import Look
    from eventspool._operate.diagnosis import Trouble

__all__ = ["Verdict", "judge"]

_OLD_SECONDS = 60.0
_STILL_SECONDS = 1.0
_QUICK_SECONDS = 0.5
_BEFORE_ANSWERS = ("queue.paused", "plane.throttled")
"""Warnings that explain why requests fail, or are not made."""
_LAST = ("queue.failed", "queue.unreadable", "queue.age")
"""What the rules below say in figures."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Args:
        level: ``ok``, ``idle``, ``warn`` or ``bad``.
        title: One short sentence.
        detail: The facts behind it.
        hint: What the operator can do, or "".
        code: Which trouble it is, as all tools name it, or "".
    """

    level: str
    title: str
    detail: str
    hint: str = ""
    code: str = ""


def judge(look: Look, out: float | None = None) -> Verdict:
    """Return the verdict on one look at the queue; *out*: events delivered per second just now, where known."""
    stats = look.stats
    pending = stats.waiting.events + stats.delayed.events + stats.leased.events
    waits = f"{format_count(pending, 'event')} in the queue"
    good = sum(count for status, count in look.answers.items() if status.startswith("2"))
    bad = sum(look.answers.values()) - good
    worst = next((each for each in look.troubles if each.severity is not Severity.NOTE), None)
    if worst is not None and (worst.severity is Severity.ERROR or worst.code in _BEFORE_ANSWERS):
        is_error = worst.severity is Severity.ERROR
        return _tell_of(worst, "bad" if is_error else "warn", f"{waits}. " if pending else "")
    if bad and not good and pending:
        return Verdict(
            "bad", "Every request fails", f"{waits}. {_answers(look.answers)}", _outlook(look.answers)
        )
    if bad and pending:
        return Verdict(
            "warn", "Some requests fail", f"{waits}. {_answers(look.answers)}", _outlook(look.answers)
        )
    if _stands_still(look, out) and pending:
        return Verdict(
            "warn",
            "Nothing is being delivered",
            f"{waits}, the oldest for {stats.oldest_age:.1f} s.",
            "They wait.",
        )
    if stats.delayed.jobs:
        return Verdict(
            "warn",
            "Deliveries are retried",
            f"{waits}, {stats.delayed.events:,} of them behind a failed attempt.",
        )
    if worst is not None and worst.code not in _LAST:
        return _tell_of(worst, "warn", f"{waits}. " if pending else "")
    if stats.oldest_age > _OLD_SECONDS:
        return Verdict(
            "warn", "Delivery is behind", f"{waits}.", "More processors, or more concurrency, would catch up."
        )
    if stats.failed.jobs:
        return Verdict(
            "warn",
            f"{format_count(stats.failed.events, 'event')} failed for good",
            f"In {format_count(stats.failed.jobs, 'job')}, which will not be sent again by "
            f"{'itself' if stats.failed.jobs == 1 else 'themselves'}.",
            "Look at them, then retry, export or purge.",
        )
    if pending or out:
        return Verdict("ok", "Events flow", f"{waits}." if pending else "All that came was delivered.")
    if not look.processors:
        missing = next((each for each in look.troubles if each.code == "queue.missing"), None)
        if missing is not None:
            cause, remedy = _sentence(missing.cause), _sentence(missing.remedy)
            return Verdict("warn", "The queue is empty", cause, remedy, missing.code)
        return Verdict("idle", "The queue is empty", "No processor is running, and nothing waits for one.")
    return Verdict("ok", "All is delivered", "The queue is empty.")


def _tell_of(trouble: Trouble, level: str, before: str) -> Verdict:
    return Verdict(
        level, trouble.title, before + _sentence(trouble.cause), _sentence(trouble.remedy), trouble.code
    )


def _stands_still(look: Look, out: float | None) -> bool:
    """Say whether nothing is delivered although requests are quick. It shows before the next heartbeat of a processor."""
    medians = [p.latency_p50 for p in look.processors if p.latency_p50 is not None]
    quick = bool(medians) and max(medians) < _QUICK_SECONDS
    return quick and out == 0 and look.stats.oldest_age > _STILL_SECONDS


def _answers(answers: Mapping[str, int]) -> str:
    """Name the answers other than success, most frequent first."""
    bad = sorted(((n, status) for status, n in answers.items() if not status.startswith("2")), reverse=True)
    return f"Recent answers: {', '.join(f'{status} ({n:,})' for n, status in bad[:3])}." if bad else ""


def _outlook(answers: Mapping[str, int]) -> str:
    """Say what becomes of the events: a data plane refuses the same events again, but recovers from other trouble."""
    bad = {status for status in answers if not status.startswith("2")}
    refused = set(filter(is_refusal, bad))
    if refused == bad:
        return "Events that it refuses end up in Failures."
    return (
        "They are retried." if not refused else "They are retried; events that it refuses end up in Failures."
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")
