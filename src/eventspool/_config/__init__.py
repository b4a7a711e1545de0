"""
Options: frozen, checked when they are made, with secrets hidden from their ``repr``.

``client`` and ``queue`` hold the options that programs give, ``stores`` the registry of what can keep a queue, with the
options of each kind in a file of its own; ``checks`` is what they are all checked with, and ``environment`` with
``variables`` where they come from besides.
"""

from eventspool._config.checks import (
    naming_unknown,
    reject_unknown,
    require_bool,
    require_number,
    require_text,
)
from eventspool._config.client import DEFAULT_DATA_PLANE_URL, DEFAULT_PATH, ClientOpts
from eventspool._config.environment import fill_client, fill_queue, find_strays, import_table, read_queue
from eventspool._config.queue import JobOpts, Ordering, QueueOpts, SpillOpts
from eventspool._config.redis_opts import RedisOpts
from eventspool._config.sqlite_opts import SQLiteOpts
from eventspool._config.stores import StoreKind, parse_queue_url, register_store

__all__ = [
    "DEFAULT_DATA_PLANE_URL",
    "DEFAULT_PATH",
    "ClientOpts",
    "JobOpts",
    "Ordering",
    "QueueOpts",
    "RedisOpts",
    "SQLiteOpts",
    "SpillOpts",
    "StoreKind",
    "fill_client",
    "fill_queue",
    "find_strays",
    "import_table",
    "naming_unknown",
    "parse_queue_url",
    "read_queue",
    "register_store",
    "reject_unknown",
    "require_bool",
    "require_number",
    "require_text",
]
