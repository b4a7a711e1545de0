"""Heavy tests rotate by commit, and ten commits in a row leave out none. Hunts are run by ``--whole`` alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shares


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 12, 100])
def test_ten_commits_in_a_row_run_every_test_and_each_commit_at_least_one(count):
    dealt = [
        {position for position in range(count) if shares.is_dealt(share, "a group", position, count)}
        for share in range(shares.SHARES)
    ]

    assert all(dealt)
    assert set.union(*dealt) == set(range(count))
    assert max(map(len, dealt)) <= max(1, -(-count // shares.SHARES))


@pytest.mark.parametrize("count", [1, 2, 12])
def test_what_is_seldom_is_run_by_one_commit_in_ten(count):
    for position in range(count):
        dealt = [
            share
            for share in range(shares.SHARES)
            if shares.is_dealt(share, "a group", position, count, seldom=True)
        ]
        assert len(dealt) == 1


@pytest.mark.parametrize("count", [2, 3, 40])
def test_what_has_few_turns_is_run_as_often(count):
    for position in range(count):
        dealt = [shares.is_dealt(share, "a group", position, count, turns=3) for share in range(9)]
        assert sum(dealt) == (3 if count > 2 else 5 if dealt[0] else 4)


def test_groups_do_not_turn_together():
    first = [
        [shares.is_dealt(0, f"group {n}", place, 10) for place in range(10)].index(True) for n in range(50)
    ]

    assert len(set(first)) > 5


def test_the_next_commit_has_the_next_share_and_no_git_has_the_first(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e", *words], check=True
        )

    monkeypatch.setattr(shares, "__file__", str(tmp_path / "shares.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert shares.share_of_commit() == 0
    git("init", "-q")
    found = []
    for _ in range(12):
        git("commit", "-q", "--allow-empty", "-m", "Change nothing")
        found.append(shares.share_of_commit())

    assert found == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


PROGRAM = """
import pytest

@pytest.mark.rotating
@pytest.mark.parametrize("number", range(10))
def test_heavy(number):
    pass

@pytest.mark.rotating("a group")
def test_one():
    pass

@pytest.mark.rotating("a group")
def test_another():
    pass

@pytest.mark.rotating("seldom", seldom=True)
def test_seldom():
    pass

@pytest.mark.hunt
@pytest.mark.rotating
@pytest.mark.parametrize("number", range(2))
def test_hunt(number):
    pass

def test_light():
    pass
"""


LEFT = [
    "heavy tests: share 4 of 0 to 9",
    "11 heavy tests are left to the shares of other commits",
    "2 hunts for unknown faults are left out",
]


@pytest.mark.parametrize(
    ("workers", "arguments", "ran", "says"),
    [
        ("0", ["--whole"], 16, ["heavy tests: all"]),
        ("0", [], 3, LEFT),
        ("2", [], 3, LEFT),
        ("0", ["test_it.py::test_heavy"], 10, []),
        ("0", ["test_it.py::test_hunt"], 2, []),
    ],
)
def test_a_run_says_which_share_it_is_and_what_it_leaves_out(
    tmp_path, workers, arguments, ran, says, monkeypatch
):
    (tmp_path / "test_it.py").write_text(PROGRAM)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["shares"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n rotating: heavy\n hunt: random\n")
    monkeypatch.setenv("EVENTSPOOL_TEST_SHARE", "4")
    monkeypatch.setenv("PYTHONPATH", shares.__file__.rpartition("/")[0])
    command = [sys.executable, "-m", "pytest", "-n", workers, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ran} passed" in done.stdout
    for line in says:
        assert line in done.stdout


STORES = """
import pytest
from shares import taking_turns

@pytest.fixture(params=taking_turns("sqlite", "redis"))
def store(request):
    return request.param

@pytest.mark.parametrize("case", range(3))
def test_case(store, case):
    pass
"""


def test_two_shares_in_a_row_run_all_cases_with_one_store_each(tmp_path, monkeypatch):
    (tmp_path / "test_it.py").write_text(STORES)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["shares"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n rotating: heavy\n hunt: random\n")
    monkeypatch.setenv("PYTHONPATH", shares.__file__.rpartition("/")[0])
    found = []
    for share in "67":
        monkeypatch.setenv("EVENTSPOOL_TEST_SHARE", share)
        command = [sys.executable, "-m", "pytest", "-q", "--collect-only"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        found.append({line for line in done.stdout.splitlines() if "::" in line})

    assert [len(tests) for tests in found] == [3, 3]
    assert [{test.partition("-")[0] for test in tests} for tests in found] in (
        [{"test_it.py::test_case[sqlite"}, {"test_it.py::test_case[redis"}],
        [{"test_it.py::test_case[redis"}, {"test_it.py::test_case[sqlite"}],
    )


FUNCTIONS = """
import pytest
""" + "".join(
    f"""
@pytest.mark.parametrize("case", range(2))
def test_{n}(case):
    pass
"""
    for n in range(12)
)


def test_three_shares_in_a_row_run_each_function_once_where_each_is_to_have_a_third(tmp_path, monkeypatch):
    (tmp_path / "test_it.py").write_text(FUNCTIONS)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["shares"]\n')
    monkeypatch.setenv("PYTHONPATH", shares.__file__.rpartition("/")[0])
    monkeypatch.setenv("EVENTSPOOL_TEST_THIRD", "yes")
    found = []
    for share in "345":
        monkeypatch.setenv("EVENTSPOOL_TEST_SHARE", share)
        command = [sys.executable, "-m", "pytest", "-q", "--collect-only"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        found += [line for line in done.stdout.splitlines() if "::" in line]

    assert len(found) == len(set(found)) == 24
