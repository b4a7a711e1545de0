"""Every reason stands in one table, with what it means, and the documents name it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import eventspool
from eventspool._reasons import FAILED, LOST, REFUSED, meaning_of

SOURCE = Path(eventspool.__file__).parent
DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"
MAKERS = {"Failure": 0, "fail_rest": 0, "EnvelopeError": 1, "RefusedError": 1}
"""What makes an error with a reason, and which of its arguments that is."""
INTERNAL = {"lost", "purged", "moved"}
"""What becomes of jobs that do not fail: they are told as such by their own counters."""


def given_reasons():
    for path in SOURCE.rglob("*.py"):
        if "_contract" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", "")
            place = MAKERS.get(name)
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                yield name, node.args[place].value


def test_no_reason_is_given_that_no_table_explains():
    found = list(given_reasons())
    failed = {reason for name, reason in found if name != "RefusedError"}
    refused = {reason for name, reason in found if name == "RefusedError"}
    assert {"missing", "stalled", "encrypted", "unsupported"} <= failed <= {*FAILED, *INTERNAL}
    assert {"starting", "buffer_full", "no_queue"} <= refused <= {*REFUSED}


@pytest.mark.parametrize("table", [FAILED, REFUSED, LOST])
def test_each_is_explained_in_a_whole_sentence_and_named_in_the_document(table):
    text = DOCUMENT.read_text()
    for name, reason in table.items():
        assert reason.meaning[0].isupper(), name
        assert reason.meaning.endswith("."), name
        assert f"`{name}`" in text, name
    assert all(reason.advice for reason in FAILED.values())


def test_a_reason_of_another_version_is_said_to_be_one():
    assert "version" in meaning_of("newer")
