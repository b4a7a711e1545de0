"""docs/reference.md says what the source says, and leaves no public name out."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

import eventspool
from eventspool._config import ClientOpts
from tools import json_page
from tools.reference import OPTIONS, read_docstring, render

PAGE = Path(__file__).parents[1].joinpath("docs/reference.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_source_says():
    assert render() == PAGE, "run: python tools/reference.py > docs/reference.md"


@pytest.mark.parametrize("name", eventspool.__all__)
def test_every_public_name_is_in_the_page(name):
    assert f"### {name}\n" in PAGE or f"`{name}`" in PAGE or f"`eventspool.{name}`" in PAGE


@pytest.mark.parametrize("owner", OPTIONS.values(), ids=OPTIONS)
def test_every_option_is_explained_and_no_other(owner):
    assert set(read_docstring(owner).arguments) == set(inspect.signature(owner).parameters)


def test_each_option_reaches_the_client():
    given = {
        "data_plane_url": "https://x.example",
        "path": "/v2",
        "flush_at": 7,
        "flush_interval": 7.0,
        "max_internal_queue_size": 7,
        "max_batch_bytes": 7_000,
        "max_event_bytes": 700,
        "gzip": False,
        "timeout": 7.0,
        "enable": False,
        "strict": True,
        "durability": "persisted",
        "process": False,
        "handle_sigterm": False,
        "spill": eventspool.SpillOpts(url="sqlite:///s.db"),
        "proxy": "http://p",
        "ca_file": "",
    }
    with eventspool.Client("key", **given) as client:
        assert client._opts == ClientOpts(write_key="key", **given)
    assert {"write_key", *given} == {field.name for field in dataclasses.fields(ClientOpts)}


@pytest.mark.parametrize("taker", [eventspool.AsyncClient, eventspool.init])
def test_what_takes_the_options_of_the_client_shows_them(taker):
    assert inspect.signature(taker).parameters == inspect.signature(eventspool.Client).parameters


@pytest.mark.parametrize("name", ["track", "identify", "page", "screen", "group", "alias", "flush", "stats"])
def test_the_functions_of_the_default_client_show_no_self(name):
    shown = inspect.signature(getattr(eventspool, name)).parameters

    assert list(shown) == list(inspect.signature(getattr(eventspool.Client, name)).parameters)[1:]


@pytest.mark.parametrize("taker", [eventspool.Client, eventspool.AsyncClient, eventspool.init])
def test_an_unknown_option_is_named_wherever_it_is_given(taker):
    with pytest.raises(eventspool.ConfigError, match="'flushAt' in Client: did you mean 'flush_at'"):
        taker("key", flushAt=3)


@pytest.mark.parametrize("taker", [eventspool.Client, eventspool.AsyncClient, eventspool.init])
def test_a_missing_write_key_is_said_with_both_ways_to_give_it(taker):
    with pytest.raises(
        eventspool.ConfigError, match="write_key is missing: give it, or set EVENTSPOOL_WRITE_KEY"
    ):
        taker()


def test_the_page_on_json_is_made_from_the_schemas():
    found = (Path(__file__).parents[1] / "docs/json.md").read_text("utf-8")
    assert found == json_page.page(), "run: python tools/json_page.py > docs/json.md"
