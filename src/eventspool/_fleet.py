"""What the processors of a queue tell each other, and those who watch them, as plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eventspool._distribution import Distribution

__all__ = [
    "Hold",
    "ProcessorInfo",
    "Trouble",
]


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    What one processor has heard of a data plane that does not work, for all processors of its queue. Times are in seconds.

    Args:
        why: One sentence for people: what the data plane answered.
        pause: Until the first probe: the processor's ``backoff_initial``.
        longest_pause: Its ``backoff_max``.
        failures: How many requests have failed since it told of the last one.
        retry_after: How long the data plane asked to be left alone; 0.0 where it did not.
        is_key_refused: The data plane refused the write key.
    """

    why: str
    pause: float
    longest_pause: float
    failures: int = 1
    retry_after: float = 0.0
    is_key_refused: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """
    That all processors of a queue stay away from the data plane.

    Args:
        seconds: For how long at least. Then one of them probes it.
        why: What the data plane answered, in one sentence.
    """

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class ProcessorInfo:
    """
    A processor, as it described itself at its last heartbeat. What a processor of an older version does not say is empty.

    Args:
        token: Its lease token.
        host: The machine's name.
        pid: The process.
        version: The version of its eventspool.
        started_at: Seconds since the epoch.
        seen_at: When the queue last heard of it, seconds since the epoch.
        in_flight: Jobs that it holds.
        sent: Jobs that it delivered since it started.
        retried: Attempts that ended in a retry since it started.
        paused: The processor finds that the data plane is down or refuses the write key, and only probes.
        latency_p50: Median of the last requests' times in seconds; ``None`` before the first.
        latency_p99: The 99th percentile of the same times.
        statuses: How many of its requests of the last seconds ended how: with an HTTP status, with ``timeout``, or with
            ``error`` where no answer came for another reason.
        last_error: What last went wrong, in one sentence; "" when nothing did.
        pause_reason: Why it is paused, as a word to group by: ``unauthorized`` (the data plane refuses the write key),
            ``throttled`` (it asks for fewer requests), ``unavailable`` (it answers that it is down), ``unreachable`` (there is
            no answer) or ``unknown``; "" while it is not paused.
        unreadable: Why it could not read batches of late, as a word of the failed queue: ``encrypted``; "" where it read all.
        reads_nothing: It has delivered nothing since then.
        request_seconds: How long its requests took since it started; ``None`` where it does not say.
        lag_seconds: How old batches were when the data plane took them, since it started: from the making of the batch, by
            the clock of its producer.
    """

    token: str
    host: str = ""
    pid: int = 0
    version: str = ""
    started_at: float = 0.0
    seen_at: float = 0.0
    in_flight: int = 0
    sent: int = 0
    retried: int = 0
    paused: bool = False
    latency_p50: float | None = None
    latency_p99: float | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    pause_reason: str = ""
    unreadable: str = ""
    reads_nothing: bool = False
    request_seconds: Distribution | None = None
    lag_seconds: Distribution | None = None


ProcessorInfo.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
