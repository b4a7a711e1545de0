"""Options: frozen, checked when made, secrets hidden from repr, an unknown name answered with the nearest known one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, Literal, Self, TypedDict, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from eventspool._encryption import parse_keys
from eventspool._exceptions import ConfigError

__all__ = [
    "DEFAULT_DATA_PLANE_URL",
    "ClientOptions",
    "ClientOpts",
    "JobOpts",
    "QueueOpts",
    "RedisOpts",
    "SQLiteOpts",
    "SpillOpts",
    "parse_queue_url",
]

DEFAULT_DATA_PLANE_URL = "https://us-east-1.hightouch-events.com"
DEFAULT_PATH = "/v1/batch"
"""The document's default data plane."""

_T = TypeVar("_T")
_NAME = re.compile(r"[^\s{}:\ud800-\udfff]+")
_LONGEST_SECONDS = 1e9
"""About 31 years. Longer waits overflow the operating system's timers."""
_LARGEST_BATCH = 32 << 20
"""Bytes. Half of what is believed to be a batch when it is read."""


def reject_unknown(given: Mapping[str, object], known: list[str], where: str) -> None:
    """Raise ``ConfigError`` for the first key of *given* that is not *known*, naming the nearest one."""
    for name in given:
        if name not in known:
            import difflib  # an option is seldom wrong

            snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", str(name)).lower()
            home = next((h for h, kind in _HOMES.items() if snake in {f.name for f in fields(kind)}), None)
            near = [snake] if snake in known else difflib.get_close_matches(snake, known, n=1, cutoff=0.6)
            if home and snake not in known:
                hint = f"{snake!r} is one of {home}"
            elif snake in (*_HOMES, "queue") and "persistence" in known:
                hint = "give it as persistence=…, or to create_persistence_queue()"
            elif near:
                hint = f"did you mean {near[0]!r}?"
            else:
                hint = f"known are {', '.join(sorted(known))}"
            raise ConfigError(f"unknown option {name!r} in {where}: {hint}")


def require_number(
    name: str, value: object, minimum: float, *, integer: bool = False, exclusive: bool = False
) -> None:
    """
    Raise ``ConfigError`` unless *value* is a finite number (not a bool) of at least *minimum*.

    One that is no *integer* is a number of seconds and must fit a timer.
    """
    kind = (int,) if integer else (int, float)
    if (
        isinstance(value, bool)
        or not isinstance(value, kind)
        or value != value
        or value in (float("inf"), -float("inf"))
    ):
        raise ConfigError(
            f"{name} must be {'an integer' if integer else 'a number'}, not {type(value).__name__}"
        )
    if value < minimum or (exclusive and value == minimum):
        raise ConfigError(
            f"{name} must be {'more than' if exclusive else 'at least'} {minimum:g}, not {value!r}"
        )
    if not integer and value > _LONGEST_SECONDS:
        raise ConfigError(f"{name} must be at most {_LONGEST_SECONDS:g} seconds, not {value!r}")


