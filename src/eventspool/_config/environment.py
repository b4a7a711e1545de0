"""
Options from the environment. Pure: the environment comes in as a mapping.

Most programs have no variable of ours. So the table of the variables is imported by the functions that read one: it would take
a tenth of the time of ``import eventspool``.

An argument goes before the environment, also one that is equal to the default; the environment goes before the default. A
variable that is set to "" counts as not set, as for the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eventspool._config.checks import PREFIX
from eventspool._config.client import ClientOpts
from eventspool._config.queue import QueueOpts, flatten_queue_opts
from eventspool._config.redis_url import read_redis_url
from eventspool._config.stores import REDIS, find_kind
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

    from eventspool._config.redis_opts import RedisOpts
    from eventspool._config.variables import Unknown

__all__ = ["fill_client", "fill_queue", "find_strays", "find_wrong", "import_table", "read_queue"]

_CREDENTIALS = {"password", "password_file", "credential_provider"}
"""Options that say the same thing: an argument for one of them goes before the environment's for all of them."""
_ORDER = {"is_multi_processor", "ordering"}
"""The same, for what order a queue keeps."""


def _has_ours(environ: Mapping[str, str]) -> bool:
    return any(name.startswith(PREFIX) for name in environ)


def import_table(environ: Mapping[str, str]) -> None:
    """Import the table where *environ* has a variable of ours. A caller on the host's thread guards that against forks."""
    if _has_ours(environ):
        _import_table()


def _import_table() -> ModuleType:
    from eventspool._config import variables

    return variables


def find_strays(environ: Mapping[str, str]) -> list[Unknown]:
    """Return the variables in *environ* that begin like ours, and that nothing reads."""
    return _import_table().find_unknown(environ) if _has_ours(environ) else []


def _read(owner: str, environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, Any]:
    """
    Return the options of *owner* that *environ* has, but for those that are *given*.

    Raises:
        ConfigError: A text cannot be read. The message names the variable.
    """
    if not _has_ours(environ):
        return {}
    table = _import_table()
    settled = set(given)
    if not _CREDENTIALS.isdisjoint(settled) or (
        isinstance(given, Mapping) and _holds_password(given.get("url"))
    ):
        settled |= _CREDENTIALS
    if not _ORDER.isdisjoint(settled):
        settled |= _ORDER
    return {
        each.option: each.read(text)
        for each in table.list_variables()
        if each.owner == owner
        and each.option not in settled
        and (text := environ.get(each.name))
        and not table.is_link(each.name, text)
    }


@contextmanager
def _naming(owner: str, options: Iterable[str]) -> Iterator[None]:
    """Have a ``ConfigError`` about one of *options* of *owner*, which the environment gave, name the variable."""
    try:
        yield
    except ConfigError as error:
        text = str(error)
        names = [
            _import_table().variable_for(owner, option).name for option in options if _is_about(text, option)
        ]
        if not names or any(name in text for name in names):
            raise
        raise ConfigError(f"{text} ({', '.join(names)} in the environment)") from None


def _is_about(text: str, option: str) -> bool:
    """Say whether *text* is about *option*, whose name may be a word that texts use for other things."""
    begins = re.match(rf"(the )?{option}\b", text)
    return bool(begins or ("_" in option and re.search(rf"\b{option}\b", text)))


@contextmanager
def fill_client(environ: Mapping[str, str], given: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """
    Give the options of ``Client`` that *environ* has and that are not *given*, for as long as a client is made of them.

    Raises:
        ConfigError: A text cannot be read, or its value is wrong. The message names the variable.
    """
    found = _read("Client", environ, given)
    with _naming("Client", found):
        yield found


@contextmanager
def fill_queue(environ: Mapping[str, str], given: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """Give those of the options of ``open_queue`` that *environ* has and that are not *given*, as ``fill_client`` does."""
    found = _read("QueueOpts", environ, given)
    with _naming("QueueOpts", found):
        yield {name: found[name] for name in ("queue_name", "prefix", "encryption_key") if name in found}


def read_queue(
    given: QueueOpts | Mapping[str, Any] | str | None,
    redis_opts: RedisOpts | Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str],
) -> QueueOpts | None:
    """
    Return *given*, with *redis_opts* put in, as ``QueueOpts``: what they do not say is as *environ* has it.

    An instance of ``QueueOpts``, ``JobOpts`` or ``RedisOpts`` says all its options itself.

    Args:
        given: The queue: a URL, a mapping, ``QueueOpts``; ``None`` for none. A mapping that does not say where the queue is
            means that of the environment, or else Redis on this machine.
        redis_opts: Where Redis is, where *given* does not say.
        environ: The environment.

    Raises:
        ConfigError: An option is unknown or wrong.
    """
    plain = flatten_queue_opts(given, redis_opts)
    if plain is None or isinstance(plain, QueueOpts):
        return plain
    queue = _Layer("QueueOpts", plain, environ)
    opts = dict(queue.options)
    if "url" not in plain and plain.get("redis_opts") is None and _has_ours(environ):
        variable = _import_table().variable_for("Client", "persistence")
        if url := environ.get(variable.name):
            opts["url"] = variable.read(url)
    jobs = _Layer("JobOpts", plain.get("job_opts", {}), environ)
    opts["job_opts"] = jobs.options
    redis = _Layer("RedisOpts", _find_server(opts), environ)
    if redis.found:
        opts["url"], opts["redis_opts"] = None, redis.options
    with queue.naming(), jobs.naming(), redis.naming():
        return QueueOpts.of(opts, "queue_opts")


class _Layer:
    """
    The environment's options of *owner* below those that were *given*.

    Args:
        owner: What has the options.
        given: A mapping of options. Anything else says all itself.
        environ: The environment.
    """

    def __init__(self, owner: str, given: Any, environ: Mapping[str, str]) -> None:
        self._owner = owner
        self.found = _read(owner, environ, given) if isinstance(given, Mapping) else {}
        self.options = {**self.found, **given} if isinstance(given, Mapping) else given

    def naming(self) -> AbstractContextManager[None]:
        """Have a ``ConfigError`` about one of the environment's options name its variable."""
        return _naming(self._owner, self.found)


def _find_server(opts: Mapping[str, Any]) -> Any:
    """Return what *opts* say of the Redis server, as ``RedisOpts`` or a mapping of them; ``None`` where there is none."""
    url, redis = opts.get("url"), opts.get("redis_opts")
    if url is None:
        return {} if redis is None else redis
    return {"url": url} if redis is None and find_kind(url) is REDIS else None


def _holds_password(url: object) -> bool:
    if not isinstance(url, str) or find_kind(url) is not REDIS:
        return False
    found = read_redis_url(url)
    return bool(found.password or found.password_file)


def find_wrong(environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the values in *environ*: each a sentence that names the variable."""
    table = _import_table()
    wrong: list[str] = []
    for each in table.list_variables():
        text = environ.get(each.name)
        if text and not table.is_link(each.name, text):
            try:
                each.read(text)
            except ConfigError as error:
                wrong.append(str(error))
    if not wrong:  # each can be read, but the values may be out of bounds
        for check in (_check_client, _check_queue):
            try:
                check(environ)
            except ConfigError as error:
                wrong.append(str(error))
    return wrong


def _check_client(environ: Mapping[str, str]) -> None:
    with fill_client(environ, {"persistence"}) as found:
        ClientOpts(**{"write_key": "not-given", **found})


def _check_queue(environ: Mapping[str, str]) -> None:
    read_queue({}, environ=environ)
