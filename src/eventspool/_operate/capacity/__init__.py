"""
What a load asks of Redis and of Python: memory, cores, partitions, network, processes. Pure.

``constants`` holds what was measured, ``load`` what is asked about, ``batching`` how many events a job has, ``plan`` the
arithmetic, ``limits`` what ends first, and ``advice`` what an operator does with it. docs/scaling.md explains the model.
"""

from eventspool._operate.capacity.advice import advise, settings
from eventspool._operate.capacity.batching import Batches, form_batches
from eventspool._operate.capacity.constants import MEASURED, Constants, list_constants
from eventspool._operate.capacity.limits import Limit, find_limits
from eventspool._operate.capacity.load import Load
from eventspool._operate.capacity.plan import Plan, make_plan

__all__ = [
    "MEASURED",
    "Batches",
    "Constants",
    "Limit",
    "Load",
    "Plan",
    "advise",
    "find_limits",
    "form_batches",
    "list_constants",
    "make_plan",
    "settings",
]