def require_bool(name: str, value: object) -> None:
    """Raise ``ConfigError`` unless *value* is a bool."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {type(value).__name__}")


def require_text(name: str, value: object, *, optional: bool = False) -> None:
    """Raise ``ConfigError`` unless *value* is a non-empty str (or None, where *optional*)."""
    if optional and value is None:
        return
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"{name} must be a non-empty string, not {value!r}"
            if value == ""
            else f"{name} must be a string, not {type(value).__name__}"
        )
    if "\0" in value or not _is_encodable(value):
        raise ConfigError(f"{name} must hold no NUL and no half of a surrogate pair")


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")  # a path may hold bytes that are none
    except UnicodeEncodeError:
        return False
    return True


class _FromMapping:
    """Build a dataclass of options from a mapping, another instance, or nothing."""

    @classmethod
    def of(cls, given: Self | Mapping[str, Any] | None, where: str) -> Self:
        """Return *given* as an instance. Raises ``ConfigError`` for unknown names and wrong values."""
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise ConfigError(f"{where} must be a mapping or {cls.__name__}, not {type(given).__name__}")
        reject_unknown(given, [f.name for f in fields(cls)], where)  # type: ignore[arg-type]
        return cls(**given)


def _naming_unknown(cls: type[_T]) -> type[_T]:
    """Have the constructor of *cls* raise ``ConfigError`` for an unknown option, too, as for one in a mapping."""
    make = cls.__init__

    @wraps(make)
    def init(self: _T, *args: Any, **given: Any) -> None:
        reject_unknown(given, [f.name for f in fields(cls)], cls.__name__)  # type: ignore[arg-type]
        make(self, *args, **given)

    cls.__init__ = init  # type: ignore[assignment]
    return cls


@_naming_unknown
@dataclass(frozen=True, slots=True, kw_only=True)
class JobOpts(_FromMapping):
    """
    How often and how patiently a job is tried (document: JobOpts; contract, sections 1 and 2). Times in
    seconds.

    Args:
        max_attempts: Failed attempts after which a job may move to the failed queue.
        retry_for: ... and the age that it must have reached besides. 0.0 means that attempts alone decide.
        backoff_initial: Upper bound of the first wait; doubled with every attempt, drawn with full jitter.
        backoff_max: Largest upper bound of a wait.
        concurrency: Requests in flight at once; ``None`` means 8. In single-processor mode it is always 1,
            for the order.
        visibility_timeout: How long a lease lasts; renewed while a request is under way.
    """

    max_attempts: int = 10
    retry_for: float = 0.0
    backoff_initial: float = 1.0
    backoff_max: float = 30.0
    concurrency: int | None = None
    visibility_timeout: float = 60.0

    def __post_init__(self) -> None:
        require_number("max_attempts", self.max_attempts, 1, integer=True)
        require_number("retry_for", self.retry_for, 0)
        require_number("backoff_initial", self.backoff_initial, 0, exclusive=True)
        require_number("backoff_max", self.backoff_max, 0, exclusive=True)
        require_number("visibility_timeout", self.visibility_timeout, 0.05)
        if self.concurrency is not None:
            require_number("concurrency", self.concurrency, 1, integer=True)
        if self.backoff_max < self.backoff_initial:
            raise ConfigError("backoff_max must not be less than backoff_initial")


@_naming_unknown
@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOpts(_FromMapping):
    """
    Where Redis is (document: RedisOpts). *url* overrides host, port, db, username, password and ssl.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix://`` or the same with ``valkey``; redis-py's query
            options work, but for ``decode_responses``. ``max_connections`` must be at least 4.
        host, port, db, username, password: As everywhere.
        ssl: Use TLS. The other ``ssl_…`` options are redis-py's, paths as strings.
        socket_timeout: Longest wait for a reply, in seconds.
        socket_connect_timeout: Longest wait for a connection, in seconds.
    """

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    ssl: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = field(default=None, repr=False)
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True
    socket_timeout: float = 5.0
    socket_connect_timeout: float = 2.0

    def __post_init__(self) -> None:
        require_text("host", self.host)
        require_number("port", self.port, 1, integer=True)
        if self.port > 65_535:
            raise ConfigError(f"port must be at most 65535, not {self.port}")
        require_number("db", self.db, 0, integer=True)
        for name in ("username", "password", "url", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            if getattr(self, name) != "":  # what an unset variable of the environment gives
                require_text(name, getattr(self, name), optional=True)
        if self.ssl_cert_reqs not in ("required", "optional", "none"):
            raise ConfigError("ssl_cert_reqs must be 'required', 'optional' or 'none'")
        require_bool("ssl", self.ssl)
        require_bool("ssl_check_hostname", self.ssl_check_hostname)
        require_number("socket_timeout", self.socket_timeout, 0, exclusive=True)
        require_number("socket_connect_timeout", self.socket_connect_timeout, 0, exclusive=True)
        if self.url is not None and _split(self.url).scheme not in _REDIS_SCHEMES:
            raise ConfigError(f"url must begin with one of {', '.join(f'{s}://' for s in _REDIS_SCHEMES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOpts(_FromMapping):
    """
    Where the SQLite file is, and how durable.

    Args:
        path: The file. Its folder is made if it is missing.
        synchronous: ``full`` (the default): a stored event survives a power cut. ``normal``: it survives a
            killed process, but a power cut or a crash of the operating system may take the last ones.
            SQLite's ``PRAGMA synchronous``.
    """

    path: str
    synchronous: Literal["full", "normal"] = "full"

    def __post_init__(self) -> None:
        require_text("path", self.path)
        if self.synchronous not in ("full", "normal"):
            raise ConfigError(f"synchronous must be 'full' or 'normal', not {self.synchronous!r}")


@_naming_unknown
@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOpts(_FromMapping):
    """
    The persistence queue (document: queueOpts).

    Args:
        queue_name: Name of the queue. Processes with the same name share it.
        prefix: Put before every Redis key.
        is_multi_processor: ``True`` when several processes share the queue and the work. ``False``: one
            process at a time works it, in order; the others stand by.
        redis_opts: Where Redis is. Not together with *url*.
        job_opts: How often and how patiently a job is tried.
        url: The queue as a URL instead: ``redis://…`` or ``sqlite:///path`` (four slashes for an absolute
            path).
        max_jobs: Most jobs that the queue holds, failed ones included; beyond it events wait in memory.
        max_bytes: Most payload bytes that the queue holds.
        encryption_key: Encrypt payloads at rest: 32 random bytes as base64 text (``openssl rand -base64 32``), or
            several of them in a list or with commas between: the first encrypts, all decrypt. Needs
            ``eventspool[encryption]``. ``None`` stores payloads readable.
    """

    queue_name: str = "hightouchEventsQueue"
    prefix: str = "hightouch"
    is_multi_processor: bool = False
    redis_opts: RedisOpts | Mapping[str, Any] | None = None
    job_opts: JobOpts | Mapping[str, Any] | None = None
    url: str | None = field(default=None, repr=False)
    max_jobs: int = 1_000_000
    max_bytes: int = 1 << 30
    encryption_key: str | Sequence[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("queue_name", "prefix"):
            value = getattr(self, name)
            require_text(name, value)
            if not _NAME.fullmatch(value):
                raise ConfigError(f"{name} must hold no space, colon, brace or surrogate, not {value!r}")
        require_bool("is_multi_processor", self.is_multi_processor)
        require_number("max_jobs", self.max_jobs, 1, integer=True)
        require_number("max_bytes", self.max_bytes, 1, integer=True)
        object.__setattr__(self, "job_opts", JobOpts.of(self.job_opts, "job_opts"))
        if self.redis_opts is not None:
            object.__setattr__(self, "redis_opts", RedisOpts.of(self.redis_opts, "redis_opts"))
        if self.url is not None:
            if self.redis_opts is not None:
                raise ConfigError("give either url or redis_opts, not both")
            parse_queue_url(self.url)
        _ = self.encryption_keys

    @property
    def encryption_keys(self) -> tuple[bytes, ...]:
        """The encryption keys: the first encrypts."""
        return () if self.encryption_key is None else parse_keys(self.encryption_key)

    @property
    def jobs(self) -> JobOpts:
        """The job options, resolved."""
        assert isinstance(self.job_opts, JobOpts)  # noqa: S101 - narrowed in __post_init__
        return self.job_opts

    @property
    def target(self) -> RedisOpts | SQLiteOpts:
        """Where the queue is: Redis on localhost unless said otherwise, as in the document."""
        if self.url is not None:
            return parse_queue_url(self.url)
        return RedisOpts.of(self.redis_opts, "redis_opts")


@_naming_unknown
@dataclass(frozen=True, slots=True, kw_only=True)
class SpillOpts(_FromMapping):
    """
    The local file that takes events while Redis is not available.

    Args:
        url: The file: ``sqlite:///path`` (four slashes for an absolute path). It belongs to one Redis queue; the
            processes of a machine may share it.
        max_jobs: Most jobs that the file holds; beyond it events wait in memory.
        max_bytes: Most payload bytes that the file holds.
    """

    url: str
    max_jobs: int = 1_000_000
    max_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if not str(self.url).startswith("sqlite:"):
            raise ConfigError("the spill url must be sqlite:///path: a local file")
        parse_queue_url(self.url)
        require_number("max_jobs", self.max_jobs, 1, integer=True)
        require_number("max_bytes", self.max_bytes, 1, integer=True)

    def beside(self, queue: QueueOpts) -> QueueOpts:
        """
        Return the file as a queue in strict order, by the same name and with the same keys as *queue*.

        Raises:
            ConfigError: *queue* is not in Redis.
        """
        if not isinstance(queue.target, RedisOpts):
            raise ConfigError("spill is for a queue in Redis: one in SQLite is a local file itself")
        return replace(
            queue,
            url=self.url,
            redis_opts=None,
            is_multi_processor=False,
            max_jobs=self.max_jobs,
            max_bytes=self.max_bytes,
        )


_REDIS_SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # whose text may repeat a password
        raise ConfigError("the queue URL is malformed") from None
    return parts


def parse_queue_url(url: str) -> RedisOpts | SQLiteOpts:
    """
    Return what *url* points to.

    Raises:
        ConfigError: The URL is of no known kind. The message does not repeat it: it may hold a password.
    """
    require_text("queue URL", url)
    parts = _split(url)
    if parts.scheme in _REDIS_SCHEMES:
        return RedisOpts(url=url)
    if parts.scheme == "sqlite":
        if parts.netloc or not url[7:].startswith("///") or parts.fragment:
            raise ConfigError(
                "write sqlite:///relative/path or sqlite:////absolute/path: three or four slashes, # as %23"
            )
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        reject_unknown(options, ["synchronous"], "the SQLite URL")
        path = unquote(parts.path[1:])
        if not path:
            raise ConfigError("the SQLite URL names no file: write sqlite:///queue.db")
        return SQLiteOpts(path=path, **{k: v.lower() for k, v in options.items()})  # type: ignore[arg-type]
    raise ConfigError(
        "a queue URL begins with redis://, rediss://, unix://, valkey://, valkeys:// or sqlite:///"
    )


def read_queue_opts(
    given: QueueOpts | Mapping[str, Any] | str | None, redis_opts: RedisOpts | Mapping[str, Any] | None = None
) -> QueueOpts | None:
    """Return *given* as ``QueueOpts``, with *redis_opts* put in. Understands the document's nested form."""
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
        return read_queue_opts({} if inner is None else inner, redis_opts)
    if redis_opts is not None:
        if plain.get("redis_opts") is not None:
            raise ConfigError("redis_opts is given twice")
        plain["redis_opts"] = redis_opts
    reject_unknown(plain, [*(f.name for f in fields(QueueOpts)), "queue_opts"], "queue_opts")
    return QueueOpts.of(plain, "queue_opts")


