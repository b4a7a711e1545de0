"""A group of commands that answers an unknown name with the nearest known one."""

from __future__ import annotations

import click

__all__ = ["Group"]


class Group(click.Group):
    """A group whose subclasses find their commands when they are asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* name."""
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
