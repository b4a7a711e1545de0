"""One accepted connection, request by request: read, decide, note in the ledger, answer."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from eventspool._dataplane.intake import Batch, event_error, read_request
from eventspool._dataplane.ledger import RequestRecord
from eventspool._dataplane.wire import Answer, Head, Refused, Wire
from eventspool._events.decoding import json_text

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from eventspool._dataplane.faults import Decision, FaultScript
    from eventspool._dataplane.ledger import Ledger
    from eventspool._dataplane.rules import Rule

__all__ = ["Exchange", "Settings", "json_answer", "refusal"]

_KEPT_HEADERS = ("user-agent", "content-type", "content-encoding")


@dataclass(frozen=True, slots=True)
class Settings:
    """How strict the data plane is; see ``DataPlane`` for the meanings."""

    write_key: str | None = field(repr=False)
    path: str
    partial_failures: bool
    max_body_bytes: int
    max_inflated_bytes: int
    paths: Mapping[str, str | None] = field(default_factory=dict)
    """Where events are posted, and the type of those that come alone; see ``paths_of``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a request, and which of its events count as received."""

    answer: Answer
    accepted: tuple[int, ...] = ()
    rejected: int = 0


def json_answer(status: int, body: Mapping[str, Any], *headers: tuple[str, str]) -> Answer:
    """Return *body* as a JSON response."""
    return Answer(status, json_text(body, ascii_only=True).encode(), headers)


def refusal(refused: Refused, *headers: tuple[str, str]) -> Answer:
    """Return the JSON response that tells of *refused*, with the event's index where it is about one."""
    body: dict[str, Any] = {"ok": False, "message": refused.message}
    if refused.index is not None:
        body["index"] = refused.index
    return json_answer(refused.status, body, *headers)


def judge(batch: Batch | Refused, settings: Settings, unwanted: Mapping[int, str], *, whole: bool) -> Outcome:
    """
    Answer *batch* on its merits. Pure.

    Args:
        batch: The events, or why they could not be read.
        settings: The data plane's options.
        unwanted: Events that a fault rejects: message by position.
        whole: One unwanted event refuses the whole batch.
    """
    if isinstance(batch, Refused):
        challenge = (("WWW-Authenticate", 'Basic realm="data plane"'),) if batch.status == 401 else ()
        return Outcome(refusal(batch, *challenge))
    errors: dict[int, str] = {}
    for index, event in enumerate(batch.events):
        error = event_error(event)
        if error is not None and not settings.partial_failures:
            return Outcome(refusal(Refused(400, error, index)))
        message = error or unwanted.get(index)
        if message is not None:
            if whole and error is None:
                return Outcome(refusal(Refused(400, message, index)))
            errors[index] = message
    accepted = tuple(index for index in range(len(batch.events)) if index not in errors)
    if not errors:
        return Outcome(_OK, accepted)
    named = [{"index": index, "message": message} for index, message in errors.items()]
    return Outcome(json_answer(200, {"ok": False, "errors": named}), accepted, len(errors))


def scripted_answer(rule: Rule, now: float) -> Answer | None:
    """Return what *rule* answers by itself at *now* (epoch seconds), ``None`` where it has no answer."""
    if rule.redirect is not None:
        return Answer(302, headers=(("Location", rule.redirect),))
    if rule.max_events is not None or rule.max_bytes is not None:
        return json_answer(413, {"ok": False, "message": "the batch is too large"})
    if rule.status is None:
        return None
    headers: tuple[tuple[str, str], ...] = ()
    if rule.retry_after is not None:
        wait = rule.retry_after if isinstance(rule.retry_after, str) else f"{rule.retry_after:g}"
        headers = (("Retry-After", wait),)
    elif rule.retry_after_date is not None:
        headers = (("Retry-After", formatdate(now + rule.retry_after_date, usegmt=True)),)
    if rule.status in (204, 304):  # these have no body, and a client would read one as the next answer
        return Answer(rule.status, headers=headers)
    if rule.body is not None:
        kind = "application/json" if rule.body.startswith(("{", "[")) else "text/plain; charset=utf-8"
        return Answer(rule.status, rule.body.encode(), headers, kind)
    return json_answer(rule.status, {"ok": 200 <= rule.status < 300, "message": "scripted"}, *headers)


_OK = json_answer(200, {"ok": True})


