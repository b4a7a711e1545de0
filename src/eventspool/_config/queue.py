"""The options of a queue and of its jobs, and of the file that takes events while the queue is not available."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import wraps
from typing import Any, Literal, TypeVar

from eventspool._config.checks import (
    HOMES,
    FromMapping,
    naming_unknown_fields,
    reject_unknown,
    require_bool,
    require_number,
    require_numbers,
    require_text,
)
from eventspool._config.redis_opts import RedisOpts
from eventspool._config.stores import REDIS, StoreKind, find_kind, parse_queue_url
from eventspool._encryption import parse_keys
from eventspool._exceptions import ConfigError

__all__ = ["MAX_PARTITIONS", "JobOpts", "Ordering", "QueueOpts", "SpillOpts", "flatten_queue_opts"]

MAX_PARTITIONS = 256
"""Most partitions of a queue. Looks into all of them cost a round trip for each."""
_T = TypeVar("_T")
_ORDERINGS = "'none', 'fifo' or 'per_user'"
_NAME = r"[^\s{}:\ud800-\udfff]+"


class Ordering(StrEnum):
    """How much order the processors of a queue keep."""

    NONE = "none"
    """No order: every processor takes what is due."""
    FIFO = "fifo"
    """One processor at a time delivers the queue's jobs one after another, first in, first out."""
    PER_USER = "per_user"
    """Every processor takes what is due, but the events of one user keep their order."""


@naming_unknown_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class JobOpts(FromMapping):
    """
    How often and how patiently a job is tried. Times are in seconds.

    Args:
        max_attempts: Failed attempts after which a job may move to the failed queue.
        retry_for: The age that the job must have reached besides. 0.0 means that the attempts alone decide.
        backoff_initial: Upper bound of the first wait. It is doubled with every attempt; the wait itself is drawn at random
            between zero and the bound.
        backoff_max: Largest upper bound of a wait.
        concurrency: Requests in flight at once; ``None`` means 8. In single-processor mode it is always 1,
            for the order.
        visibility_timeout: How long a lease lasts; the processor renews it while a request is under way.
    """

    max_attempts: int = 10
    retry_for: float = 0.0
    backoff_initial: float = 1.0
    backoff_max: float = 30.0
    concurrency: int | None = None
    visibility_timeout: float = 60.0

    def __post_init__(self) -> None:
        require_numbers(self, integer=True, max_attempts=1)
        require_numbers(self, retry_for=0, visibility_timeout=0.05)
        require_numbers(self, exclusive=True, backoff_initial=0, backoff_max=0)
        if self.concurrency is not None:
            require_number("concurrency", self.concurrency, 1, integer=True)
        if self.backoff_max < self.backoff_initial:
            raise ConfigError("backoff_max must not be less than backoff_initial")


def _refusing_contradictions(cls: type[_T]) -> type[_T]:
    """
    Have the constructor refuse an *ordering* and an *is_multi_processor* that were both given and contradict each other.

    ``dataclasses.replace`` gives all options, also those of which the caller said nothing. The ordering counts then.
    """
    make = cls.__init__

    @wraps(make)
    def init(self: _T, **given: Any) -> None:
        ordering, is_multi = given.get("ordering"), given.get("is_multi_processor")
        is_replaced = len(given) == len(fields(cls))  # type: ignore[arg-type]
        are_given = ordering in list(Ordering) and isinstance(is_multi, bool) and not is_replaced
        if are_given and is_multi == (ordering == Ordering.FIFO):
            means = "several processes" if is_multi else "one process at a time"
            raise ConfigError(
                f"ordering={str(ordering)!r} contradicts is_multi_processor={is_multi}, which means {means}: give one"
            )
        make(self, **given)

    cls.__init__ = init  # type: ignore[assignment]
    return cls


