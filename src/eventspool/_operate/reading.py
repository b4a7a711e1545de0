"""Read the payloads of many jobs: as many at a time as one call of the backend returns, and never more than that."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from eventspool._operate.selection import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from eventspool._backends import Backend

__all__ = ["read_payloads"]


def read_payloads(backend: Backend, ids: Iterable[str]) -> Iterator[Mapping[str, bytes | None]]:
    """Yield the payloads of the jobs *ids*, in their order; ``None`` where there is none."""
    source = iter(ids)
    while page := list(dict.fromkeys(islice(source, PAGE))):
        while page:
            found = backend.payloads(page)
            yield found
            page = page[len(found) :]
