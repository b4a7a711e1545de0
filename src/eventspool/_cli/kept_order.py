"""What order a command's client has a queue keep, where the queue was divided into partitions: these have no common order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from eventspool._backends import create_backend
from eventspool._config import Ordering
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._config import QueueOpts

__all__ = ["keep_order"]


def keep_order(queue: QueueOpts, sharing: Mapping[str, Any]) -> tuple[QueueOpts, str]:
    """
    Return the options to use, and what to tell the operator of that: "" where nothing is to be told.

    A divided queue says by itself what order is kept. That counts where the operator said nothing of order. A queue that
    cannot be asked now is used as the options say.

    Args:
        queue: The queue, by what was given and by the defaults.
        sharing: What was given of ``is_multi_processor`` and ``ordering``.

    Raises:
        click.UsageError: The operator wants a strict order, which a divided queue does not have.
    """
    if queue.kind.is_local or queue.resolved_ordering is not Ordering.FIFO:
        return queue, ""
    backend = create_backend(queue, observe=True)
    try:
        backend.open()
        partitions = sum(not each.sealed for each in backend.partitions())
        kept = Ordering.PER_USER if backend.find_routing() else Ordering.NONE
    except QueueError:
        return queue, ""
    finally:
        backend.close()
    if not partitions:
        return queue, ""
    divided = f"queue {queue.queue_name!r} is divided into {partitions} partitions"
    if not sharing.keys().isdisjoint(("is_multi_processor", "ordering")):
        raise click.UsageError(
            f"{divided}, which have no common order: --single and --ordering fifo do not go with it. Leave that out, also in "
            f"the environment, or give what the queue keeps: --ordering {kept}"
        )
    return replace(queue, ordering=kept), f"{divided} and keeps --ordering {kept}, by which this process goes"
