"""
Writes docs/reference.md: `python tools/reference.py > docs/reference.md`.

What a program may rely on is said once, in signatures, docstrings and tables of the source. This page is made from them, and a
test compares the two, so the page can neither lack an option nor tell an old default.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import eventspool
from eventspool._cli.app import cli
from eventspool._config import SQLiteOpts
from eventspool._config.variables import COMMANDS, list_variables
from eventspool._delivery.verdict import MAX_RETRY_AFTER, DeliveryResult, Verdict, judge
from eventspool._events.arguments import MAX_MESSAGE_ID_CHARS
from eventspool._events.encoding import MAX_DEPTH
from eventspool._events.kinds import COMMON, KINDS
from eventspool._reasons import FAILED, LOST, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = {
    "Client": eventspool.Client,
    "QueueOpts": eventspool.QueueOpts,
    "JobOpts": eventspool.JobOpts,
    "RedisOpts": eventspool.RedisOpts,
    "SQLiteOpts": SQLiteOpts,
    "SpillOpts": eventspool.SpillOpts,
}
"""Title -> what has the options."""
VALUES = [
    "FlushResult",
    "ClientStats",
    "QueueStats",
    "Depth",
    "Job",
    "ProcessorInfo",
    "Distribution",
    "Erasure",
    "Look",
    "Action",
    "Pause",
]
ERRORS = [
    "EventSpoolError",
    "ConfigError",
    "EventError",
    "RefusedError",
    "DeliveryError",
    "QueueError",
    "QueueUnavailable",
]
DEFAULT_CLIENT = [*KINDS, "flush", "stats", "close"]
STORING = [f"{name}_persisted" for name in KINDS]
WAITING = ["create_persistence_queue", "flush", "close", "stats", "queue"]

OUTCOMES = {
    Verdict.DELIVERED: "The events are **delivered**, but for those that the answer names under `errors` or `results`: these"
    " go to the failed queue as `rejected`. An answer that says that something is wrong and names no event has the batch cut"
    " as after a 400. An answer that is cut off, or speaks of errors and cannot be read, counts as none: the batch is **tried"
    " again**.",
    Verdict.RETRY: "The batch is **tried again** after a backoff, and not before a `Retry-After` (at most"
    f" {MAX_RETRY_AFTER:,.0f} s) is over. It costs an attempt, unless the data plane is down for all batches. No redirection"
    " is followed.",
    Verdict.SPLIT: "The batch is **cut in halves**, and these again. An event that is too large alone goes to the failed queue"
    " as `too_large`.",
    Verdict.BISECT: "The batch is **cut in halves**, and these again, until a bad event stands alone. It goes to the failed"
    " queue as `rejected`; all others are delivered.",
    Verdict.UNAUTHORIZED: "The write key is refused. Nothing is given up and no attempt is counted: the processor **pauses**,"
    " and sends one probe at a time until the key is taken.",
    Verdict.REJECTED: "All events of the batch go to the **failed queue** as `rejected`."
    " Of several batches in one request, the others are delivered.",
}
"""What becomes of the events of one request."""

INTRO = f"""# Reference

Made from the source by `tools/reference.py`; edit the docstrings, not this page. Every public name is here. What
happens to events when something fails stands in [guarantees.md](guarantees.md), the command in [operations.md](operations.md),
metrics in [observability.md](observability.md). Public besides: `eventspool.testing` (a pytest plugin with the fixtures
`eventspool_capture` and `eventspool_dataplane`, and `QueueContract`: [testing.md](testing.md)), `eventspool.integrations`
([`django`](frameworks/django.md), [`asgi`](frameworks/fastapi.md), [`wsgi`](frameworks/flask.md),
[`celery`](frameworks/celery.md), [`aws_lambda`](frameworks/aws-lambda.md), `opentelemetry`, `prometheus`, `dashboard`)
and `eventspool.compat` ([`segment`](migration/segment.md), [`rudder`](migration/rudder.md),
[`htevents`](migration/htevents.md)).

## Events

