"""The options of the default client as the command line takes them: variables of the environment, and a URL of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from eventspool._config import RedisOpts, SpillOpts
from eventspool._config.variables import list_variables, variable_of
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from eventspool._config import ClientOpts, QueueOpts

__all__ = ["environment_of", "url_of"]

_IN_QUERY = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "password_file",
    "socket_timeout",
    "socket_connect_timeout",
)
"""The options of Redis that stand behind the ``?`` of a URL."""
_OF_SENTINELS = ("sentinel_username", "sentinel_password")


def environment_of(opts: ClientOpts, queue: QueueOpts | None) -> dict[str, str]:
    """
    Return the variables with which the command line has the options of a client.

    Raises:
        ConfigError: The password of Redis comes from a function, which no variable can hold.
    """
    owners: dict[str, object] = {"Client": opts}
    found = {}
    if queue is not None:
        owners |= {"QueueOpts": queue, "JobOpts": queue.jobs}
        found[variable_of("persistence")] = url_of(queue)
    for variable in list_variables():
        value = getattr(owners.get(variable.owner), variable.option, None)
        if value is not None:
            found[variable.name] = _text_of(value)
    return found


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, SpillOpts):
        return value.url
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def url_of(queue: QueueOpts) -> str:
    """
    Return the URL of *queue*.

    Raises:
        ConfigError: The password of Redis comes from a function.
    """
    if queue.url is not None:
        return queue.url
    opts = queue.target
    assert isinstance(opts, RedisOpts)  # noqa: S101 - only Redis has options besides a URL
    if callable(opts.password) or opts.credential_provider is not None or opts.client is not None:
        origin = (
            "Redis is given as a client" if opts.client else "the password of Redis comes from a function"
        )
        raise ConfigError(f"the command line needs the queue as a URL: {origin} here")
    login = f"{quote(opts.username or '', safe='')}:{quote(opts.password or '', safe='')}@"
    login = "" if login == ":@" else login
    if opts.url is not None:
        scheme, _, rest = opts.url.partition("://")
        sentinels = {name: each for name in _OF_SENTINELS if (each := getattr(opts, name))}
        options = f"{'&' if '?' in rest else '?'}{urlencode(sentinels, quote_via=quote)}" if sentinels else ""
        return f"{scheme}://{login}{rest}{options}"
    default = RedisOpts()
    changed = {
        name: getattr(opts, name) for name in _IN_QUERY if getattr(opts, name) != getattr(default, name)
    }
    host = f"[{opts.host}]" if ":" in opts.host else opts.host
    options = f"?{urlencode(changed, quote_via=quote)}" if changed else ""
    return f"redis{'s' * opts.ssl}://{login}{host}:{opts.port}/{opts.db}{options}"
