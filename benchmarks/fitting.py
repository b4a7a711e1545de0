"""The constants of the capacity model, out of what ``scale`` measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from statistics import median
from typing import TYPE_CHECKING

from eventspool._backends.redis.codec import SMALL_COMMIT_BYTES
from eventspool._operate.capacity import MEASURED, Constants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Cell", "Found", "fit_constants", "fit_line", "is_fitted", "reckon"]


@dataclass(frozen=True, slots=True)
class Cell:
    """
    One set-up of ``candidates/scale_jobs.py``.

    Args:
        server: ``plain``, with an append-only ``file``, with a ``replica``.
        events: Events of a job.
        group: Jobs of a call.
        partitions: Over how many the calls go in turns.
        ordering: What the queue keeps.
        wait: Each commit waits for a replica.
    """

    server: str
    events: int
    group: int
    partitions: int = 1
    ordering: str = "none"
    wait: bool = False

    def __str__(self) -> str:
        words = [f"{self.events} events, {self.group} a call", self.server, self.ordering]
        if self.partitions > 1:
            words.append(f"{self.partitions} partitions")
        return ", ".join([*words, *(["WAIT"] if self.wait else [])])


_FITTED_PARTITIONS = 4


def is_fitted(cell: Cell) -> bool:
    """Say whether the constants are fitted to *cell*, too: what the model says of it is then no forecast."""
    return cell.partitions <= _FITTED_PARTITIONS


Found = dict[Cell, "Mapping[str, float]"]
"""What was measured: the least of all rounds by name, as ``scale_jobs.py`` prints them."""


def fit_line(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float]:
    """
    Return the weights of the columns of *rows* whose sums come closest to what is *wanted*, by relative error.

    Weights below zero mean nothing here: such a column is left out, and weighs 0.
    """
    columns = list(range(len(rows[0])))
    while True:
        scaled = [[row[c] / y for c in columns] for row, y in zip(rows, wanted, strict=True)]
        weights = _solve(
            [[sum(a[i] * a[j] for a in scaled) for j in range(len(columns))] for i in range(len(columns))],
            [sum(a[i] for a in scaled) for i in range(len(columns))],
        )
        if min(weights) >= 0 or len(columns) == 1:
            found = dict(zip(columns, weights, strict=True))
            return [max(found.get(c, 0.0), 0.0) for c in range(len(rows[0]))]
        del columns[weights.index(min(weights))]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a few equations by elimination."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i in range(len(rows)):
        best = max(range(i, len(rows)), key=lambda r: abs(rows[r][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for r in range(len(rows)):
            if r != i:
                share = rows[r][i] / rows[i][i]
                rows[r] = [a - share * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[-1] / row[i] for i, row in enumerate(rows)]


def fit_constants(
    found: Found,
    python: Mapping[str, Sequence[tuple[float, float, float]]],
    idle: Mapping[int, float] | None = None,
) -> Constants:
    """
    Return the constants that *found* makes.

    Args:
        found: The server's costs. Cells with more than four partitions do not count: they are there to be foretold.
        python: ``produce`` and ``deliver`` -> events, jobs and seconds of Python of each run.
        idle: Processors that find nothing -> microseconds of the server in a second.
    """
    base = {cell: f for cell, f in found.items() if cell.partitions == 1 and cell.ordering == "none"}
    plain = {cell: f for cell, f in base.items() if cell.server == "plain"}
    cells = list(plain)
    lines = [[1 / cell.group, 1.0, plain[cell]["payload_bytes"] / 1000] for cell in cells]
    commits = [_commit_row(cell.group, plain[cell]["payload_bytes"]) for cell in cells]
    commit = fit_line(commits, [plain[cell]["commit_us"] for cell in cells])
    deliver = fit_line(lines, [plain[cell]["claim_us"] + plain[cell]["ack_us"] for cell in cells])
    produce, delivery = (
        fit_line([[events, jobs] for events, jobs, _ in python[name]], [s * 1e6 for _, _, s in python[name]])
        for name in ("produce", "deliver")
    )
    file = _more(base, "file", plain)
    replica = _more({c: f for c, f in base.items() if not c.wait}, "replica", plain)
    lanes = _lane_us(found)
    memory = fit_line(
        [[1.0, f["payload_bytes"]] for f in plain.values()], [f["memory_job_bytes"] for f in plain.values()]
    )
    rest = fit_line([[1.0, float(n)] for n in idle], list(idle.values())) if idle else None
    return replace(
        MEASURED,
        idle_server_us=rest[0] if rest else MEASURED.idle_server_us,
        idle_processor_us=rest[1] if rest else MEASURED.idle_processor_us,
        commit_call_us=commit[0],
        commit_job_us=commit[1],
        commit_small_kb_us=commit[2],
        commit_large_us=commit[3],
        commit_kb_us=commit[4],
        deliver_call_us=deliver[0],
        deliver_job_us=deliver[1],
        deliver_kb_us=deliver[2],
        aof_job_us=file[0],
        aof_kb_us=file[1],
        replica_job_us=replica[0],
        replica_kb_us=replica[1],
        lane_call_us=lanes[0],
        lane_job_us=lanes[1],
        partition_job_us=_partition_us(found),
        wait_call_us=_wait_us(found),
        job_bytes=memory[0],
        allocator_factor=memory[1],
        produce_event_us=produce[0],
        produce_job_us=produce[1],
        deliver_event_us=delivery[0],
        deliver_process_job_us=delivery[1],
        wire_job_bytes=max(f.get("wire_job_bytes", MEASURED.wire_job_bytes) for f in plain.values()),
        commit_seconds=min(
            f["commit_seconds"] for c, f in base.items() if (c.server, c.group) == ("replica", 1)
        ),
        wait_seconds=_wait_seconds(found),
        reference_event_bytes=median(f["event_bytes"] for f in found.values()),
        stored=_stored(plain),
    )


def _commit_row(group: int, payload_bytes: float) -> list[float]:
    """Return how often a job has each of a commit's costs: small ones and large ones are stored in different ways."""
    kb, is_large = payload_bytes / 1000, group * payload_bytes > SMALL_COMMIT_BYTES
    return [1 / group, 1.0, 0.0 if is_large else kb, is_large / group, kb if is_large else 0.0]


