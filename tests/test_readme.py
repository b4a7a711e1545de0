"""The README's code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

if TYPE_CHECKING:
    from eventspool.testing import DataPlane

README = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_code_delivers(tmp_path: Path, eventspool_dataplane: DataPlane) -> None:
    """The first program is tried as it stands, with `eventspool dev`, in tests/dashboard/browser/test_first_hour.py."""
    from eventspool._redis_server import RedisServer

    first, second = BLOCKS
    with RedisServer() as server:
        key, url = eventspool_dataplane.write_key, eventspool_dataplane.url
        first = first.replace("http://127.0.0.1:8123", url)
        second = second.replace('redis_opts={"host": "localhost"}', f'redis_opts={{"url": "{server.url}"}}')
        second = second.replace('Client("WRITE_KEY"', f'Client("{key}", data_plane_url="{url}"')
        second += "\nassert client.stats().delivered == 1, client.stats()\n"
        done = subprocess.run(
            [sys.executable, "-c", first + second],
            cwd=tmp_path,
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )

    [promised] = re.findall(r"# (FlushResult\(.*\))", first)
    assert done.stdout.startswith(f"{promised}\n")
    assert {event["type"] for event in eventspool_dataplane.events} == {"track", "identify"}


@pytest.mark.parametrize("command", re.findall(r"^eventspool (\w+)", README, re.MULTILINE))
def test_its_commands_are_in_the_wheel(command: str) -> None:
    from eventspool._cli.app import cli

    assert command in cli.commands or cli.get_command(click.Context(cli), command)


@pytest.mark.parametrize("command", re.findall(r"`(\./run \w+)", README))
def test_its_commands_exist(command: str) -> None:
    script = Path(__file__).parents[1].joinpath("run").read_text(encoding="utf-8")

    assert f"{command.split()[1]})" in script or f"{command.split()[1]} |" in script
