"""
A fleet in virtual time: producers, one queue over several shards, processors, failovers and an outage. Pure and seeded.

Time goes in ticks of a quarter of a second, which is how often a producer under load flushes. In a tick each producer gets its
events and flushes by its own rules (``eventspool._operate.capacity.batching``). Each shard, a server with a constant time for
a job (M/D/1), stores what came, then hands out as much as its core, the processors and the data plane allow. What a shard
cannot take waits outside, in the producers' memory and then in their spill files, and an event is refused where neither has
room. Events are whole numbers that no rounding makes or loses, so that the result can be checked:
accepted = delivered + waiting + lost.
"""

from benchmarks.simulation.fleet import simulate
from benchmarks.simulation.setup import Outcome, Setup

__all__ = ["Outcome", "Setup", "simulate"]
