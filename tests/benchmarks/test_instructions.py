"""The gate on ``track()``'s instruction count: what passes, what fails, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.instructions import CountingError, Counts, compare, differences

HERE = "CPython 3.11.7 (main, May 9 2026) GCC 12.2.0, x86_64, orjson 3.13.0"
SAME_SERIES = "CPython 3.11.2 (main, Apr 28 2025) GCC 12.2.0, x86_64, orjson 3.13.0"
OTHER_SERIES = "CPython 3.13.0 (main, May 9 2026) GCC 12.2.0, x86_64, orjson 3.13.0"
RECORDED = Counts(track=12_300, reference=10_000)


def test_the_line_says_what_was_found_and_how_far_it_is_from_what_was_recorded():
    verdict = compare(Counts(12_345, 10_000), HERE, {HERE: RECORDED})
    assert verdict.passed
    assert verdict.line == "track(): 12,345 instructions a call (recorded 12,300, +0.4 %)"


@pytest.mark.parametrize(("track", "passed"), [(13_529, True), (13_531, False), (1_000, True)])
def test_more_than_a_tenth_more_does_not_pass(track, passed):
    assert compare(Counts(track, 10_000), HERE, {HERE: RECORDED}).passed is passed


def test_where_counts_are_recorded_the_reference_excuses_nothing():
    assert not compare(Counts(15_000, 20_000), HERE, {HERE: RECORDED}).passed


@pytest.mark.parametrize(("track", "passed"), [(27_000, True), (27_200, False)])
def test_elsewhere_the_ratio_to_the_reference_is_held(track, passed):
    verdict = compare(Counts(track, 20_000), SAME_SERIES, {HERE: RECORDED})
    assert verdict.passed is passed
    assert "recorded 1.230" in verdict.line
    assert SAME_SERIES in verdict.line


def test_elsewhere_the_strictest_record_of_the_same_python_counts():
    recorded = {HERE: RECORDED, HERE + "!": Counts(15_000, 10_000), OTHER_SERIES: Counts(11_000, 10_000)}
    assert "recorded 1.230" in compare(RECORDED, SAME_SERIES, recorded).line


def test_another_python_is_held_to_the_strictest_record_of_all():
    recorded = {HERE: RECORDED, SAME_SERIES: Counts(15_000, 10_000)}
    assert not compare(Counts(13_600, 10_000), OTHER_SERIES, recorded).passed


def test_without_a_record_nothing_passes():
    verdict = compare(RECORDED, HERE, {})
    assert not verdict.passed
    assert "--record" in verdict.line


def test_starting_and_importing_is_not_counted():
    assert differences(1_000_000, 1_500_000, 1_250_000, 100) == Counts(5000, 2500)


def test_a_record_is_read_as_it_was_written_and_keeps_the_others(tmp_path):
    path = tmp_path / "instructions.json"
    assert instructions.read_recorded(path) == {}
    instructions.write_recorded(path, {HERE: RECORDED, OTHER_SERIES: Counts(1.4, 2.6)})
    assert instructions.read_recorded(path) == {HERE: RECORDED, OTHER_SERIES: Counts(1, 3)}


def test_this_repository_holds_a_record():
    recorded = instructions.read_recorded(instructions.RECORDED)
    assert recorded
    assert all(counts.track > counts.reference > 0 for counts in recorded.values())


@pytest.mark.parametrize(("found", "status"), [(RECORDED, 0), (Counts(14_000, 10_000), 1)])
def test_the_exit_status_tells_a_pass_from_a_failure(monkeypatch, tmp_path, capsys, found, status):
    path = tmp_path / "instructions.json"
    instructions.write_recorded(path, {HERE: RECORDED})
    monkeypatch.setattr(instructions, "RECORDED", path)
    monkeypatch.setattr(instructions, "environment_name", lambda: HERE)
    monkeypatch.setattr(instructions, "count", lambda: found)
    assert instructions.main([]) == status
    assert "recorded 12,300" in capsys.readouterr().out


def test_a_machine_that_cannot_count_fails_and_says_what_to_install(monkeypatch, tmp_path, capsys):
    """Neither Valgrind nor what could fetch it is found: that is no pass."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(instructions.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(instructions, "environment_name", lambda: HERE)
    assert instructions.main([]) == 2
    assert "apt-get install valgrind" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_fails_is_not_counted(monkeypatch, tmp_path):
    broken = tmp_path / "counted.py"
    broken.write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(instructions, "SCRIPT", broken)
    monkeypatch.setattr(instructions, "find_valgrind", lambda _: (Path("/bin/false"), {}))
    with pytest.raises(CountingError, match="no such thing"):
        instructions.count()
