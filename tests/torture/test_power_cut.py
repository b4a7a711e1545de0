"""What a power cut leaves: in a trace nothing counts as synced that was written after the sync began."""

from __future__ import annotations

import random
import sys

import pytest

from torture.disk_trace import TracedFile, calls_of
from torture.power_cut import cut_power, synced_bytes
from torture.sqlite_power_cut import cut_often

needs_strace = pytest.mark.skipif(sys.platform != "linux", reason="strace is a program of Linux")
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


@pytest.mark.rotating("power cuts")
@pytest.mark.alone
@pytest.mark.slow
@needs_strace
def test_a_power_cut_takes_nothing_acknowledged_from_redis_that_syncs_always():
    outcome = cut_power("always", random.Random(1))
    assert outcome.acked > 20
    assert outcome.lost == 0


@pytest.mark.rotating("power cuts")
@pytest.mark.alone
@pytest.mark.slow
@needs_strace
def test_a_power_cut_takes_the_last_seconds_from_redis_that_syncs_every_second(capsys):
    """Redis puts a sync off by up to a second beyond that; the rest of the bound is for slow machines."""
    dice = random.Random(1)
    rounds = [cut_power("everysec", dice) for _ in range(3)]
    with capsys.disabled():
        print(f"\nlost from {', '.join(f'{r.window:.2f}' for r in rounds)} s before the cut on", end=" ")
    assert min(r.acked for r in rounds) > 20, rounds
    assert any(r.unsynced_bytes and r.lost for r in rounds), f"nothing was cut: {rounds}"
    assert max(r.window for r in rounds) < 15.0, rounds


def file_after(*lines: str) -> TracedFile:
    """Return the model of the one file that *lines* are about."""
    file = TracedFile()
    for call in calls_of(f"7 1.5 {line}" if line[0] not in "<8" else line for line in lines):
        file.take(call)
    return file


def write(offset: int, text: str) -> str:
    data = "".join(f"\\x{byte:02x}" for byte in text.encode())
    return f'pwrite64(3</f>, "{data}", {len(text)}, {offset}) = {len(text)}'


SYNC = "fdatasync(3</f>) = 0"


def test_synced_writes_stay_and_others_may_go():
    file = file_after(write(0, "abcd"), write(6, "gh"), SYNC, write(1, "XY"), "ftruncate(3</f>, 4) = 0")
    dice = random.Random(1)
    assert file.after_power_cut(dice, 0.0) == b"abcd\0\0gh"
    assert file.after_power_cut(dice, 1.0) == b"aXYd"
    images = {file.after_power_cut(dice, 0.5) for _ in range(200)}
    assert images >= {b"abcd\0\0gh", b"aXYd\0\0gh", b"abcd", b"aXYd"}


def test_a_write_during_a_sync_is_not_synced_by_it():
    file = file_after(
        write(0, "abcd"),
        "8 1.5 fdatasync(3</f> <unfinished ...>",
        write(0, "X"),
        "8 1.6 <... fdatasync resumed>) = 0",
    )
    assert file.after_power_cut(random.Random(1), 0.0) == b"abcd"
    assert len(file.pending) == 1


def test_what_a_failed_sync_was_to_cover_is_gone_even_after_one_that_succeeds():
    file = file_after(write(0, "ab"), "fdatasync(3</f>) = -1 EIO (Input/output error)", write(2, "cd"), SYNC)
    assert file.after_power_cut(random.Random(1), 1.0) == b"\0\0cd"


def test_a_failed_write_changes_nothing():
    file = file_after(write(0, "ab"), SYNC, write(0, "X")[:-1] + "-1 ENOSPC (x)")
    assert (file.durable, file.pending) == (b"ab", [])


def test_paths_in_hexadecimal_are_read():
    [_, call] = calls_of([r"7 1.5 fsync(3<\x2f\x66>) = 0"])
    assert (call.path, call.result) == ("/f", 0)


@pytest.mark.rotating("power cuts")
@pytest.mark.alone
@pytest.mark.slow
@needs_strace
def test_a_power_cut_takes_nothing_acknowledged_from_sqlite_that_syncs_fully():
    outcome = cut_often("full", 60, random.Random(1))
    assert outcome.unsynced > 30, outcome
    assert outcome.acked > 20, outcome
    assert (outcome.losing, outcome.damaged) == (0, 0), outcome


@pytest.mark.rotating("power cuts")
@pytest.mark.alone
@pytest.mark.slow
@needs_strace
def test_the_same_cuts_do_take_something_where_less_is_synced():
    """Or else they would cut nothing; still the file is sound."""
    outcome = cut_often("normal", 60, random.Random(1))
    assert outcome.losing > 0, outcome
    assert outcome.damaged == 0, outcome


@pytest.mark.rotating("power cuts")
@pytest.mark.alone
@pytest.mark.slow
@needs_strace
def test_a_sync_that_failed_is_never_taken_for_one_that_succeeded():
    """The kernel may have dropped what it was to write; so an acknowledgement must rest on writing it again."""
    outcome = cut_often("full", 60, random.Random(1), errors=True)
    assert outcome.errors > 2, outcome
    assert outcome.acked > 20, outcome
    assert (outcome.losing, outcome.damaged) == (0, 0), outcome