@naming_unknown_fields
@_refusing_contradictions
@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOpts(FromMapping):
    """
    The queue that keeps events until they are delivered.

    Args:
        queue_name: Name of the queue. Processes with the same name share it.
        prefix: What the names of the queue's keys begin with.
        is_multi_processor: ``True`` when several processes share the queue and the work. ``False``: one
            process at a time works on it, in order; the others stand by.
        redis_opts: Where Redis is. Not together with *url*; without either it is Redis on localhost.
        job_opts: How often and how patiently a job is tried.
        partitions: Over how many partitions a new queue in Redis is spread, each of which a cluster may put on another node.
            Of a queue that is in use, what is written down in it counts: ``eventspool queue resize`` changes that.
        ordering: ``"fifo"``: one process at a time, in order. ``"none"``: all share the work, in no order. ``"per_user"``: all
            share it, and the events of one user keep their order. ``None``: as *is_multi_processor* says. Where both are
            given, they must agree.
        url: The queue as a URL instead: ``redis://…`` or ``sqlite:///path`` (four slashes for an absolute
            path).
        max_jobs: Most jobs that the queue holds, failed ones included; beyond that events wait in memory. Each of several
            partitions holds its part of them.
        max_bytes: Most payload bytes that the queue holds, of which each partition holds its part, too.
        replicas: With ``durability="replicated"``: how many replicas must have a commit before it is acknowledged.
        replication_timeout: Seconds for which a commit waits for them; at most nine tenths of *socket_timeout*.
        when_unreplicated: What a call does when they have not confirmed its commit by then. ``"wait"``: it goes on waiting,
            for the client's *timeout* at most. ``"refuse"``: it returns ``None`` at once. In both cases the event is kept,
            and is delivered if no failover takes it.
        encryption_key: Encrypt payloads at rest: 32 random bytes as base64 text (``openssl rand -base64 32``), or
            several of them in a list or separated by commas: the first one encrypts, each of them decrypts. Needs
            ``eventspool[encryption]``. ``None`` stores payloads readable.
    """

    queue_name: str = "hightouchEventsQueue"
    prefix: str = "hightouch"
    is_multi_processor: bool = False
    redis_opts: RedisOpts | Mapping[str, Any] | None = None
    job_opts: JobOpts | Mapping[str, Any] | None = None
    partitions: int = 1
    ordering: Ordering | Literal["none", "fifo", "per_user"] | None = None
    url: str | None = field(default=None, repr=False)
    max_jobs: int = 1_000_000
    max_bytes: int = 1 << 30
    replicas: int = 1
    replication_timeout: float = 1.0
    when_unreplicated: Literal["wait", "refuse"] = "wait"
    encryption_key: str | Sequence[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("queue_name", "prefix"):
            value = getattr(self, name)
            require_text(name, value)
            if not re.fullmatch(_NAME, value):
                raise ConfigError(f"{name} must hold no space, colon, brace or surrogate, not {value!r}")
        require_bool("is_multi_processor", self.is_multi_processor)
        require_numbers(self, integer=True, partitions=1, max_jobs=1, max_bytes=1, replicas=1)
        require_numbers(self, replication_timeout=0.001)
        if self.when_unreplicated not in ("wait", "refuse"):
            raise ConfigError(f"when_unreplicated must be 'wait' or 'refuse', not {self.when_unreplicated!r}")
        self._check_ordering()
        object.__setattr__(self, "job_opts", JobOpts.of(self.job_opts, "job_opts"))
        if self.redis_opts is not None:
            object.__setattr__(self, "redis_opts", RedisOpts.of(self.redis_opts, "redis_opts"))
        if self.url is not None:
            if self.redis_opts is not None:
                raise ConfigError("give either url or redis_opts, not both")
            parse_queue_url(self.url)
        _ = self.encryption_keys

    def _check_ordering(self) -> None:
        """Raise ``ConfigError`` for an ordering that is unknown, or that this queue cannot keep."""
        if self.ordering is not None:
            try:
                object.__setattr__(self, "ordering", Ordering(self.ordering))
            except ValueError:
                raise ConfigError(f"ordering must be {_ORDERINGS}") from None
            object.__setattr__(self, "is_multi_processor", self.ordering is not Ordering.FIFO)
        if self.partitions > MAX_PARTITIONS:
            raise ConfigError(
                f"partitions must be at most {MAX_PARTITIONS}, not {self.partitions}: each claim may look into all of them"
            )
        if self.partitions > 1 and self.resolved_ordering is Ordering.FIFO:
            raise ConfigError(
                f"partitions={self.partitions} need ordering='per_user' or ordering='none': they have no common order"
            )

    @property
    def encryption_keys(self) -> tuple[bytes, ...]:
        """The encryption keys: the first one encrypts."""
        return () if self.encryption_key is None else parse_keys(self.encryption_key)

    @property
    def jobs(self) -> JobOpts:
        """The job options, resolved."""
        assert isinstance(self.job_opts, JobOpts)  # noqa: S101 - narrowed in __post_init__
        return self.job_opts

    @property
    def resolved_ordering(self) -> Ordering:
        """How much order its processors keep."""
        if self.ordering is not None:
            return Ordering(self.ordering)
        return Ordering.NONE if self.is_multi_processor else Ordering.FIFO

    @property
    def kind(self) -> StoreKind:
        """What kind of store keeps it."""
        return REDIS if self.url is None else find_kind(self.url)

    @property
    def target(self) -> object:
        """Where it is: the options of that kind."""
        return RedisOpts.of(self.redis_opts, "redis_opts") if self.url is None else parse_queue_url(self.url)


@naming_unknown_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class SpillOpts(FromMapping):
    """
    The local file that takes events while Redis is not available.

    Args:
        url: The file: ``sqlite:///path`` (four slashes for an absolute path). It belongs to one queue in Redis; the
            processes of a machine may share it.
        max_jobs: Most jobs that the file holds; beyond that events wait in memory.
        max_bytes: Most payload bytes that the file holds.
    """

    url: str
    max_jobs: int = 1_000_000
    max_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if not str(self.url).startswith("sqlite:"):
            raise ConfigError("the spill url must be sqlite:///path: a local file")
        parse_queue_url(self.url)
        require_numbers(self, integer=True, max_jobs=1, max_bytes=1)

    def beside(self, queue: QueueOpts) -> QueueOpts:
        """
        Return the file as a queue in strict order, by the same name and with the same keys as *queue*.

        Raises:
            ConfigError: *queue* is local itself, so that no network between it and the client can be out.
        """
        if queue.kind.is_local:
            raise ConfigError(
                f"spill is for a queue on a server, such as Redis: {queue.kind.title} is local itself"
            )
        return replace(
            queue,
            url=self.url,
            redis_opts=None,
            partitions=1,
            ordering=Ordering.FIFO,
            is_multi_processor=False,
            max_jobs=self.max_jobs,
            max_bytes=self.max_bytes,
        )


HOMES.update(queue_opts=QueueOpts, job_opts=JobOpts, redis_opts=RedisOpts)


def flatten_queue_opts(
    given: QueueOpts | Mapping[str, Any] | str | None, redis_opts: RedisOpts | Mapping[str, Any] | None = None
) -> QueueOpts | dict[str, Any] | None:
    """
    Return *given*, with *redis_opts* put in, as ``QueueOpts`` where it is that, and else as a mapping of its fields.

    Takes the nested form ``{"queue_opts": {…}, "redis_opts": {…}}``, too.
    """
    if given is None and redis_opts is None:
        return None
    if isinstance(given, str):
        parse_queue_url(given)
        given = {"url": given}
    if isinstance(given, QueueOpts):
        if redis_opts is None:
            return given
        if given.redis_opts is not None:
            raise ConfigError("redis_opts is given twice")
        return replace(given, redis_opts=redis_opts)
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"queue_opts must be a mapping, QueueOpts or a URL, not {type(given).__name__}")
    plain = dict(given) if given is not None else {}
    if set(plain) <= {"queue_opts", "redis_opts"} and "queue_opts" in plain:
        inner = plain.pop("queue_opts")
        outer = plain.pop("redis_opts", None)
        redis_opts = redis_opts if redis_opts is not None else outer
        return flatten_queue_opts({} if inner is None else inner, redis_opts)
    if redis_opts is not None:
        if plain.get("redis_opts") is not None:
            raise ConfigError("redis_opts is given twice")
        plain["redis_opts"] = redis_opts
    reject_unknown(plain, [*(f.name for f in fields(QueueOpts)), "queue_opts"], "queue_opts")
    return plain
