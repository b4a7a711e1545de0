"""The README's code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eventspool.testing import DataPlane

README = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_code_delivers(tmp_path: Path, eventspool_dataplane: DataPlane) -> None:
    from eventspool._redis_server import RedisServer

    with RedisServer() as server:
        code = "\n".join(BLOCKS).replace(
            'redis_opts={"host": "localhost"}', f'redis_opts={{"url": "{server.url}"}}'
        )
        key, url = eventspool_dataplane.write_key, eventspool_dataplane.url
        code = code.replace('Client("WRITE_KEY"', f'Client("{key}", data_plane_url="{url}"')
        code += "\nassert client.stats().delivered == 1, client.stats()\n"
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)

    assert len(BLOCKS) == 2
    assert {event["type"] for event in eventspool_dataplane.events} == {"track", "identify"}


@pytest.mark.parametrize("command", re.findall(r"^(\./run \w+)", README, re.MULTILINE))
def test_its_commands_exist(command: str) -> None:
    script = Path(__file__).parents[1].joinpath("run").read_text(encoding="utf-8")

    assert f"{command.split()[1]})" in script or f"{command.split()[1]} |" in script
