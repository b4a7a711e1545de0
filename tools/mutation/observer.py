"""
A pytest plugin: which test runs which lines, and which test failed.

It also makes tests cheap enough to be run a thousand times: one Redis server instead of four, and Hypothesis does not look
for the smallest example of a failure that nobody will read.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Observer", "Record"]

_MEMORY_BYTES = 4 << 30
_SERVER = "valkey-9.1"
_LEFT_OUT = ("redis-6.2", "redis-8.2", "valkey-8.1", "[memory", "memory]", "MemoryQueue")

Record = dict[str, dict[str, object]]


class _OneServer(dict):
    """All servers for whoever names one, but one for whoever takes them all."""

    def __missing__(self, name: str) -> object:
        return self.others[name]


class Observer:
    """
    Runs *chosen* tests, in that order, or all.

    Args:
        chosen: Ids of tests.
        watched: Files whose lines are noted for each test, and Lua scripts.
    """

    def __init__(self, chosen: Sequence[str] | None, watched: Sequence[Path] = ()) -> None:
        self.chosen = chosen
        self.failed = ""
        self.tests: dict[str, float] = {}
        self.scripts: dict[str, set[str]] = {}
        self._current = ""
        self._coverage = None
        if watched:
            from coverage import Coverage

            self._coverage = Coverage(
                data_file=None, config_file=False, include=[str(path) for path in watched]
            )
            self._coverage.start()

    def pytest_configure(self) -> None:
        """Leave all servers but one out."""
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        import redis_servers

        servers = _OneServer({_SERVER: redis_servers.available_servers()[_SERVER]})
        servers.others = redis_servers.available_servers()
        redis_servers.available_servers = lambda: servers

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Put our settings in the place of those of ``conftest.py``."""
        settings.register_profile(
            "mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate)
        )
        settings.load_profile("mutation")
        if self._coverage is not None:
            self._note_scripts()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what was not chosen, and order the rest."""
        items[:] = [i for i in items if not any(word in i.nodeid for word in _LEFT_OUT)]
        if self.chosen is not None:
            places = {test: place for place, test in enumerate(self.chosen)}
            items[:] = sorted((i for i in items if i.nodeid in places), key=lambda i: places[i.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note the lines that *item* runs, fixtures included."""
        self._current = item.nodeid
        if self._coverage is not None:
            self._coverage.switch_context(item.nodeid)
        result = yield
        if self._coverage is not None:
            self._coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long a test took, and the first that failed."""
        self.tests[report.nodeid] = self.tests.get(report.nodeid, 0.0) + report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def _note_scripts(self) -> None:
        from eventspool._backends._redis_connection import Connection

        plain = Connection.with_script

        def with_script(connection: Connection, name: str, *args: object) -> object:
            self.scripts.setdefault(name, set()).add(self._current)
            return plain(connection, name, *args)

        Connection.with_script = with_script

    def lines(self) -> Mapping[str, Mapping[int, list[str]]]:
        """Return, for each watched file, which tests ran each line; "" is the import."""
        if self._coverage is None:
            return {}
        self._coverage.stop()
        data = self._coverage.get_data()
        return {path: data.contexts_by_lineno(path) for path in data.measured_files()}
