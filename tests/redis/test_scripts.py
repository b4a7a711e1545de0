"""What Python and the Lua scripts must agree on without being told by each other."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from eventspool._backends.redis import backend, operated, scripts

LUA = files("eventspool._backends.redis").joinpath("lua")


def test_the_documented_table_names_each_key_as_the_scripts_do_and_in_their_order():
    rows = re.findall(r"^    ([a-z])  ([A-Z_]+) +(?:HASH|ZSET|LIST|STRING) ", backend.__doc__, re.MULTILINE)
    prelude = LUA.joinpath("prelude.lua").read_text()
    [names] = re.findall(r"^local ([A-Z_,\s]+) = unpack\(KEYS\)", prelude, re.MULTILINE)
    in_scripts = dict(zip(operated._KEYS, re.split(r",\s+", names), strict=True))
    assert dict(rows) == in_scripts


def test_every_file_of_lua_is_part_of_a_script():
    used = {
        "prelude",
        *scripts._SHARED,
        *(part for parts in scripts._SHARED.values() for part in parts),
    }
    assert {file.name for file in LUA.iterdir()} == {f"{name}.lua" for name in used}


@pytest.mark.parametrize("name", scripts._SHARED)
def test_a_script_takes_along_only_what_it_uses(name):
    """A server runs all of the text in each call."""
    source = scripts.script(name).source
    defined = re.findall(r"^local function (\w+)", source, re.MULTILINE)
    [fields] = re.findall(
        r"^local (meta_[\w, ]+) = unpack\(redis\.call\('HMGET', KEYS\[8\]", source, re.MULTILINE
    )
    for each in (*defined, *fields.split(", ")):
        assert len(re.findall(rf"\b{each}\b", source)) > 1, each
    assert set(re.findall(r"\bmeta_\w+", source)) == set(fields.split(", "))
    assert operated._KEYS[7] == "m", "META is KEYS[8] there"


@pytest.mark.parametrize("name", scripts._SHARED)
def test_no_name_of_a_script_hides_another_one(name):
    """What two files call the same would mean something else in the one that comes later."""
    source = scripts.script(name).source
    names = [
        each.strip()
        for line in re.findall(r"^local (?:function )?([\w, ]+)", source, re.MULTILINE)
        for each in line.split(",")
    ]
    assert sorted(set(names)) == sorted(names)


def test_a_number_is_stored_with_all_its_digits(raw):
    """The scripts give times to the server as numbers, for to write one as text takes Lua as long as a command."""
    stored = raw.eval(
        "local n = tonumber(ARGV[1]) redis.call('HSET', KEYS[1], 'n', n) redis.call('ZADD', KEYS[2], n, 'm') "
        "return {redis.call('HGET', KEYS[1], 'n'), string.format('%.0f', redis.call('ZSCORE', KEYS[2], 'm'))}",
        *(2, "{digits}:h", "{digits}:z", 1_764_600_000_000_000),
    )
    assert stored == [b"1764600000000000"] * 2
