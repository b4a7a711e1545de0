"""The pages for migrators: their tables say what the code does, and their code runs."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys

import pytest

import eventspool
from compat.pages import names, read, table
from compat.programs_of_peers import HERE, MODULES, PACKAGES
from eventspool._config.elsewhere import find_elsewhere
from eventspool.compat._options import NAMES, OTHERS, check_names

OPTIONS = json.loads((HERE / "recorded" / "options.json").read_text(encoding="utf-8"))
"""The options of each SDK's client, as the SDK shows them."""
CLIENT = {*inspect.signature(eventspool.Client).parameters}
SETTINGS = {"rudder": {"dataPlaneUrl"}, "posthog": {"api_key"}}
"""Settings of a module that its client does not have."""
ROWS = [
    (page, name, row[1], row[2])
    for page in PACKAGES
    for row in table(page, "Options")
    for name in names(row[0])
]


@pytest.mark.parametrize("page", PACKAGES)
def test_each_option_of_the_sdk_is_in_the_table(page):
    listed = [name for each, name, *_ in ROWS if each == page]

    assert sorted(listed) == sorted({*OPTIONS[page], *SETTINGS.get(page, ())})


@pytest.mark.parametrize(("page", "name", "ours", "meaning"), ROWS)
def test_the_hint_of_an_error_says_what_the_table_says(page, name, ours, meaning):
    if ours == f"`{name}`":
        assert name in CLIENT
        return
    assert name not in CLIENT
    with pytest.raises(eventspool.ConfigError) as raised:
        eventspool.Client("key", **{name: 1})
    hint = str(raised.value).partition(" in Client: ")[2]
    found = find_elsewhere(name) or find_elsewhere("host" if name == "dataPlaneUrl" else name)
    if ours == "none":
        assert found.option == ""
        assert hint == found.instead
        assert hint.startswith(("no equivalent: ", "give "))
    else:
        assert found.option == names(ours)[0]
        assert repr(names(ours)[0]) in hint


@pytest.mark.parametrize(
    ("page", "name", "meaning"), [(page, name, meaning) for page, name, _, meaning in ROWS if page in MODULES]
)
def test_the_face_takes_an_option_unless_the_table_says_refused(page, name, meaning):
    if meaning.startswith("Refused by name."):
        with pytest.raises(eventspool.ConfigError, match=f"'{name}' in .*no equivalent"):
            check_names({name: 1}, page)
    else:
        assert name in (*NAMES, *OTHERS, "dataPlaneUrl")


@pytest.mark.parametrize("page", PACKAGES)
def test_the_code_of_a_page_runs(page, eventspool_dataplane, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", read(page), re.DOTALL)
    env = {
        **os.environ,
        "EVENTSPOOL_DATA_PLANE_URL": eventspool_dataplane.url,
        "EVENTSPOOL_WRITE_KEY": eventspool_dataplane.write_key,
    }
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        subprocess.run([sys.executable, "-c", block], cwd=folder, env=env, check=True, timeout=60)

    assert len(blocks) == (1 if page == "posthog" else 2)
    assert eventspool_dataplane.stats().events == (4 if page == "posthog" else 2)
