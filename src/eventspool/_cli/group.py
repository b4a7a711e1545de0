"""A group of commands that answers an unknown name with the nearest known one."""

from __future__ import annotations

import click

__all__ = ["Group"]


@click.command("help")
@click.argument("names", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def _help(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command, as its --help does."""
    context = ctx.parent
    assert context is not None  # noqa: S101 - it is a command of a group
    rest = list(names)
    while rest and isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None  # noqa: S101 - an unknown name is an error
        context = click.Context(command, context, name, help_option_names=context.help_option_names)
    click.echo(context.get_help())


class Group(click.Group):
    """A group whose subclasses find their commands when they are asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* name; ``help`` is one of every group."""
        if args and args[0] == "help" and "help" not in self.list_commands(ctx):
            return "help", _help, args[1:]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # imported here, because few calls need it

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near:
                raise
            raise click.UsageError(
                f"{ctx.command_path} has no command {args[0]!r}: did you mean {near[0]!r}?", error.ctx
            ) from None
