"""What counts as synced in a trace: nothing that was written after the sync began."""

from __future__ import annotations

import random
import shutil

import pytest

from torture.power_cut import cut_power, synced_bytes

AOF, OTHER = "/data/aof", "/data/log"


def count(*lines: str) -> int:
    return synced_bytes(lines, AOF, 100)


def test_without_a_sync_only_what_was_there_before_is_certain():
    assert count(f'7 write(3<{AOF}>, ""..., 20) = 20') == 100


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_sync_covers_what_was_written_before_it(call):
    assert (
        count(
            f'7 write(3<{AOF}>, ""..., 20) = 20',
            f"7 {call}(3<{AOF}>) = 0",
            f'7 write(3<{AOF}>, ""..., 5) = 5',
        )
        == 120
    )


def test_a_sync_does_not_cover_what_was_written_while_it_ran():
    """The server's own thread writes on while another one syncs."""
    lines = (
        f'7 write(3<{AOF}>, ""..., 20) = 20',
        f"8 fdatasync(3<{AOF}> <unfinished ...>",
        f'7 write(3<{AOF}>, ""..., 5 <unfinished ...>',
        "7 <... write resumed>) = 5",
        "8 <... fdatasync resumed>) = 0",
    )
    assert count(*lines) == 120
    assert count(*lines[:4]) == 100


def test_a_sync_that_failed_and_one_of_another_file_cover_nothing():
    lines = (
        f'7 write(3<{AOF}>, ""..., 20) = 20',
        f"7 fdatasync(3<{AOF}>) = -1 EIO (Input/output error)",
        f"7 fdatasync(4<{OTHER}>) = 0",
        f"8 fdatasync(4<{OTHER}> <unfinished ...>",
        "8 <... fdatasync resumed>) = 0",
    )
    assert count(*lines) == 100


def test_a_partial_write_counts_for_what_was_written():
    assert count(f'7 write(3<{AOF}>, ""..., 20) = 8', f"7 fdatasync(3<{AOF}>) = 0") == 108


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_power_cut_takes_nothing_acknowledged_from_redis_that_syncs_always():
    outcome = cut_power("always", random.Random(1))
    assert outcome.acked > 20
    assert outcome.lost == 0
