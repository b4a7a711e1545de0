"""docs/migration/node.md names options, reasons and states as they are."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import eventspool
from eventspool._cli.commands.queue.import_bull import import_bull
from eventspool._operate.bull.importing import LEFT

TEXT = (Path(__file__).parents[2] / "docs/migration/node.md").read_text(encoding="utf-8")


def rows(heading):
    """Return the cells of the table below *heading*, without its head."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_each_reason_is_in_the_table():
    assert [row[0].strip("`") for row in rows("What is left, and named")] == list(LEFT)


def test_each_option_is_one_of_ours():
    names = set(inspect.signature(eventspool.Client).parameters)
    names |= {name for name in dir(eventspool.Client) if not name.startswith("_")}
    for kind in (eventspool.QueueOpts, eventspool.JobOpts, eventspool.RedisOpts):
        names |= {each.name for each in fields(kind)}
    table = rows("Options")
    named = {name for row in table for name in re.findall(r"`(\w+)", row[1])}

    assert len(table) > 15
    assert named - names == set()
    assert {each.name for each in fields(eventspool.JobOpts)} >= {
        "max_attempts",
        "backoff_initial",
        "backoff_max",
        "retry_for",
    }


def test_each_switch_of_the_command_is_there():
    there = {switch for option in import_bull.params for switch in option.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) - there <= {"--reason", "--scan", "--pattern"}
