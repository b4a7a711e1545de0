"""What the answers mean that processors report to the queue: each is an HTTP status, or a word for having none."""

from __future__ import annotations

__all__ = ["is_refusal"]

_STATUS_DIGITS = 3


def is_refusal(answer: str) -> bool:
    """Say whether the data plane refused events, so that sending them again leads to the same answer."""
    return _verdict_on(answer) in ("split", "bisect", "rejected")


def _verdict_on(answer: str) -> str:
    # Imported here: `queue status` must be quick, and most queues need no verdict.
    from eventspool._delivery.verdict import DeliveryResult, judge

    # A processor of another version, or another program, wrote the text.
    is_status = len(answer) == _STATUS_DIGITS and answer.isdecimal()
    return judge(DeliveryResult(int(answer) if is_status else None)).value
