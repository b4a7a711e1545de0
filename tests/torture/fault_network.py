"""Everything that a network does, on the way to Redis and on the way to the data plane (see ``proxy``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torture.faults import fault
from torture.proxy import MODES

if TYPE_CHECKING:
    import random

    from torture.faults import Course
    from torture.world import World

_SECONDS = {"refuse": (0.3, 1.0), "blackhole": (0.5, 2.5), "slowloris": (0.8, 2.0), "latency": (0.8, 1.6)}


def _register(link: str, mode: str) -> None:
    backends = ("redis",) if link == "redis" else ("redis", "sqlite")

    @fault(f"{link}-link-{mode}", link, _SECONDS.get(mode, (0.4, 1.2)), backends=backends)
    def run(world: World, dice: random.Random) -> Course:
        proxy = world.links[link]
        proxy.order(mode=mode)
        try:
            yield
        finally:
            hits = proxy.order(mode=None)["before"]
        return int(hits)


for _link in ("redis", "plane"):
    for _mode in MODES:
        _register(_link, _mode)
