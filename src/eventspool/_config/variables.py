"""
The variables of the environment that eventspool reads: one table, for programs, the command line, doctor and the reference.

It is made from the fields of the options, so that an option that is added has its variable at once. No message repeats a
variable's text, which may be a secret that stands in the wrong place. Pure: the environment comes in as a mapping.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from eventspool._config.checks import PREFIX
from eventspool._config.client import ClientOpts
from eventspool._config.queue import JobOpts, QueueOpts
from eventspool._config.redis_opts import RedisOpts
from eventspool._config.stores import parse_queue_url
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "COMMANDS",
    "Form",
    "Unknown",
    "Variable",
    "find_unknown",
    "is_link",
    "list_variables",
    "variable_for",
    "variable_of",
]

_OWNERS: dict[str, Any] = {
    "Client": ClientOpts,
    "QueueOpts": QueueOpts,
    "JobOpts": JobOpts,
    "RedisOpts": RedisOpts,
}
_NAMED_OTHERWISE = {"persistence": "QUEUE", "is_multi_processor": "MULTI"}
_SAID_BY_QUEUE = "url"
"""The option of ``QueueOpts`` and ``RedisOpts`` for which EVENTSPOOL_QUEUE stands already."""
_FLAGS = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True) | dict.fromkeys(
    ("0", "false", "f", "no", "n", "off"), False
)
"""What the command line understands, too."""

COMMANDS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "CONFIG",
        "DASHBOARD_ALLOW_HOST",
        "DASHBOARD_DATAPLANE",
        "DASHBOARD_HOST",
        "DASHBOARD_PORT",
        "DASHBOARD_READ_ONLY",
        "DASHBOARD_TOKEN",
        "DASHBOARD_TOKENS",
        "GRACE",
        "HEALTH_HOST",
        "HEALTH_PORT",
        "LOG_FORMAT",
        "METRICS_HOST",
        "METRICS_PORT",
        "PROFILE",
    )
)
"""What only commands read; `eventspool COMMAND --help` says what each means."""
_OURS = re.compile(rf"{PREFIX}(ACTOR|DEBUG|REDIS_SERVER|FORKS|KILL_SEED|(TEST|FUZZ|FUZZED)_\w+)")
"""Who acts (in the trail), the switch for tracebacks, the server of `eventspool demo --redis`, and what our own tests read."""
_LINK_NAME = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+)")
_LINK_TEXT = re.compile(r"(tcp|udp|sctp)://")
"""What Kubernetes and Docker set by themselves for a service that is named ``eventspool`` or ``eventspool-…``."""
_NEAR = 0.6


class Form(enum.StrEnum):
    """How the text of a variable is read."""

    TEXT = "text"
    WHOLE = "a whole number"
    NUMBER = "a number"
    FLAG = "1 or 0, true or false, yes or no, on or off"


@dataclass(frozen=True, slots=True)
class Variable:
    """
    One variable of the environment that gives an option.

    Args:
        name: Its name.
        option: The option that it gives.
        owner: What has that option: ``Client``, ``QueueOpts``, ``JobOpts`` or ``RedisOpts``.
        form: How its text is read.
    """

    name: str
    option: str
    owner: str
    form: Form

    def read(self, text: str) -> Any:
        """Return the option's value. Raises ``ConfigError``, which names the variable and does not repeat *text*."""
        try:
            if self.form is Form.FLAG:
                return _FLAGS[text.strip().lower()]
            if self.form is Form.WHOLE:
                return int(text)
            if self.form is Form.NUMBER:
                return float(text)
        except (KeyError, ValueError):
            raise ConfigError(f"{self.name} must be {self.form}") from None
        if self.option == "persistence":
            try:
                parse_queue_url(text)
            except ConfigError as error:
                raise ConfigError(f"{self.name}: {error}") from None
        return text


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    A variable that begins like ours, and that nothing reads.

    Args:
        name: Its name.
        near: The known name that is nearest to it; "" where none is near.
    """

    name: str
    near: str = ""
    sentence: str = field(init=False, compare=False)
    """What is wrong, for the log."""

    def __post_init__(self) -> None:
        hint = f": did you mean {self.near}?" if self.near else ""
        object.__setattr__(self, "sentence", f"eventspool has no variable {self.name}{hint}")


@cache
def list_variables() -> tuple[Variable, ...]:
    """Return every variable that gives an option, in the order of the options."""
    found = [Variable(f"{PREFIX}QUEUE", "persistence", "Client", Form.TEXT)]
    for owner, kind in _OWNERS.items():
        for option, declared in get_type_hints(kind).items():
            form = _form_of(declared)
            if form is not None and option != _SAID_BY_QUEUE:
                found.append(
                    Variable(f"{PREFIX}{_NAMED_OTHERWISE.get(option, option.upper())}", option, owner, form)
                )
    return tuple(found)


@cache
def _by_option() -> Mapping[tuple[str, str], Variable]:
    return {(each.owner, each.option): each for each in list_variables()}


def variable_for(owner: str, option: str) -> Variable:
    """Return the variable that gives *option* of *owner*."""
    return _by_option()[owner, option]


def variable_of(option: str) -> str:
    """Return the name of the variable that gives *option*."""
    return next(each.name for each in list_variables() if each.option == option)


def _form_of(declared: object) -> Form | None:
    """Return how a text becomes an option that is *declared* so; ``None`` where no text can, as for a callable."""
    kinds = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
    for kind, form in ((bool, Form.FLAG), (float, Form.NUMBER), (int, Form.WHOLE)):
        if kind in kinds:
            return form
    textual = any(
        get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, str)) for kind in kinds
    )
    return Form.TEXT if textual else None


def find_unknown(environ: Mapping[str, str]) -> list[Unknown]:
    """Return the variables in *environ* that begin like ours, and that nothing reads: they may be misspelt."""
    begun = [name for name in environ if name.startswith(PREFIX)]
    if not begun:
        return []
    known = {each.name for each in list_variables()} | COMMANDS
    return [
        Unknown(name, _nearest(name, known))
        for name in begun
        if name not in known and not _OURS.fullmatch(name) and not is_link(name, environ[name])
    ]


def _nearest(name: str, known: Collection[str]) -> str:
    import difflib  # rarely needed: most names are right

    word = name.removeprefix(PREFIX)
    if word.lower() in _NAMED_OTHERWISE:
        return f"{PREFIX}{_NAMED_OTHERWISE[word.lower()]}"
    words = sorted(each.removeprefix(PREFIX) for each in known)
    return "".join(
        f"{PREFIX}{near}" for near in difflib.get_close_matches(word.upper(), words, n=1, cutoff=_NEAR)
    )


def is_link(name: str, text: str) -> bool:
    """Say whether Kubernetes or Docker has set the variable, for a service by our name."""
    return bool(_LINK_NAME.fullmatch(name) or (name.endswith("_PORT") and _LINK_TEXT.match(text)))