def _stored(plain: Found) -> tuple[tuple[float, float], ...]:
    sizes = sorted({cell.events for cell in plain})
    return tuple(
        (size, median(f["payload_bytes"] / size for cell, f in plain.items() if cell.events == size))
        for size in sizes
    )


def _total(found: Mapping[str, float]) -> float:
    return found["commit_us"] + found["claim_us"] + found["ack_us"]


def _pairs(
    found: Iterable[tuple[Cell, Mapping[str, float]]], twin: Callable[[Cell], Mapping[str, float] | None]
) -> list[tuple[Cell, float, float]]:
    """Return each cell with the KB of its jobs and how much more it costs than its *twin*, where that was measured."""
    pairs = []
    for cell, figures in found:
        if other := twin(cell):
            pairs.append((cell, figures["payload_bytes"] / 1000, _total(figures) - _total(other)))
    return pairs


def _more(base: Found, server: str, plain: Found) -> list[float]:
    """Return what a job and a KB cost more on *server* than on the plain one."""
    these = [(c, f) for c, f in base.items() if c.server == server]
    pairs = _pairs(these, lambda cell: plain.get(replace(cell, server="plain")))
    return fit_line([[1.0, kb] for _, kb, _ in pairs], [max(more, 0.1) for _, _, more in pairs])


def _lane_us(found: Found) -> list[float]:
    """Return what a call and a job cost more with order per user."""
    these = [(c, f) for c, f in found.items() if c.ordering == "per_user"]
    pairs = _pairs(these, lambda cell: found.get(replace(cell, ordering="none")))
    return fit_line([[1 / c.group, 1.0] for c, _, _ in pairs], [max(more, 0.1) for _, _, more in pairs])


def _partition_us(found: Found) -> float:
    """Return what a job costs more for each doubling of the partitions: of up to four, more of them are to be foretold."""
    these = [(c, f) for c, f in found.items() if 1 < c.partitions <= _FITTED_PARTITIONS]
    pairs = _pairs(these, lambda cell: found.get(replace(cell, partitions=1)))
    return max(median(more / log2(cell.partitions) for cell, _, more in pairs), 0.0)


def _wait_us(found: Found) -> float:
    these = [(c, f) for c, f in found.items() if c.wait]
    pairs = _pairs(these, lambda cell: found.get(replace(cell, wait=False)))
    return median(more * cell.group for cell, _, more in pairs) if pairs else MEASURED.wait_call_us


def _wait_seconds(found: Found) -> float:
    these = [(found[replace(c, wait=False)], f) for c, f in found.items() if c.wait]
    return max(min(waited["commit_seconds"] - other["commit_seconds"] for other, waited in these), 0.0)


def reckon(cell: Cell, constants: Constants, payload_bytes: float) -> float:
    """Return the server time that the model has for a job of *cell*, from commit to acknowledgement."""
    kb = payload_bytes / 1000
    spent = constants.commit_us(cell.group, kb) + constants.deliver_us(cell.group, kb)
    spent += constants.kept_us(kb, aof=cell.server == "file", replicas=int(cell.server == "replica"))
    spent += constants.order_us(cell.group) if cell.ordering == "per_user" else 0.0
    spent += constants.spread_us(cell.partitions)
    return spent + (constants.wait_call_us / cell.group if cell.wait else 0.0)
