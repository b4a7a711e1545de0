"""The command ``eventspool``, also ``python -m eventspool``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        print("The command line needs two more packages:  pip install 'eventspool[cli]'", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    try:
        from eventspool._cli.app import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # before or after the command proper
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
