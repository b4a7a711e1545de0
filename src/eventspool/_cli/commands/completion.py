"""``eventspool completion``: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from eventspool._cli.answer import print_json
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option

__all__ = ["command"]

_VARIABLE = "_EVENTSPOOL_COMPLETE"


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def command(ctx: click.Context, shell: str, *, as_json: bool) -> None:
    """
    Print the script with which SHELL completes commands and options.

    \b
    Examples:
      eventspool completion bash > ~/.local/share/bash-completion/completions/eventspool
      eventspool completion zsh > "${fpath[1]}/_eventspool"
      eventspool completion fish > ~/.config/fish/completions/eventspool.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows all three
    completion = found(ctx.find_root().command, {}, "eventspool", _VARIABLE)
    script = completion.source_template % completion.source_vars()
    if as_json:
        print_json(Kind.COMPLETION, {"shell": shell, "script": script})
    else:
        click.echo(script)
