"""``eventspool dashboard token``: let people into the dashboard, each by a token of their own, and take one back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from eventspool._cli.answer import print_json
from eventspool._cli.kinds import Kind
from eventspool._cli.options import encryption_key, json_option, queue_options
from eventspool._cli.output import console, format_moment, moment_text, printable, say, table

if TYPE_CHECKING:
    from eventspool._cli.options import QueueAddress
    from eventspool._dashboard.tokens import TokenFile

__all__ = ["command", "tokens_option"]

_VARIABLE = "EVENTSPOOL_DASHBOARD_TOKENS"
tokens_option = click.option(
    "--tokens",
    metavar="FILE",
    envvar=_VARIABLE,
    show_envvar=True,
    help="The file of the tokens that `eventspool dashboard token` makes, one for each person.",
)
_required = click.option(
    "--tokens",
    "path",
    metavar="FILE",
    envvar=_VARIABLE,
    show_envvar=True,
    required=True,
    help="The file of the tokens.",
)
_queue = queue_options(required=False)


@click.group("token")
def command() -> None:
    """
    Make, list and revoke the tokens that let people into the dashboard.

    They stand hashed in the file that --tokens names. Dashboards with that file see a change within seconds. Where a queue is
    given, its trail is told of it.

    \b
    Examples:
      eventspool dashboard token add ann --tokens /etc/eventspool/tokens.json
      eventspool dashboard --tokens /etc/eventspool/tokens.json
    """


@command.command()
@click.argument("name")
@_required
@click.option("--read-only", is_flag=True, help="It shows everything and changes nothing.")
@_queue
@json_option
def add(name: str, path: str, address: QueueAddress | None, *, read_only: bool, as_json: bool) -> None:
    """
    Make a token for NAME, and print it. It is shown this once.

    \b
    Example:
      eventspool dashboard token add ann --read-only
    """
    token = _file(path).add(name, read_only=read_only, now=time.time())
    # The token is shown first: where the trail cannot be told, nobody could see it any more.
    if as_json:
        print_json(Kind.TOKEN, {"name": name, "token": token, "read_only": read_only})
    else:
        console().print(token, soft_wrap=True, markup=False)
        say(f"This is the token of {name}. It is not stored and not shown again: hand it over now.")
    _note(address, "token added", f"{name}{', read-only' if read_only else ''}")


@command.command("list")
@_required
@json_option
def list_tokens(path: str, *, as_json: bool) -> None:
    """
    List whose tokens there are.

    \b
    Example:
      eventspool dashboard token list
    """
    tokens = _file(path).read()
    if as_json:
        print_json(
            Kind.TOKEN,
            [
                {"name": each.name, "read_only": each.read_only, "made_at": moment_text(each.made_at)}
                for each in tokens
            ],
        )
        return
    if not tokens:
        say(f"There are no tokens in {path}.")
        return
    shown = table("name", "may", "made")
    for each in tokens:
        may = "look" if each.read_only else "look and change"
        shown.add_row(printable(each.name), may, format_moment(each.made_at))
    console().print(shown)


@command.command()
@click.argument("name")
@_required
@_queue
@json_option
def revoke(name: str, path: str, address: QueueAddress | None, *, as_json: bool) -> None:
    """
    Take the token of NAME back. It opens no dashboard a second later.

    \b
    Example:
      eventspool dashboard token revoke ann
    """
    _file(path).revoke(name)
    _note(address, "token revoked", name)
    if as_json:
        print_json(Kind.TOKEN, {"name": name, "revoked": True})
    else:
        console().print(f"revoked the token of {name}", markup=False)


def _file(path: str) -> TokenFile:
    from eventspool._dashboard.tokens import TokenFile

    return TokenFile(path)


def _note(address: QueueAddress | None, action: str, note: str) -> None:
    """Tell the trail of the queue, where one is given and there."""
    if address is None:
        return
    from eventspool._operate.awaited import await_queue
    from eventspool._operate.trail import Action

    opts = address.opts(encryption_key=encryption_key())
    with await_queue(opts, lambda absence: say(f"{absence}; its trail could not be told.")) as queue:
        queue.note(Action(action, note=note))
