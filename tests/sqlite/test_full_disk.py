"""A disk that another program fills to the last byte: what is stored is still delivered, on a real small file system."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eventspool._contract.tools import new_jobs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it mounts a tmpfs in a namespace of its own")

PROGRAM = Path(__file__).parent / "programs/full_disk.py"


def run_on_a_small_disk(tmp_path, megabytes, *arguments):
    mounted = 'mount -t tmpfs -o size="$1"m tmpfs "$2" && shift && folder="$1" && shift && exec "$@" '
    command = [sys.executable, str(PROGRAM), str(tmp_path), *arguments]
    shell = ["unshare", "-rm", "sh", "-c", mounted, "sh", str(megabytes), str(tmp_path), *command]
    done = subprocess.run(shell, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("greed", ["filled once", "greedy"])
@pytest.mark.parametrize("how", ["open", "reopened", "killed"])
@pytest.mark.parametrize("megabytes", [14, 24])
def test_everything_is_delivered_from_a_disk_without_a_free_byte(tmp_path, megabytes, how, greed):
    """By a process that has the file open, one that opens it after a clean end, and one that opens it after a kill."""
    found = run_on_a_small_disk(tmp_path, megabytes, how, greed)
    assert found["free"] == 0
    assert "disk is full" in found["refused"]
    assert found["delivered"] + found["failed"] == 120
    assert found["failed"] == 24
    assert found["accepted"] == 1


def test_the_log_has_its_room_from_the_start_and_keeps_it_while_no_process_has_it_open(path, make):
    """The file has blocks on the disk, and not only a length."""
    backend = make()
    backend.commit(new_jobs(1))
    log, spare = (path.with_name(path.name + suffix) for suffix in ("-wal", "-spare"))
    assert log.stat().st_blocks * 512 >= 4 << 20
    assert not spare.exists()
    backend.close()
    assert not log.exists()
    assert spare.stat().st_blocks * 512 >= 4 << 20
    assert not any(spare.read_bytes()), "the spare file holds nothing of what was erased"
    backend.stats()
    assert log.stat().st_blocks * 512 >= 4 << 20
    assert not spare.exists()


def test_a_spare_file_that_is_none_keeps_no_process_from_the_queue(make, tmp_path):
    """The spare file is a convenience. Whatever stands in its place, as after a restore by root, fails no commit."""
    backend = make()
    backend.commit(new_jobs(1))
    backend.close()
    spare = next(tmp_path.rglob("*-spare"))
    spare.unlink()
    spare.mkdir()
    backend.commit(new_jobs(1))
    backend.close()
    assert backend.stats().waiting.jobs == 2
    backend.close()
