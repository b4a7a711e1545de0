"""
Look through a queue for the jobs that a ``Selection`` means, and say after each step how far that has come.

Jobs are read page by page, and their payloads only where something is asked of events: as many at a time as one call of the
backend returns. So first answers come at once, memory is bounded, and no call keeps the queue's server busy for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._operate.look import Look
from eventspool._operate.reading import read_payloads
from eventspool._operate.terms import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._backends import Backend
    from eventspool._figures import QueueStats
    from eventspool._job import Job
    from eventspool._operate.selection import Selection

__all__ = ["act_on", "look_into", "search", "total_of"]


def search(backend: Backend, chosen: Selection, after: Job | str | None = None) -> Iterator[Look]:
    """
    Yield one look after the other, until all is looked through or the selection's limit is reached.

    With *after*, a selection of one state begins behind that job.
    """
    left = chosen.limit
    for looked_at, jobs in chosen.looks(backend, after):
        for look in look_into(backend, chosen, looked_at, jobs):
            if left is not None:
                found = look.jobs[:left]
                left -= len(found)
                look = Look(look.looked_at, found, look.places, look.unreadable)  # noqa: PLW2901
            yield look
            if left == 0:
                return


def look_into(backend: Backend, chosen: Selection, looked_at: int, jobs: Sequence[Job]) -> Iterator[Look]:
    """Yield the looks at *jobs*, which met the other conditions among *looked_at* listed ones, and at their events."""
    terms = chosen.terms
    if not terms or not jobs:
        yield Look(looked_at, jobs)
        return
    by_id = {job.id: job for job in jobs}
    others = looked_at - len(by_id)  # those that failed the other conditions count with the first step
    for payloads in read_payloads(backend, by_id):
        # A job without a payload was delivered or purged meanwhile: it is not unreadable, it is gone.
        found = {i: terms.find_in(payload) if payload else Found() for i, payload in payloads.items()}
        hits = {i: each.places for i, each in found.items() if each.places}
        unreadable = [i for i, each in found.items() if not each.is_readable]
        yield Look(others + len(payloads), [by_id[i] for i in hits], hits, unreadable)
        others = 0


def act_on(
    backend: Backend,
    chosen: Selection,
    act: Callable[[Sequence[str]], object],
    on_look: Callable[[int], object],
) -> None:
    """
    Call *act* with the ids of the chosen jobs, page by page.

    Args:
        backend: The queue that holds them.
        chosen: Which jobs. Where it has ids no list is read, and *act* must look at the states.
        act: Changes jobs, or only looks at them.
        on_look: Called again and again with the number of jobs that were looked at.
    """
    for looked_at, ids in _ids_of(backend, chosen):
        act(ids)
        on_look(looked_at)


def _ids_of(backend: Backend, chosen: Selection) -> Iterator[tuple[int, list[str]]]:
    if chosen.ids is None:
        for look in search(backend, chosen):
            yield look.looked_at, [job.id for job in look.jobs]
        return
    terms, left = chosen.terms, chosen.limit
    for page in chosen.pages_of_ids(backend):
        if terms:
            ids = [
                job_id
                for payloads in read_payloads(backend, page)
                for job_id, payload in payloads.items()
                if payload and terms.find_in(payload).places
            ]
        else:
            ids = page
        ids = ids[:left]
        yield len(page), ids
        if left is not None and (left := left - len(ids)) <= 0:
            return


def total_of(chosen: Selection, stats: QueueStats) -> int:
    """Return how many jobs are to be looked at: those that are named, or as many as stand in the lists."""
    if chosen.ids is not None:
        return len(chosen.ids)
    return sum(getattr(stats, state.value).jobs for state in chosen.states)
