"""Errors of a command, as programs tell them apart: the word that --json prints beside the sentence for people."""

from __future__ import annotations

import click

__all__ = ["Failed", "WrongOption"]


class Failed(click.ClickException):
    """
    The command failed.

    Args:
        message: What is the case, for people; it also says what to do, where *remedy* does not.
        code: A word for programs.
        remedy: What to do.
    """

    def __init__(self, message: str, code: str = "failed", remedy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class WrongOption(click.UsageError):
    """An option, or a variable of the environment, has a value that cannot work."""

    code = "config"
