"""Narrow terminals, and small courtesies: `-V`, `help`, a misspelt variable."""

from __future__ import annotations

import pytest

from eventspool import __version__

MISSPELT = {"EVENTSPOOL_" + "WRITEKEY": "x"}


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80, 120])
def test_no_width_cuts_an_id_or_a_heading(run, failed, columns):
    jobs = run("queue", "list", "--json", **failed).json
    listed = run("queue", "list", **failed, COLUMNS=str(columns)).out
    assert "…" not in listed
    assert max(map(len, listed.splitlines())) <= columns
    for job in jobs:
        assert job["id"] in listed.replace("\n", "")


def test_a_wide_terminal_has_a_table(run, failed):
    listed = run("queue", "list", **failed, COLUMNS="120").out.splitlines()
    assert listed[0].split() == ["job", "age", "events", "size", "why"]


def test_the_version_has_a_short_option(run):
    assert run("-V").out == f"eventspool {__version__}\n"


@pytest.mark.parametrize("arguments", [("queue", "help", "list"), ("help", "queue", "list")])
def test_help_is_a_command_of_every_group(run, arguments):
    done = run(*arguments)
    assert done.status == 0
    assert done.out.startswith("Usage: eventspool queue list ")


def test_help_of_an_unknown_command_names_the_nearest(run):
    done = run("help", "queue", "lst")
    assert (done.status, "did you mean 'list'?" in done.err) == (2, True), done


@pytest.mark.parametrize("arguments", [("queue", "status")])
def test_a_misspelt_variable_is_told_once(run, queue, enqueue, arguments):
    enqueue("a")
    done = run(*arguments, EVENTSPOOL_WRITE_KEY="y", **queue, **MISSPELT)
    assert done.err.count("did you mean EVENTSPOOL_WRITE_KEY?") == 1, done


def test_doctor_finds_a_misspelt_variable(run, queue, enqueue):
    enqueue("a")
    done = run("doctor", "--no-data-plane", "--interval", "0", "--json", **queue, **MISSPELT)
    assert "environment.unknown" in {each["check"] for each in done.json["findings"]}
