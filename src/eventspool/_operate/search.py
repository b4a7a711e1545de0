"""
Look through a queue for the jobs that a ``Selection`` means, and say after each step how far that has come.

Jobs are read page by page, and their payloads only where something is asked of events: as many at a time as one call of the
backend returns. So first answers come at once, memory is bounded, and no call keeps the queue's server busy for long.
"""

from __future__ import annotations

from dataclasses import replace
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
    from eventspool._operate.terms import Terms

__all__ = ["act_on", "search", "total_of"]


def search(
    backend: Backend, chosen: Selection, after: Job | str | None = None, *, with_events: bool = False
) -> Iterator[Look]:
    """
    Yield one look after the other, until all is looked through or the selection's limit is reached.

    With *after*, a selection of one state begins behind that job. Events are read and handed out *with_events*.
    """
    left = chosen.limit
    for page, jobs in chosen.looks(backend, after):
        for look in _look_into(backend, chosen.terms, page, jobs, with_events=with_events):
            if left is not None:
                look = replace(look, jobs=look.jobs[:left])  # noqa: PLW2901
                left -= len(look.jobs)
            yield look
            if left == 0:
                return


def _look_into(
    backend: Backend, terms: Terms, page: Sequence[Job], jobs: Sequence[Job], *, with_events: bool
) -> Iterator[Look]:
    """Yield the looks at *jobs*, those of a *page* that meet the other conditions, and at their events."""
    last = page[-1] if page else None
    if not jobs or not (terms or with_events):
        yield Look(len(page), jobs, until=last)
        return
    by_id = {job.id: job for job in jobs}
    others = len(page) - len(by_id)  # those that failed the other conditions count with the first step
    left = len(by_id)
    for payloads in read_payloads(backend, by_id):
        # A job without a payload was delivered or purged meanwhile: it is not unreadable, it is gone.
        found = {i: terms.find_in(payload) if payload else Found() for i, payload in payloads.items()}
        left -= len(found)
        hits = {i: each for i, each in found.items() if each.places or not terms}
        yield Look(
            others + len(payloads),
            [by_id[i] for i in hits],
            {i: each.places for i, each in hits.items()} if terms else {},
            [i for i, each in found.items() if not each.is_readable],
            {i: each.events_there for i, each in hits.items()} if with_events else {},
            by_id[next(reversed(found))] if left else last,
        )
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
