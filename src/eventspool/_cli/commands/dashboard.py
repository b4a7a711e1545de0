"""``eventspool dashboard``: the queue in a browser."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json_line
from eventspool._cli.commands.dashboard_token import command as token_command
from eventspool._cli.commands.dashboard_token import tokens_option
from eventspool._cli.kinds import Kind
from eventspool._cli.options import encryption_key, json_option, queue_options
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
from eventspool._operate.awaited import await_queue

if TYPE_CHECKING:
    from eventspool._cli.options import QueueAddress

__all__ = ["command"]


@click.group(
    short_help="See and steer the queue in a browser.",
    invoke_without_command=True,
    no_args_is_help=False,
    subcommand_metavar="[token …]",
)
@queue_options(required=False)
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
    address: QueueAddress | None,
    host: str,
    port: int,
    token: str | None,
    tokens: str | None,
    allowed_hosts: tuple[str, ...],
    dataplane: str | None,
    *,
    read_only: bool,
    opens: bool,
    as_json: bool,
) -> None:
    """
    See and steer the queue in a browser, until Ctrl-C. A queue that is not there yet is shown as an empty one.

    It prints an address with the token that lets a browser in (--json: one line, with the address, url, and the token). Only
    this machine can reach it, unless --host says otherwise: then put it behind a proxy that speaks TLS. With --tokens each
    person has a token of their own, which `eventspool dashboard token` makes and revokes.

    \b
    Examples:
      eventspool dashboard --queue redis://localhost:6379/0 --open
      eventspool dashboard --queue sqlite:///events.db --dataplane http://127.0.0.1:8123
    """
    if ctx.invoked_subcommand is not None:
        return
    if address is None:
        missing = next(each for each in command.params if each.name == "queue_url")
        raise click.MissingParameter(ctx=ctx, param=missing)
    require_server()
    from eventspool._dashboard import security
    from eventspool._dashboard.app import create_app

    if token is None:
        token = security.new_token() if tokens is None else None
    opts = address.opts(encryption_key=encryption_key())
    with await_queue(opts, lambda absence: say(f"{absence}. The page shows it once it is there.")) as queue:
        app = create_app(
            queue,
            token=token,
            read_only=read_only,
            allowed_hosts=(*allowed_hosts, names_of(host)),
            name=address.queue_name,
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


command.add_command(token_command)
