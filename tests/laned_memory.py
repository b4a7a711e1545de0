"""A queue in memory that keeps the order per user, for tests of what stands before a queue. The library has none."""

from __future__ import annotations

from eventspool._backends.memory import MemoryBackend
from eventspool._claim import Claim
from eventspool._job import lanes_of


class KeepsLanes:
    """Makes a queue in memory keep the order per user, in the plainest way: it looks at every job."""

    def _claim(self, token, now, terms):
        found, waits, closed = [], [], 0
        order = sorted(self._entries.jobs.values(), key=lambda entry: entry.place)
        for at, entry in enumerate(order):
            if entry not in found and not lanes_of(entry.id) & closed:
                if entry.due > now:
                    waits.append(entry.due - now)
                else:
                    found += self._chain(order[at:], closed, 1 if terms.probe else terms.chain, now)
            closed |= lanes_of(entry.id)
        if terms.probe:
            found.sort(key=lambda entry: entry.attempts + entry.has_stalled)
        with self._step() as entries:
            jobs = []
            for entry in found[: terms.limit]:
                jobs.append(self._lease(entry, token, now + terms.visibility_timeout, terms.sending))
                entries.schedule(entry)
                waits.append(terms.visibility_timeout)
        if len(found) > terms.limit:
            self._bell.ring()
        else:
            self._bell.heard()
        held_up = len(jobs) < len(order)
        return Claim(
            tuple(jobs), None if len(jobs) == terms.limit else min(waits, default=None), held_up=held_up
        )

    @staticmethod
    def _chain(order, closed, longest, now):
        """Return the first of *order*, and what may be leased with it."""
        chain, own, met = [order[0]], lanes_of(order[0].id), closed
        if order[0].attempts or order[0].progress or order[0].has_stalled:
            return chain
        for entry in order[1:]:
            lanes = lanes_of(entry.id)
            if not lanes & own:
                met |= lanes
                continue
            is_alone = entry.attempts or entry.progress or entry.has_stalled
            if len(chain) == longest or lanes & met or entry.due > now or is_alone:
                break
            chain.append(entry)
            own |= lanes
        return chain


class LanedMemory(KeepsLanes, MemoryBackend):
    """Such a queue."""
