"""``eventspool dashboard``: one queue, or several, in a browser."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli.answer import print_json_line
from eventspool._cli.commands.dashboard_token import command as token_command
from eventspool._cli.commands.dashboard_token import tokens_option
from eventspool._cli.exporting import read_names
from eventspool._cli.kinds import Kind
from eventspool._cli.options import QueueAddress, encryption_key, json_option, queue_prefix_option
from eventspool._cli.output import console, say
from eventspool._cli.serving import (
    introduce,
    listen,
    listening_at,
    names_of,
    open_option,
    require_server,
    serve,
    token_option,
)
from eventspool._config.stores import list_urls
from eventspool._config.variables import variable_of
from eventspool._exceptions import ConfigError
from eventspool._operate.awaited import await_queue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._config import QueueOpts
    from eventspool._exceptions import QueueError
    from eventspool._operate.queue import Queue

__all__ = ["command"]


class _Queues(click.Option):
    """Queues, in the environment with spaces between. One URL alone may hold a space: the path of a file may have one."""

    def value_from_envvar(self, ctx: click.Context) -> Any:
        text = self.resolve_envvar_value(ctx)
        if text is None:
            return None
        parts = text.split()
        return parts if all("://" in part for part in parts) else [text]


@click.group(
    short_help="See and steer the queue in a browser.",
    invoke_without_command=True,
    no_args_is_help=False,
    subcommand_metavar="[token …]",
)
@click.option(
    "--queue",
    "-q",
    "queue_url",
    cls=_Queues,
    metavar="[LABEL=]URL[#NAME]",
    multiple=True,
    envvar=variable_of("persistence"),
    show_envvar=True,
    help=f"A queue: {list_urls()}; may be repeated. After # comes its name, where it is not --queue-name; LABEL is what the "
    "page calls it. A queue whose events are encrypted also needs EVENTSPOOL_ENCRYPTION_KEY.",
)
@click.option(
    "--queue-name",
    "names",
    multiple=True,
    envvar=variable_of("queue_name"),
    default=("hightouchEventsQueue",),
    show_default=True,
    show_envvar=True,
    help="Name of the queue; may be repeated.",
)
@queue_prefix_option
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All queues that were ever used at these URLs, of any name and prefix.",
)
@click.option(
    "--host",
    envvar="EVENTSPOOL_DASHBOARD_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="Where to listen.",
)
@click.option(
    "--port",
    "-p",
    type=click.IntRange(0, 65535),
    envvar="EVENTSPOOL_DASHBOARD_PORT",
    default=8124,
    show_default=True,
    show_envvar=True,
    help="0 takes a free one.",
)
@token_option
@tokens_option
@click.option(
    "--read-only",
    is_flag=True,
    envvar="EVENTSPOOL_DASHBOARD_READ_ONLY",
    show_envvar=True,
    help="Show, but change nothing.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    envvar="EVENTSPOOL_DASHBOARD_ALLOW_HOST",
    show_envvar=True,
    help="A host name under which other machines reach it; may be repeated (in the environment: with spaces between).",
)
@click.option(
    "--dataplane",
    metavar="URL",
    envvar="EVENTSPOOL_DASHBOARD_DATAPLANE",
    show_envvar=True,
    help="The URL of an `eventspool dataplane` on this machine: the page shows what arrives there, and has it fail on demand.",
)
@open_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    queue_url: tuple[str, ...],
    names: tuple[str, ...],
    prefix: str,
    host: str,
    port: int,
    token: str | None,
    tokens: str | None,
    allowed_hosts: tuple[str, ...],
    dataplane: str | None,
    *,
    everything: bool,
    read_only: bool,
    opens: bool,
    as_json: bool,
) -> None:
    """
    See and steer a queue, or several, in a browser, until Ctrl-C. A queue that is not there yet is shown as an empty one.

    It prints an address with the token that lets a browser in (--json: one line, with the address, url, and the token). Only
    this machine can reach it, unless --host says otherwise: then put it behind a proxy that speaks TLS. With --tokens each
    person has a token of their own, which `eventspool dashboard token` makes and revokes.

    \b
    Examples:
      eventspool dashboard --queue redis://localhost:6379/0 --open
      eventspool dashboard --queue redis://cache-1:6379/0 --queue redis://cache-2:6379/0 --all
      eventspool dashboard --queue sqlite:///events.db --dataplane http://127.0.0.1:8123
    """
    if ctx.invoked_subcommand is not None:
        return
    if not queue_url:
        missing = next(each for each in command.params if each.name == "queue_url")
        raise click.MissingParameter(ctx=ctx, param=missing)
    require_server()
    from eventspool._dashboard import security
    from eventspool._dashboard.app import create_app

    if token is None:
        token = security.new_token() if tokens is None else None
    chosen = _choose(queue_url, names, prefix, everything=everything)
    with ExitStack() as stack:
        queues = {
            label: stack.enter_context(await_queue(opts, _say_absence, waits=len(chosen) > 1))
            for label, opts in chosen.items()
        }
        shown: Queue | Mapping[str, Queue] = queues
        if len(queues) == 1 and not everything:
            [shown] = queues.values()
        app = create_app(
            shown,
            token=token,
            read_only=read_only,
            allowed_hosts=(*allowed_hosts, names_of(host)),
            name=next(iter(queues)),
            dataplane=dataplane,
            tokens=tokens,
        )
        with listen(host, port) as listener:
            url = f"{listening_at(host, listener)}/" + ("" if token is None else f"?token={token}")
            if as_json:
                print_json_line(Kind.DASHBOARD, {"url": url, "token": token})
            else:
                console().print(url, style="bold", soft_wrap=True, markup=False)
            sys.stdout.flush()
            introduce(url, host, opens=opens)
            serve(app, listener)


def _say_absence(absence: QueueError) -> None:
    say(f"{absence}. The page shows it once it is there.")


def _choose(
    urls: Sequence[str], names: Sequence[str], prefix: str, *, everything: bool
) -> dict[str, QueueOpts]:
    """
    Return the queues to show, by the labels under which they are shown.

    Raises:
        ConfigError: Two of them would get the same label.
        QueueError: All of a server are asked for, and it cannot be asked.
    """
    key = encryption_key()
    if everything:
        servers = [
            QueueAddress(url, names[0], prefix).opts(encryption_key=key) for url in dict.fromkeys(urls)
        ]
        return _find_all(servers)
    chosen: dict[str, QueueOpts] = {}
    for each in [named for name in dict.fromkeys(names) for named in read_names(urls, name)]:
        opts = QueueAddress(each.url, each.queue_name, prefix).opts(encryption_key=key)
        if chosen.setdefault(each.label, opts) != opts:
            raise ConfigError(f"two queues would be called {each.label!r}: tell them apart as LABEL=URL#NAME")
    return chosen


def _find_all(servers: Sequence[QueueOpts]) -> dict[str, QueueOpts]:
    from eventspool._operate.survey import address_of, find_queues

    found = [
        replace(opts, queue_name=each.queue_name, prefix=each.prefix)
        for opts in servers
        for each in find_queues(opts)
        if not each.is_bull
    ]
    if not found:
        raise click.ClickException("no queue was ever used there: name one with --queue-name, without --all")
    several_servers = len({each.url for each in found}) > 1
    several_prefixes = len({each.prefix for each in found}) > 1
    return {
        (f"{address_of(each)} " if several_servers else "")
        + (f"{each.prefix}:" if several_prefixes else "")
        + each.queue_name: each
        for each in found
    }


command.add_command(token_command)
