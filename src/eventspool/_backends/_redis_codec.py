"""How a job's record is written into Redis and read back. What somebody else damaged reads as zero or "unknown"."""

from __future__ import annotations

import json

from eventspool._job import Failure, Job, JobState, created_at_from_id

__all__ = ["decode_failure", "decode_job", "decode_text", "encode_failure"]


def decode_text(value: bytes | str) -> str:
    """Return *value* as text, from which the connection makes the same bytes again, whatever they are."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def encode_failure(failure: Failure) -> str:
    """Return the JSON without its closing brace: the script adds what only it knows."""
    indices = None if failure.indices is None else list(failure.indices)
    known = {"reason": failure.reason, "error": failure.error[:500]}
    return json.dumps({**known, "indices": indices, "status": failure.status})[:-1]


def decode_failure(stored: bytes | str) -> tuple[Failure, int]:
    """Return the failure and the attempts; damaged text gives a failure that says so."""
    try:
        info = json.loads(stored)
        indices, status = info.get("indices"), info.get("status")
        return Failure(
            str(info["reason"]),
            str(info["error"]),
            int(info["events"]),
            indices=None if indices is None else tuple(int(index) for index in indices),
            status=status if isinstance(status, int) else None,
        ), int(info.get("attempts", 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Failure("unknown", "the record of this failure is damaged", 0), 0


def decode_job(state: JobState, job_id: bytes, at: bytes, size: bytes, tries: bytes, info: bytes) -> Job:
    """Return a job from the five values that the script ``jobs`` gives of it."""
    name = decode_text(job_id)
    events, _, stored = size.partition(b":")
    failure, attempts = None, _number(tries.partition(b":")[0])
    if state is JobState.FAILED:
        failure, attempts = decode_failure(info)
    return Job(
        id=name,
        state=state,
        events=_number(events),
        bytes=_number(stored),
        attempts=attempts,
        reason=failure.reason if failure else None,
        error=failure.error if failure else None,
        created_at=created_at_from_id(name),
        next_attempt_at=None if failure else _number(at) / 1e6,
        failed_at=_number(at) / 1e6 if failure else None,
    )


def _number(digits: bytes) -> int:
    return int(digits) if digits.isdigit() and len(digits) <= 16 else 0