_HOMES = {"queue_opts": QueueOpts, "job_opts": JobOpts, "redis_opts": RedisOpts}
"""Where to look for an option that was given in the wrong place."""


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of ``Client``, ``AsyncClient`` and ``init``, for type checkers."""

    persistence: str | QueueOpts | Mapping[str, Any] | None
    on_error: Callable[[Exception, list[dict[str, Any]]], object] | None
    data_plane_url: str
    path: str
    flush_at: int
    flush_interval: float
    max_internal_queue_size: int
    max_batch_bytes: int
    max_event_bytes: int
    gzip: bool
    timeout: float
    enable: bool
    strict: bool
    durability: Literal["buffered", "persisted"]
    process: bool
    handle_sigterm: bool
    spill: str | SpillOpts | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOpts:
    """The client's options, checked (contract, section 1)."""

    write_key: str = field(repr=False)
    data_plane_url: str = DEFAULT_DATA_PLANE_URL
    path: str = DEFAULT_PATH
    flush_at: int = 20
    flush_interval: float = 20.0
    max_internal_queue_size: int = 20_000
    max_batch_bytes: int = 460_800
    max_event_bytes: int = 32_768
    gzip: bool = True
    timeout: float = 10.0
    enable: bool = True
    strict: bool = False
    durability: Literal["buffered", "persisted"] = "buffered"
    process: bool = True
    handle_sigterm: bool = False
    spill: SpillOpts | str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        require_text("write_key", self.write_key)
        if any(ord(c) < 33 or ord(c) > 126 or c == ":" for c in self.write_key):
            raise ConfigError("write_key must be printable ASCII without spaces or colons")
        require_text("data_plane_url", self.data_plane_url)
        try:
            parts = urlsplit(self.data_plane_url)
            port_ok = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_ok = urlsplit(""), False
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
            raise ConfigError("data_plane_url must be an http:// or https:// URL with a host")
        if (
            parts.username is not None
            or parts.query
            or parts.fragment
            or any(c <= " " for c in self.data_plane_url)
        ):
            raise ConfigError("data_plane_url must hold no user, query, fragment or space")
        if any(c > "~" for c in parts.path):
            raise ConfigError("data_plane_url must hold printable ASCII only in its path: quote the rest")
        require_text("path", self.path)
        if not self.path.startswith("/") or any(c <= " " or c > "~" for c in self.path):
            raise ConfigError("path must begin with / and hold printable ASCII only")
        require_number("flush_at", self.flush_at, 1, integer=True)
        require_number("flush_interval", self.flush_interval, 0, exclusive=True)
        require_number("max_internal_queue_size", self.max_internal_queue_size, 1, integer=True)
        require_number("max_batch_bytes", self.max_batch_bytes, 1024, integer=True)
        if self.max_batch_bytes > _LARGEST_BATCH:
            raise ConfigError(f"max_batch_bytes must be at most {_LARGEST_BATCH}, not {self.max_batch_bytes}")
        require_number("max_event_bytes", self.max_event_bytes, 128, integer=True)
        require_number("timeout", self.timeout, 0, exclusive=True)
        for name in ("gzip", "enable", "strict", "process", "handle_sigterm"):
            require_bool(name, getattr(self, name))
        if self.durability not in ("buffered", "persisted"):
            raise ConfigError(f"durability must be 'buffered' or 'persisted', not {self.durability!r}")
        if self.max_event_bytes > self.max_batch_bytes - 128:
            raise ConfigError("max_event_bytes must leave 128 bytes of room in max_batch_bytes")
        if self.spill is not None:
            given = {"url": self.spill} if isinstance(self.spill, str) else self.spill
            object.__setattr__(self, "spill", SpillOpts.of(given, "spill"))

    def spill_beside(self, queue: QueueOpts | None) -> QueueOpts | None:
        """Return the spill file of *queue* as a queue, ``None`` where there is none. Raises ``ConfigError``."""
        if queue is None or not isinstance(self.spill, SpillOpts):
            return None
        return self.spill.beside(queue)
