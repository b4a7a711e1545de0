"""
Heavy tests rotate: each commit runs a share of them, and ten commits in a row run all of them.

The parameters of a test with the marker ``rotating`` are dealt out over ten shares, so that each share runs at least one
parameter: each of five parameters is run by two shares, and of a hundred parameters each share runs ten. Tests that name a
group in common, ``rotating("whole demos")``, are dealt out together. Tests that name a unit besides the group, as those do
that need one expensive fixture, are run by the same shares. A test with a parameter of ``taking_turns`` is run with one of
its values by each share. Each unit of a group that is ``seldom=True`` is run by one share alone, so that some shares have
none of the group. With ``turns=3`` every third share runs a unit. With ``EVENTSPOOL_TEST_THIRD=yes`` a run has every third
function of all tests, heavy or not.

The number of a commit in its history says which share it runs, so a commit always runs the same tests. In a shallow clone,
where git does not know that number, the hash of the commit says it, and where there is no git, share 0 is run.

A test with the marker ``hunt`` looks at random for faults that no test describes: what it finds depends on the machine and on
chance, and not on what a commit has changed. So no share has it, and only ``--whole`` runs it.

``--whole`` runs all shares and all hunts, and tries four times as many examples of each property, as does
``EVENTSPOOL_TEST_SHARE=all``; a number there asks for one share. A test that is named by its node id
(``tests/FILE.py::TEST``) is never left out. The end of a run says how many tests it left out.
"""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import settings

SHARES = 10
_share = pytest.StashKey[int | None]()
_left = pytest.StashKey[tuple[int, int]]()
"""How many heavy tests, and how many hunts, a run has left out."""


def is_dealt(
    share: int, group: str, position: int, count: int, *, seldom: bool = False, turns: int = SHARES
) -> bool:
    """
    Return whether *share* runs what is at *position* of the *count* things in *group*.

    Each is run by one share of *turns* that follow each other, and more often where there are fewer things than turns. What
    is *seldom* is run by one share alone.
    """
    hands = SHARES if seldom else min(turns, count)
    return (share + crc32(group.encode())) % hands == position % hands


def taking_turns(*values: str) -> list[Any]:
    """Return *values* as parameters of which each share runs a test with one: two stores, say, that a fixture is made for."""
    return [pytest.param(value, marks=pytest.mark.rotating(unit=value)) for value in values]


def _ask_git(*words: str) -> list[str]:
    command = ["git", "-c", "safe.directory=*", *words]
    here = Path(__file__).parent
    return subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout.split()


def share_of_commit() -> int:
    """Return which share the commit runs that is checked out."""
    try:
        shallow, commit = _ask_git("rev-parse", "--is-shallow-repository", "HEAD")
        [number] = (
            [int(commit, 16)] if shallow == "true" else map(int, _ask_git("rev-list", "--count", "HEAD"))
        )
    except (OSError, subprocess.CalledProcessError):
        return 0
    return number % SHARES


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--whole``."""
    parser.addoption(
        "--whole",
        action="store_true",
        help="run all of the heavy tests, which rotate by commit, and the hunts",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the share. The workers of pytest-xdist are told it, and run the same one if HEAD moves meanwhile."""
    wanted = os.environ.get("EVENTSPOOL_TEST_SHARE", "")
    if hasattr(config, "workerinput"):
        share = config.workerinput["share"]
    elif config.getoption("whole") or wanted == "all":
        share = None
    else:
        share = int(wanted) % SHARES if wanted else share_of_commit()
    config.stash[_share] = share
    config.stash[_left] = 0, 0
    if share is None:
        settings.register_profile("whole", parent=settings.get_profile("ci"), max_examples=400)
        settings.load_profile("whole")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist the share."""
    node.workerinput["share"] = node.config.stash[_share]


def pytest_report_header(config: pytest.Config) -> str:
    """Say which share is run."""
    share = config.stash[_share]
    return (
        f"heavy tests: {'all' if share is None else f'share {share} of 0 to {SHARES - 1} (--whole runs all)'}"
    )


def _name(item: pytest.Item) -> bytes:
    """Return the name of the function of a test, which its parameters share."""
    return item.nodeid.partition("[")[0].encode()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what other shares run, and the hunts."""
    share = config.stash[_share]
    if share is None or any("::" in argument for argument in config.args):
        return
    groups: dict[str, dict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    terms: dict[str, dict[str, Any]] = defaultdict(dict)
    for item in items:
        if (marker := item.get_closest_marker("rotating")) and not item.get_closest_marker("hunt"):
            own = item.nodeid.partition("[")[0], marker.kwargs.get("unit", item.nodeid)
            group, unit, *_ = *marker.args, *own[len(marker.args) :]
            groups[group][unit].append(item)
            terms[group].update(
                {key: marker.kwargs[key] for key in ("seldom", "turns") if key in marker.kwargs}
            )
    left = {
        item
        for group, units in groups.items()
        for position, dealt in enumerate(units.values())
        if not is_dealt(share, group, position, len(units), **terms[group])
        for item in dealt
    }
    if os.environ.get("EVENTSPOOL_TEST_THIRD"):
        left |= {item for item in items if not is_dealt(share, "thirds", crc32(_name(item)), 3)}
    hunts = {item for item in items if item.get_closest_marker("hunt")}
    not_run = left | hunts
    items[:] = [item for item in items if item not in not_run]
    config.hook.pytest_deselected(items=list(not_run))
    config.stash[_left] = len(left), len(hunts)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left"] = config.stash[_left]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist how many tests it left out. All workers leave out the same ones."""
    node.config.stash[_left] = tuple(getattr(node, "workeroutput", {}).get("left", (0, 0)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left out."""
    left, hunts = terminalreporter.config.stash[_left]
    if left:
        terminalreporter.write_line(
            f"{left} heavy tests are left to the shares of other commits (--whole runs all)"
        )
    if hunts:
        terminalreporter.write_line(f"{hunts} hunts for unknown faults are left out (--whole runs them)")