class Exchange:
    """
    Serves the data plane's path on one connection.

    Args:
        wire: The connection.
        ordinal: Its number.
        settings: The data plane's options.
        ledger: Where arrivals are noted.
        stopping: Set when the server stops: ends every wait.
    """

    def __init__(
        self, wire: Wire, ordinal: int, settings: Settings, ledger: Ledger, stopping: threading.Event
    ) -> None:
        self._wire = wire
        self._ordinal = ordinal
        self._settings = settings
        self._ledger = ledger
        self._stopping = stopping

    def serve(self, head: Head, script: FaultScript, elapsed: float) -> bool:
        """Answer one request whose headers were read; return whether the connection can serve another one."""
        early = script.before_body(elapsed)
        if early is not None:
            self._note(head, None, fault=early)
            self._wire.reset()
            return False
        try:
            body = self._wire.read_body(head, self._settings.max_body_bytes)
        except Refused as refused:
            self._note(head, refused.status)
            self._wire.send_answer(refusal(refused), keep_alive=False)
            return False
        batch = self._read(head, body)
        events = [] if isinstance(batch, Refused) else batch.events
        return self._answer(head, body, batch, script.decide(elapsed, events, len(body)))

    def _read(self, head: Head, body: bytes) -> Batch | Refused:
        try:
            return read_request(
                head.headers,
                body,
                self._settings.write_key,
                self._settings.max_inflated_bytes,
                self._settings.paths.get(head.path),
            )
        except Refused as refused:
            return refused

    def _answer(self, head: Head, body: bytes, batch: Batch | Refused, decision: Decision) -> bool:
        rule = decision.rule
        unwanted = dict.fromkeys(decision.matched, "rejected by a fault rule") if rule and rule.reject else {}
        outcome = judge(batch, self._settings, unwanted, whole=bool(rule and rule.reject == "batch"))
        silent = rule is not None and (rule.hang is not None or rule.drop is not None)
        scripted = scripted_answer(rule, time.time()) if rule else None
        if (silent or scripted) and rule and not rule.record:
            outcome = Outcome(outcome.answer)
        answer = scripted or outcome.answer
        # Noted before it is answered: a test that has read an answer must find its request in the ledger.
        self._note(head, None if silent else answer.status, body, batch, outcome, rule)
        if decision.latency and self._stopping.wait(decision.latency):
            return False
        if rule is not None and rule.hang is not None:
            self._wire.wait_for_client(rule.hang)
            return False
        if rule is not None and rule.drop == "after":
            self._wire.reset()
            return False
        data = answer.encode(keep_alive=head.keep_alive)
        if rule is not None and rule.drop == "half":
            self._wire.send(data[: len(data) // 2])
            return False
        if decision.drip:
            for position in range(len(data)):
                self._wire.send(data[position : position + 1])
                if self._stopping.wait(decision.drip):
                    return False
        else:
            self._wire.send(data)
        return head.keep_alive

    def _note(
        self,
        head: Head,
        status: int | None,
        body: bytes = b"",
        batch: Batch | Refused | None = None,
        outcome: Outcome | None = None,
        fault: Rule | None = None,
    ) -> None:
        read = batch if isinstance(batch, Batch) else None
        accepted = outcome.accepted if outcome else ()
        self._ledger.note(
            RequestRecord(
                time=time.time(),
                status=status,
                events=len(read.events) if read else None,
                recorded=len(accepted),
                body_bytes=len(body),
                sent_at=read.sent_at if read else None,
                fault=str(fault) if fault else None,
                connection=self._ordinal,
                message_ids=_message_ids(read.events) if read else (),
                headers={k: v for k, v in head.headers.items() if k in _KEPT_HEADERS or k.startswith("x-")},
            ),
            [(read.events[i], read.raw[i]) for i in accepted] if read else (),
            rejected=outcome.rejected if outcome else 0,
            inflated_bytes=read.inflated_bytes if read else 0,
        )


def _message_ids(events: list[Any]) -> tuple[str, ...]:
    ids = (event.get("messageId") for event in events if isinstance(event, dict))
    return tuple(i for i in ids if isinstance(i, str))


def close_politely(wire: Wire, refused: Refused) -> None:
    """Answer a client whose request could not be read: say what was wrong with it."""
    with suppress(OSError):
        wire.send_answer(refusal(refused), keep_alive=False)
