"""
What keeps events from being stored or delivered: one answer, which every tool shows.

`queue status`, `doctor`, a worker's readiness, its log, the dashboard and the metrics used to judge by themselves, and two of
them could say different things of one queue. Now an *observation* is made at the edge, ``diagnose`` is a pure function from it
to *troubles*, and the tools only show these.
"""

from eventspool._operate.diagnosis.causes import diagnose
from eventspool._operate.diagnosis.observation import Observation, observe
from eventspool._operate.diagnosis.trouble import KINDS, Severity, Trouble, find_obstacle

__all__ = ["KINDS", "Observation", "Severity", "Trouble", "diagnose", "find_obstacle", "observe"]
