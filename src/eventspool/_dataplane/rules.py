"""
One scripted fault: *when* (conditions, which must all hold) and *what* (exactly one action).

A rule is written as a JSON object, ``{"status": 503, "p": 0.2}``, or as text for the command line,
``status=503,p=0.2``. In text, ``latency=0.1..0.5`` is a range, and a bare word means true
(``outage,from=2,to=4``; ``reject,event=Poison``).

Actions:

    status          answer this status; with ``retry_after`` (seconds, or any text as it is),
                    ``retry_after_date`` (an HTTP date, N seconds from now), ``body`` (text)
    latency         answer N seconds late: a number, or [lowest, highest] to draw from; later rules
                    still apply
    drip            write the answer byte by byte, N seconds apart; later rules still apply
    drop            "before": reset the connection before the body is read; "after": once all of it was read,
                    without an answer; "half": in the middle of the answer
    hang            read all, answer nothing, until the client gives up or N seconds have passed
    outage          true: nothing listens, and open connections break; takes only ``from`` and ``to``
    redirect        answer 302 to this location
    reject          "batch": answer 400 to the whole batch that holds a matching event; "events": take the
                    others and answer 200 naming these; needs ``event`` (or, in Python, ``predicate``)
    max_events      answer 413 to a batch of more events
    max_bytes       answer 413 to a body of more bytes, as sent

Conditions:

    p               with this probability (seeded)
    every           each Nth request for which the other conditions hold
    next            the next N requests for which all other conditions hold, then never again
    from, to        in this window of seconds since the script was set (a later start counts instead)
    event           some event of the batch has this ``event``
    predicate       Python only: called with every event (a dict) until it returns true

``record``: true has the batch's events count as received although the answer says otherwise, or never comes:
the ambiguous case, in which a correct client sends them again. Faults come before authorisation and
validation; events that these would have refused are never recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from eventspool._config import reject_unknown, require_bool, require_number, require_text
from eventspool._exceptions import ConfigError

__all__ = ["ACTIONS", "Rule", "parse_rule"]

ACTIONS = (
    "status",
    "latency",
    "drip",
    "drop",
    "hang",
    "outage",
    "redirect",
    "reject",
    "max_events",
    "max_bytes",
)
_STATUS_OPTIONS = ("retry_after", "retry_after_date", "body")
_CHOICES = {"drop": ("before", "after", "half"), "reject": ("batch", "events")}
_INTEGERS = ("status", "max_events", "max_bytes", "every", "next")
_NUMBERS = ("hang", "drip", "p", "from", "to", "retry_after_date")
_LONGEST_SECONDS = 86_400
_TEXTS = ("redirect", "event", "body")
_BOOLEANS = ("outage", "record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault, as the module's docstring describes it; ``from`` is spelled ``from_`` here."""

    status: int | None = None
    latency: float | tuple[float, float] | None = None
    drip: float | None = None
    drop: str | None = None
    hang: float | None = None
    outage: bool = False
    redirect: str | None = None
    reject: str | None = None
    max_events: int | None = None
    max_bytes: int | None = None

    retry_after: float | str | None = None
    retry_after_date: float | None = None
    body: str | None = None
    record: bool = False

    p: float | None = None
    every: int | None = None
    next: int | None = None
    from_: float = 0.0
    to: float | None = None
    event: str | None = None
    predicate: Callable[[dict[str, Any]], bool] | None = None

    def __post_init__(self) -> None:
        given = self.as_dict()
        actions = [name for name in ACTIONS if name in given]
        if len(actions) != 1:
            found = " and ".join(actions) if actions else "none"
            raise ConfigError(f"a fault rule needs exactly one action of {', '.join(ACTIONS)}; found {found}")
        for name, value in given.items():
            _check(name, value)
        action = actions[0]
        for name in _STATUS_OPTIONS:
            if name in given and action != "status":
                raise ConfigError(f"{name} goes with status only, not with {action}")
        if self.retry_after is not None and self.retry_after_date is not None:
            raise ConfigError("give either retry_after or retry_after_date, not both")
        if action == "outage" and set(given) - {"outage", "from", "to"}:
            raise ConfigError("outage takes only from and to: nothing listens that could read a request")
        if action == "reject" and not self.selects_events:
            raise ConfigError("reject needs event: the name of the events to reject")
        if self.record and action in ("latency", "drip", "reject"):
            raise ConfigError(f"record does not go with {action}, whose answer says what was received")
        if self.drop == "before" and (self.selects_events or self.record):
            raise ConfigError(
                "drop=before never sees the events, so it takes neither event, predicate nor record"
            )
        if self.to is not None and self.to <= self.from_:
            raise ConfigError(f"to must be more than from ({self.from_:g}), not {self.to!r}")
        if self.predicate is not None and not callable(self.predicate):
            raise ConfigError("predicate must be callable")
        if isinstance(self.latency, list):
            object.__setattr__(self, "latency", tuple(self.latency))

    @property
    def action(self) -> str:
        """The one name of ``ACTIONS`` that this rule is about."""
        given = self.as_dict()
        return next(name for name in ACTIONS if name in given)

    @property
    def selects_events(self) -> bool:
        """Whether the rule looks at single events."""
        return self.event is not None or self.predicate is not None

    def matches(self, event: object) -> bool:
        """Whether *event* is one that the rule is about."""
        return (
            isinstance(event, dict)
            and (self.event is None or event.get("event") == self.event)
            and (self.predicate is None or bool(self.predicate(event)))
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, under the names of the JSON form."""
        return {
            f.name.rstrip("_"): getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    def __str__(self) -> str:
        return ",".join(_as_text(name, value) for name, value in self.as_dict().items())


_KNOWN = [f.name.rstrip("_") for f in fields(Rule) if f.name != "predicate"]


def parse_rule(given: Rule | Mapping[str, Any] | str) -> Rule:
    """
    Return the rule that *given* describes, as JSON object, text or rule.

    Raises:
        ConfigError: A key is unknown, a value is wrong, or they don't go together. The message names the key.
    """
    if isinstance(given, Rule):
        return given
    if isinstance(given, str):
        given = _parse_text(given)
    if not isinstance(given, Mapping):
        raise ConfigError(f"a fault rule must be an object or text, not {type(given).__name__}")
    reject_unknown(given, _KNOWN, "the fault rule")
    return Rule(**{"from_" if name == "from" else name: value for name, value in given.items()})


def _check(name: str, value: object) -> None:
    bounds = value if isinstance(value, (list, tuple)) else [value]
    if name in _INTEGERS:
        require_number(name, value, 0 if name == "max_bytes" else 1, integer=True)
    elif name in _NUMBERS:
        require_number(name, value, 0)
    elif name in _TEXTS:
        require_text(name, value)
    elif name in _BOOLEANS:
        require_bool(name, value)
    elif name in _CHOICES and value not in _CHOICES[name]:
        raise ConfigError(f"{name} must be {' or '.join(map(repr, _CHOICES[name]))}, not {value!r}")
    elif name == "latency":
        if isinstance(value, (list, tuple)) and len(value) != 2:
            raise ConfigError("latency must be a number of seconds or [lowest, highest]")
        for bound in bounds:
            require_number("latency", bound, 0)
        if bounds[0] > bounds[-1]:  # type: ignore[operator]
            raise ConfigError("latency must be [lowest, highest], in this order")
    elif name == "retry_after" and not isinstance(value, str):
        require_number("retry_after", value, 0)
    if name in (*_NUMBERS, "latency") and max(bounds) > _LONGEST_SECONDS:
        raise ConfigError(f"{name} must be at most a day")
    if name == "status" and not 200 <= value <= 599:  # type: ignore[operator]
        raise ConfigError(f"status must be from 200 to 599, not {value!r}")
    if name == "p" and value > 1:  # type: ignore[operator]
        raise ConfigError(f"p must be at most 1, not {value!r}")
    if name in ("redirect", "retry_after") and any(not " " <= c <= "~" for c in str(value)):
        raise ConfigError(f"{name} must be printable ASCII: it becomes a header")


_BARE: dict[str, Any] = {"outage": True, "record": True, "reject": "batch"}


def _parse_text(text: str) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        name, value = name.strip(), value.strip()
        if name in rule:
            raise ConfigError(f"{name} came twice in the fault rule")
        if not equals and name in _KNOWN:
            if name not in _BARE:
                raise ConfigError(f"{name} needs a value: {name}=…")
            rule[name] = _BARE[name]
        else:
            rule[name] = _parse_value(name, value)
    return rule


def _parse_value(name: str, text: str) -> Any:
    if name == "latency" and ".." in text:
        return [_number(part) for part in text.split("..")]
    if name in _BOOLEANS:
        return {"true": True, "false": False}.get(text.lower(), text)
    if name in _INTEGERS or name in _NUMBERS or name in ("latency", "retry_after"):
        return _number(text)
    return text


def _number(text: str) -> Any:
    """Return *text* as int or float; unchanged where it is neither, for the check to name."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _as_text(name: str, value: object) -> str:
    if value is True:
        return name
    if name == "latency" and isinstance(value, tuple):
        return f"latency={value[0]:g}..{value[1]:g}"
    return f"{name}=…" if callable(value) else f"{name}={value}"
