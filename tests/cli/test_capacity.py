"""``eventspool capacity`` says the same to people and to programs, on wide terminals and on narrow ones."""

from __future__ import annotations

import pytest

from eventspool._operate.capacity import MEASURED, list_constants

LOAD = ("capacity", "--events-per-second", "10000", "--producers", "10")


def test_it_says_what_a_load_needs_and_what_to_set(run):
    done = run(*LOAD)

    assert (done.status, done.err) == (0, "")
    for word in ("Redis memory", "partitions", "nodes", "network", "processors", "full after", "QueueOpts("):
        assert word in done.out
    assert "docs/scaling.md" in done.out
    assert "\x1b" not in done.out


def test_json_has_the_plan_the_constants_and_where_they_come_from(run):
    found = run(*LOAD, "--json").json

    assert found["load"]["events_per_second"] == 10_000
    assert found["nodes"] >= 1
    assert found["constants"]["commit_call_us"]["value"] == MEASURED.commit_call_us
    assert set(found["constants"]) == {each.name for each in list_constants(MEASURED)}
    assert found["constants_from"] == "docs/scaling.md"
    assert found["advice"]
    assert list(found["limits"].values()) == sorted(found["limits"].values())


def test_a_constant_can_be_changed_and_the_output_says_so(run):
    dear = run(*LOAD, "--set", "deliver_call_us=5000", "--json").json
    told = run(*LOAD, "--set", "deliver_call_us=5000").out

    assert dear["redis_cores"] > 5 * run(*LOAD, "--json").json["redis_cores"]
    assert "deliver_call_us=5000" in told


def test_all_constants_are_printed_when_asked_for(run):
    told = run(*LOAD, "--constants").out

    assert all(each.name in told for each in list_constants(MEASURED))


@pytest.mark.parametrize(
    ("option", "value", "field", "wanted"),
    [
        ("--maxmemory", "4G", "node_bytes", 4e9),
        ("--max-bytes", "500M", "max_bytes", 500_000_000),
        ("--outage-hours", "0.5", "outage_seconds", 1800),
        ("--answer-ms", "200", "answer_seconds", 0.2),
        ("--ordering", "per_user", "ordering", "per_user"),
        ("--partitions", "16", "partitions", 16),
        ("--no-aof", None, "aof", False),
    ],
)
def test_options_reach_the_model(run, option, value, field, wanted):
    given = [option] if value is None else [option, value]

    assert run(*LOAD, *given, "--json").json["load"][field] == wanted


def test_the_environment_of_an_application_is_planned_with(run):
    found = run(*LOAD, "--json", EVENTSPOOL_ORDERING="per_user", EVENTSPOOL_PARTITIONS="8").json

    assert (found["load"]["ordering"], found["partitions"]) == ("per_user", 8)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_narrow_terminal_breaks_no_number(run, columns):
    done = run(*LOAD, "--constants", COLUMNS=str(columns))
    settings, rest = done.out.partition("queue_opts = ")[::2]

    assert done.status == 0
    assert rest
    assert max(map(len, settings.splitlines())) <= columns
