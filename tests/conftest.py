"""What every test shares: very little."""

from __future__ import annotations

import os
import signal

import pytest
import redis
from hypothesis import settings

from conservation import every_event_is_somewhere
from eventspool._config.variables import list_variables

__all__ = ["every_event_is_somewhere"]

pytest_plugins = ["shares"]

# The same examples in every run, and no deadline: how long one takes on a busy machine says nothing about the code.
settings.load_profile("ci")  # Hypothesis' own; `--hypothesis-profile=default` looks for new examples


def pytest_report_header() -> str:
    """Say which redis-py is tested: `./run test` repeats the Redis tests with several."""
    return f"redis-py: {redis.__version__}"


def pytest_configure() -> None:
    for each in list_variables():  # what a developer works with is no part of a test
        os.environ.pop(each.name, None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background jobs ignore Ctrl-C, and so would every process that a test starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = os.environ.get("EVENTSPOOL_TEST_REDIS_PY", redis.__version__)
    if not redis.__version__.startswith(wanted):
        pytest.exit(f"redis-py {wanted} was to be tested, but {redis.__version__} was imported", returncode=4)
