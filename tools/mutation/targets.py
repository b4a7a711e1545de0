"""Which files are mutated, and which tests are to notice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """*path*, from the package's folder (a folder means its Lua scripts), and the *tests* that hold it."""

    path: str
    tests: tuple[str, ...]


_ENVELOPES = (
    "tests/unit/test_envelope.py",
    "tests/unit/test_keys.py",
    "tests/unit/test_stored_forms.py",
    "tests/security/test_encryption.py",
)
_JOBS = ("tests/unit/test_job.py", "tests/contract/test_memory.py")
_REDIS = (
    "tests/redis/test_chunks.py",
    "tests/redis/test_clock.py",
    "tests/redis/test_contract.py",
    "tests/redis/test_damage.py",
    "tests/redis/test_epoch.py",
    "tests/redis/test_liveness.py",
    "tests/redis/test_older_processes.py",
    "tests/redis/test_order_and_wakeups.py",
    "tests/redis/test_pages.py",
    "tests/redis/test_risks.py",
    "tests/model/test_queue.py",
)
_SQLITE = (
    "tests/contract/test_sqlite.py",
    "tests/sqlite/test_damage.py",
    "tests/sqlite/test_disk.py",
    "tests/sqlite/test_listing.py",
    "tests/sqlite/test_liveness.py",
    "tests/sqlite/test_modes.py",
    "tests/sqlite/test_moments.py",
    "tests/sqlite/test_older_files.py",
    "tests/sqlite/test_strays.py",
    "tests/sqlite/test_values.py",
    "tests/model/test_queue.py",
)

TARGETS = [
    Target("_job.py", _JOBS),
    Target("_retry.py", ("tests/unit/test_retry.py",)),
    Target("_envelope.py", _ENVELOPES),
    Target("_encryption.py", _ENVELOPES),
    Target("_delivery/breaker.py", ("tests/unit/test_breaker.py",)),
    Target("_delivery/plan.py", ("tests/unit/test_plan.py",)),
    Target("_delivery/verdict.py", ("tests/unit/test_verdict.py",)),
    Target("_backends/_redis_codec.py", ("tests/unit/test_redis_codec.py",)),
    Target("_backends/redis.py", _REDIS),
    Target("_backends/lua", _REDIS),
    Target("_backends/sqlite.py", _SQLITE),
    Target("_backends/_sqlite_rows.py", _SQLITE),
]
