"""What Python and the Lua scripts must agree on without being told by each other."""

from __future__ import annotations

import re
from importlib.resources import files

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
        "totals_before",
        *scripts._SHARED,
        *(part for parts in scripts._SHARED.values() for part in parts),
    }
    assert {file.name for file in LUA.iterdir()} == {f"{name}.lua" for name in used}
