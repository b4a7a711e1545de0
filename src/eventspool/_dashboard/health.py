"""
The sentence at the top of the page: whether events flow, and if not, what to do. Pure.

The rules are in the order of their gravity, and the first that applies gives the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._operate.answers import is_refusal
from eventspool._operate.figures import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._dashboard.history import Look

__all__ = ["Verdict", "judge"]

_OLD_SECONDS = 60.0
_STILL_SECONDS = 1.0
_QUICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Args:
        level: ``ok``, ``idle``, ``warn`` or ``bad``.
        title: One short sentence.
        detail: The facts behind it.
        hint: What the operator can do, or "".
    """

    level: str
    title: str
    detail: str
    hint: str = ""


def judge(look: Look, out: float | None = None) -> Verdict:
    """Return the verdict on one look at the queue; *out*: events delivered per second just now, where known."""
    stats = look.stats
    pending = stats.waiting.events + stats.delayed.events + stats.leased.events
    waits = f"{format_count(pending, 'event')} in the queue"
    good = sum(count for status, count in look.answers.items() if status.startswith("2"))
    bad = sum(look.answers.values()) - good
    halted = [p for p in look.processors if p.paused]
    away = sum(each.away for each in look.partitions)
    if away:
        return Verdict(
            "bad",
            f"{away} of {format_count(len(look.partitions), 'partition')} cannot be reached",
            f"{waits} of the others. What is in it waits, and the others go on.",
            "Below is which server that is.",
        )
    if stats.paused:
        return Verdict("warn", "Delivery is paused", f"{waits}. Nothing is lost.", "Resume to go on.")
    if pending and not look.processors:
        return Verdict(
            "bad",
            "No processor is running",
            f"{waits}, and no process delivers them.",
            "Start one: eventspool worker",
        )
    if pending and halted and len(halted) == len(look.processors):
        why = next((p.last_error for p in halted if p.last_error), "")
        return Verdict(
            "bad",
            "The data plane takes no events",
            f"{waits}. {_sentence(why) or _answers(look.answers)}".strip(),
            "Processors probe it and go on by themselves. A refused write key needs you.",
        )
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
    if stats.oldest_age > _OLD_SECONDS:
        return Verdict(
            "warn", "Delivery is behind", f"{waits}.", "More processors, or more concurrency, would catch up."
        )
    if stats.failed.jobs:
        return Verdict(
            "warn",
            f"{format_count(stats.failed.jobs, 'job')} failed for good",
            f"{format_count(stats.failed.events, 'event')} will not be sent again by themselves.",
            "Look at them, then retry, export or purge.",
        )
    if pending or out:
        return Verdict("ok", "Events flow", f"{waits}." if pending else "All that came was delivered.")
    if not look.processors:
        return Verdict("idle", "The queue is empty", "No processor is running, and nothing waits for one.")
    return Verdict("ok", "All is delivered", "The queue is empty.")


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
