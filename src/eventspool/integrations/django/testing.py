"""For the tests of a Django project."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from django.test import TestCase

from eventspool import testing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool.testing import Capture

__all__ = ["capture_events"]


@contextlib.contextmanager
def capture_events(using: str = "default") -> Iterator[Capture]:
    """
    Collect the events of a block, as ``eventspool.testing.capture_events`` does, also those that wait for a commit.

    The transaction of a ``TestCase``, and of pytest-django's fixture ``db``, is never committed, so an event that waits for
    the commit would never come. At the end of the block it is as if it was committed: look at the events after the block.

        with capture_events() as events:
            self.client.post("/orders/")
        events.assert_tracked("Order Completed")

    Args:
        using: The name of the database.
    """
    with testing.capture_events() as captured, TestCase.captureOnCommitCallbacks(using=using, execute=True):
        yield captured
