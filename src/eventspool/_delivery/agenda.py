"""When the dispatcher has something to do next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NEVER", "Agenda"]

NEVER = float("inf")


@dataclass(slots=True)
class Agenda:
    """
    The moments, of the monotonic clock, at which the dispatcher's next steps are due.

    Args:
        claim: Ask the queue for jobs.
        record: Tell the queue which jobs were delivered; ``NEVER`` where none was.
        renew: Renew the leases, and leave a heartbeat.
        repair: With the renewal at or after this moment, have the queue look for jobs that stand in no index.
        listen: Send the listener to wait for jobs of other processes.
        resume: Ask the queue for anything at all: it has just failed.
        paced_until: Until then no wake-up is needed, for a claim is due at that moment.
        hastened_at: When a call has last begun to wait for the delivery of what is stored.
    """

    claim: float = 0.0
    record: float = NEVER
    renew: float = 0.0
    repair: float = 0.0
    listen: float = NEVER
    resume: float = 0.0
    paced_until: float = -NEVER
    hastened_at: float = -NEVER

    def heeds(self, now: float, *, at_once: bool) -> bool:
        """Return whether a wake-up says something new: a job is stored, *at_once* one whose delivery is waited for."""
        if at_once:
            self.hastened_at, self.paced_until = now, -NEVER
        return now >= self.paced_until

    def wait_out(self, now: float, pause: float, *, has_news: bool) -> None:
        """Ask the queue for nothing for *pause* seconds; where it is to be told something, for half a second at most."""
        self.claim = self.renew = now + pause
        if has_news:
            self.resume = now + min(pause, 0.5)

    def earliest(self, claim_from: float) -> float:
        """Return when the first step is due, where no claim may come before *claim_from*."""
        return max(self.resume, min(self.record, self.renew, self.listen, max(self.claim, claim_from)))