Six methods of a client (and six functions, for the [default client](#the-default-client)) take an event. Each returns its
message id, or `None` when the event was [refused](#why-an-event-is-refused). Positions of the arguments are those of the
Segment family.

@KINDS@

- **Ids** (`user_id`, `anonymous_id`, `group_id`, `previous_id`) are strings, finite numbers or UUIDs. Every event needs a
  `user_id` or an `anonymous_id`; `alias` needs a `user_id` and takes no `anonymous_id`.
- **`timestamp`** is a `datetime`, ISO 8601 text or seconds since 1970; left out, it is now. **`message_id`** has 1 to
  {MAX_MESSAGE_ID_CHARS} characters; left out, one is made. **`callback(error, message_id)`** is called once, when the event is
  settled: with `None` when the data plane took it.
- **Values** are JSON's, and what stands for them: dates, times, `Decimal`, `UUID`, `Enum`, `bytes` (as base64), paths, sets
  (as lists), dataclasses, models of pydantic, attrs and msgspec, numpy's and pandas' scalars and arrays. NaN and infinities
  become `null`.
- **Keys** right among properties, traits, context and integrations are strings; further down a key may be a number, a date or
  the like, and is written as text. Two keys that become the same text refuse the event.
- At most {MAX_DEPTH} levels of lists and mappings, and at most `max_event_bytes` in all. `context.library` is always
  eventspool's.

## Options
"""


ENVIRONMENT = """## Options from the environment

Each of these variables gives an option to `Client`, `AsyncClient` and `init`, which read them when a client is made, to
`create_persistence_queue` and `open_queue`, and to the commands that have the option. An argument goes before the environment,
also `None` and one that is equal to the default; the environment goes before the default. A variable that is set to nothing
counts as not set.

- `EVENTSPOOL_QUEUE` gives a client its queue. The options of `QueueOpts`, `JobOpts` and `RedisOpts` apply where the queue is
  given by URL, by a mapping or by the environment. An instance of one of these classes says all its options itself.
- The options of `RedisOpts` stand beside the URL of a server, which goes before them. A password that is given in the call or
  in the URL is the only one.
- A value that cannot be read, or is out of bounds, is a `ConfigError` that names the variable and repeats no secret.
- A variable that begins with `EVENTSPOOL_` and is not in this table may be misspelt: `eventspool doctor` and, once in each
  process, the log name it, with the nearest name. What Kubernetes sets for a service that is called `eventspool` is passed
  over.
"""


def render() -> str:
    """Return the page."""
    parts = [INTRO.replace("@KINDS@", _kinds())]
    for title, owner in OPTIONS.items():
        parts.append(f"### {title}\n\n{_first_paragraph(owner)}\n\n{_options(owner)}\n")
    parts.append(f"{ENVIRONMENT}\n{_variables()}\n")
    parts.append(f"## What an answer of the data plane leads to\n\n{_outcomes()}\n")
    for title, reasons in (
        ("an event is refused", REFUSED),
        ("a batch fails", FAILED),
        ("an event is lost", LOST),
    ):
        parts.append(f"## Why {title}\n\n{_reasons(reasons)}\n")
    parts.append("## The client\n")
    parts += [_class("Client", [*KINDS, *WAITING]), _class("AsyncClient", [*STORING, *WAITING])]
    parts.append(f"## The default client\n\n{_function('init')}")
    names = ", ".join(f"`{name}`" for name in DEFAULT_CLIENT)
    parts.append(f"{names}: the default client's methods, as functions of `eventspool`.\n")
    parts.append("## What events take from their scope\n")
    parts += [_function(name) for name in ("context", "bind", "current")]
    parts.append(f"## The queue\n\n{_function('open_queue')}")
    parts.append(_class("Queue", [name for name in vars(eventspool.Queue) if not name.startswith("_")]))
    parts.append("## Values\n")
    parts += [_value(name) for name in VALUES]
    parts.append("`eventspool.__version__` is the version, as text.\n\n## Errors\n")
    parts += [_error(name) for name in ERRORS]
    return "\n".join(parts)


class Docstring(NamedTuple):
    """A Google-style docstring."""

    text: str
    arguments: dict[str, str]
    returns: str
    raises: dict[str, str]


def read_docstring(thing: Any) -> Docstring:
    """Return the parts of the docstring of *thing*, each meaning on one line."""
    text, *sections = re.split(r"\n\n(?=(?:Args|Returns|Raises):\n)", inspect.getdoc(thing) or "")
    found = dict(section.split(":\n", 1) for section in sections)
    returns = _inline(found.get("Returns", ""))
    return Docstring(
        _unquote(text), _entries(found.get("Args", "")), returns, _entries(found.get("Raises", ""))
    )


def _entries(section: str) -> dict[str, str]:
    """Return what a section says of each name."""
    entries = re.split(r"^    (?=\S)", section, flags=re.MULTILINE)[1:]
    return {name: _inline(meaning) for name, _, meaning in (entry.partition(": ") for entry in entries)}


def _kinds() -> str:
    rows = ["| method | its own fields | on the wire |", "|---|---|---|"]
    for name, kind in KINDS.items():
        arguments = ", ".join(f"`{argument}`" for argument in kind.fields.values())
        wire = ", ".join(f"`{field}`" for field in kind.fields)
        rows.append(f"| `{name}` | {arguments} | {wire} |")
    common = ", ".join(f"`{argument}`" for argument in COMMON.values())
    rows.append(f"| all | {common} | {', '.join(f'`{field}`' for field in COMMON)} |")
    return "\n".join(rows)


def _options(owner: Any) -> str:
    said = read_docstring(owner).arguments
    rows = ["| option | type | default | |", "|---|---|---|---|"]
    for parameter in inspect.signature(owner).parameters.values():
        default = "needed" if parameter.default is parameter.empty else f"`{_value_text(parameter.default)}`"
        rows.append(
            f"| `{parameter.name}` | `{_type(parameter)}` | {default} | {_cell(said[parameter.name])} |"
        )
    return "\n".join(rows)


def command_variables() -> dict[str, list[str]]:
    """Return the variables that commands read, each with the options that it gives, as `worker --grace`."""
    found: dict[str, list[str]] = {}
    for words, command in _commands("", cli):
        for option in command.params:
            names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
            for name in names:
                found.setdefault(name, []).append(f"{words} {max(option.opts, key=len)}".strip())
    return found


def _commands(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(f"{words} {name}".strip(), found)


def _variables() -> str:
    on_commands = command_variables()
    rows = ["| variable | option | of | text | on the command line |", "|---|---|---|---|---|"]
    for each in list_variables():
        options = sorted({said.rpartition(" ")[2] for said in on_commands.get(each.name, [])})
        cells = (f"`{each.name}`", f"`{each.option}`", f"`{each.owner}`", each.form.value)
        rows.append(f"| {' | '.join(cells)} | {', '.join(f'`{option}`' for option in options)} |")
    rows += ["", "These only commands read:", "", "| variable | option of a command |", "|---|---|"]
    rows += [
        f"| `{name}` | {', '.join(f'`{said}`' for said in on_commands[name])} |" for name in sorted(COMMANDS)
    ]
    return "\n".join(rows)


def _outcomes() -> str:
    rows = ["| the data plane answers | verdict | what becomes of the events |", "|---|---|---|"]
    answers: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for hundred in range(1, 6):
        verdicts = {
            status: judge(DeliveryResult(status)) for status in range(hundred * 100, hundred * 100 + 100)
        }
        [(usual, _)] = Counter(verdicts.values()).most_common(1)
        for verdict, group in groupby(sorted(verdicts, key=lambda s: verdicts[s].value), key=verdicts.get):
            if verdict is not usual:
                answers[verdict] += [str(status) for status in group]
        answers[usual].append(f"any other {hundred}xx" if len(set(verdicts.values())) > 1 else f"{hundred}xx")
    answers[judge(DeliveryResult())].append("nothing, or not all in time")
    for verdict, said in answers.items():
        rows.append(f"| {', '.join(said)} | `{verdict.value}` | {OUTCOMES[verdict]} |")
    return "\n".join(rows)


def _reasons(reasons: Any) -> str:
    rows = ["| reason | meaning |", "|---|---|"]
    for name, reason in reasons.items():
        advice = f" To do: {reason.advice}." if reason.advice else ""
        rows.append(f"| `{name}` | {_cell(reason.meaning + advice)} |")
    return "\n".join(rows)


def _class(name: str, methods: list[str]) -> str:
    kind = getattr(eventspool, name)
    parts = [f"### {name}\n\n{read_docstring(kind).text}\n"]
    if name == "Client":
        parts.append("Its options stand [above](#client).\n")
    for method in methods:
        thing = inspect.getattr_static(kind, method)
        if isinstance(thing, property):
            parts.append(f"#### {name}.{method}\n\n{_prose(thing.fget)}")
        else:
            parts.append(f"#### {name}.{method}\n\n{_call(method, thing)}\n\n{_prose(thing)}")
    return "\n".join(parts)


def _function(name: str) -> str:
    function = getattr(eventspool, name)
    call = "" if name == "init" else f"{_call(name, function)}\n\n"
    return f"### {name}\n\n{call}{_prose(function)}"


def _value(name: str) -> str:
    kind = getattr(eventspool, name)
    text, said, *_ = read_docstring(kind)
    rows = ["| | type | |", "|---|---|---|"]
    rows += [
        f"| `{field.name}` | `{_type(field)}` | {_cell(said[field.name])} |"
        for field in inspect.signature(kind).parameters.values()
    ]
    for method, thing in vars(kind).items():
        if not method.startswith("_") and (isinstance(thing, property) or inspect.isfunction(thing)):
            call = method if isinstance(thing, property) else f"{method}()"
            rows.append(f"| `{call}` | | {_cell(_inline(inspect.getdoc(thing) or ''))} |")
    return f"### {name}\n\n{text}\n\n" + "\n".join(rows) + "\n"


def _error(name: str) -> str:
    kind = getattr(eventspool, name)
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    return f"### {name}\n\nA kind of {bases}.\n\n{_prose(kind)}"


def _prose(thing: Any) -> str:
    said = read_docstring(thing)
    entries = [f"- `{name}`: {meaning}" for name, meaning in said.arguments.items()]
    entries += [f"- returns: {said.returns}"] * bool(said.returns)
    entries += [f"- raises `{name}`: {meaning}" for name, meaning in said.raises.items()]
    return "\n\n".join([said.text, *["\n".join(entries)] * bool(entries)]) + "\n"


def _call(name: str, function: Any) -> str:
    shown = inspect.signature(function)
    parameters = [each for each in shown.parameters.values() if each.name != "self"]
    texts = [_parameter(each) for each in parameters]
    keyword_only = [each.kind is each.KEYWORD_ONLY for each in parameters]
    if any(keyword_only):
        texts.insert(keyword_only.index(True), "*")
    text = f"{name}({', '.join(texts)})"
    if len(text) > 90:
        text = f"{name}(\n" + "".join(f"    {each},\n" for each in texts) + ")"
    prefix = "await " if inspect.iscoroutinefunction(function) else ""
    return f"```python\n{prefix}{text} -> {_annotation(shown.return_annotation)}\n```"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    text = f"{stars}{parameter.name}: {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    return f"{text} = {'…' if inspect.isfunction(parameter.default) else _value_text(parameter.default)}"


def _type(parameter: inspect.Parameter) -> str:
    return _cell(_annotation(parameter.annotation))


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:eventspool\.(?:_\w+\.)*|collections\.abc\.|typing\.)", "", text)


def _value_text(value: Any) -> str:
    return f"{value:_}" if type(value) is int and value > 9999 else repr(value)


def _first_paragraph(owner: Any) -> str:
    return read_docstring(owner).text.partition("\n\n")[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _inline(text: str) -> str:
    return _unquote(" ".join(text.split()))


def _unquote(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(render())
