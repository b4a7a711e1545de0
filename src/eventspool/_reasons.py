"""Why events are refused, given up or lost: the words to group by, what each means, and what an operator does about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAILED", "LOST", "REFUSED", "Reason", "meaning_of"]


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One reason.

    Args:
        meaning: A whole sentence for people.
        advice: What to do about it, as the end of a sentence; "" where nothing helps.
        is_unreadable: No worker that runs now can read the batch.
    """

    meaning: str
    advice: str = ""
    is_unreadable: bool = False


FAILED = {
    "rejected": Reason(
        "The data plane refused these events; sent unchanged, it will again.",
        "mend what makes them, then `eventspool queue export --purge FILE`",
    ),
    "max_attempts": Reason(
        "The batch was tried as often as allowed.",
        "retry once the data plane is well; give workers --retry-for where it is down for longer than the attempts last",
    ),
    "stalled": Reason(
        "Each worker that sent them died before it had an answer, again and again.",
        "look at one, then retry",
    ),
    "too_large": Reason(
        "A single event is larger than the data plane takes.",
        "`eventspool queue export --purge FILE`",
    ),
    "corrupt": Reason(
        "The stored bytes are damaged, or were written by something else.",
        "export what can be read, then purge",
        is_unreadable=True,
    ),
    "unsupported": Reason(
        "A newer version of eventspool stored these.",
        "upgrade the workers, then `eventspool queue retry --reason unsupported`",
        is_unreadable=True,
    ),
    "encrypted": Reason(
        "No key that the workers have opens these.",
        "give them the key (EVENTSPOOL_ENCRYPTION_KEY), then `eventspool queue retry --reason encrypted`",
        is_unreadable=True,
    ),
    "missing": Reason(
        "The queue knows the job, but its payload is gone.",
        "find out what deletes keys or rows (an evicting Redis, a clean-up), then purge",
        is_unreadable=True,
    ),
    "imported": Reason(
        "A Node process had given the batch up before `eventspool queue import-bull` brought it here.",
        "look at why, then `eventspool queue retry --reason imported`",
    ),
    "unknown": Reason(
        "The record of why they failed is damaged.",
        "look at one, then retry",
    ),
}
"""Why a batch waits in the failed queue."""


def meaning_of(name: str) -> str:
    """Return what it means that a batch failed with the reason *name*, which another version may have given."""
    return FAILED[name].meaning if name in FAILED else "A reason of a version newer or older than this one."


REFUSED = {
    "invalid": Reason("An argument of the call is wrong."),
    "unencodable": Reason("A value in the event cannot be written as JSON."),
    "too_large": Reason("The event is larger than max_event_bytes."),
    "buffer_full": Reason("Memory holds as many events as it may."),
    "closed": Reason("The client is closed, or the process is exiting."),
    "no_queue": Reason(
        "There is no queue in which durability='persisted' or 'replicated' could store the event."
    ),
    "before_send": Reason("The client's before_send raised, or returned what is no event."),
    "starting": Reason("No thread can be started now, or the call has interrupted the making of the client."),
}
"""Why an event method returned ``None``."""

LOST = {
    "undelivered": Reason("The client closed before they were delivered, and had no durable queue."),
    "unstored": Reason("The client closed before they were stored in the queue."),
    "emptied": Reason("The queue that held them was emptied, deleted or replaced, or came back older."),
    "purged": Reason("An operator purged them from the queue."),
}
"""Why accepted events will never arrive."""
