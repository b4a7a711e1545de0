"""The verdict notices everything that must not happen: each is planted into a history in which all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torture.history import History
from torture.report import as_json, as_table, rows_of
from torture.verdict import Floors, Recovery, Remains, Window, judge

FINE = Recovery(0.1, 0.2, 0.3)
WINDOW = Window("redis-kill", 10.0, 11.0, hits=3, recovery=Recovery(0.1, 0.4, 0.3))


FLOORS = Floors(of_class={"redis-kill": 1}, faults=1, kills=0, acked_share=0.5)


def make_history(count: int = 40) -> History:
    """Return one in which every event was issued, acknowledged and delivered once."""
    history = History()
    for number in range(count):
        history.hear(f"{number}.0 i event-p1.0.{number} d{number}")
        history.hear(f"{number}.5 a event-p1.0.{number}")
        history.arrive(f"{number}.7 event-p1.0.{number} d{number} b{number}")
    return history


def verdict_on(history: History, remains: Remains | None = None, **changes):
    """Judge it with one fault that hit."""
    world = {"under_way": 2, "processes": 3, "in_order": False}
    options = {"floors": FLOORS, "final": FINE, **world, **changes}
    windows = options.pop("windows", [WINDOW])
    return judge(history, remains or Remains(), windows, **options)


def test_a_run_in_which_all_is_well_passes():
    verdict = verdict_on(make_history())
    assert verdict.passed
    assert verdict.places == {"delivered": 40}


def test_one_acknowledged_event_that_is_nowhere_is_a_loss():
    history = make_history()
    del history.arrivals["event-p1.0.7"]
    verdict = verdict_on(history)
    assert verdict.violations == {"lost": ["event-p1.0.7"]}
    assert verdict.places == {"delivered": 39, "lost": 1}


@pytest.mark.parametrize("place", ["stored", "failed"])
def test_an_acknowledged_event_may_be_in_the_queue_or_poisonous_in_the_failed_queue(place):
    history = make_history()
    history.hear("50.0 i poison-p1.0.50 d50")
    history.hear("50.1 a poison-p1.0.50")
    found = {"poison-p1.0.50": "d50" if place == "stored" else ("d50", "rejected")}
    verdict = verdict_on(history, Remains(**{place: found}))
    assert verdict.passed
    assert verdict.places == {"delivered": 40, place: 1}


def test_an_event_given_up_without_being_poison_is_a_violation():
    history = make_history()
    del history.arrivals["event-p1.0.7"]
    verdict = verdict_on(history, Remains(failed={"event-p1.0.7": ("d7", "attempts")}))
    assert verdict.violations == {"given up": ["event-p1.0.7"]}


@pytest.mark.parametrize("digests", ["other b7", "d7 other"])
def test_an_arrival_with_other_content_or_other_bytes_is_a_change(digests):
    """The event's digest is compared with what was issued, its bytes with the earlier arrival."""
    history = make_history()
    history.arrive(f"60.0 event-p1.0.7 {digests}")
    assert verdict_on(history).violations["changed"] == ["event-p1.0.7"]


@pytest.mark.parametrize(
    "remains", [Remains(stored={"event-p1.0.7": "x"}), Remains(failed={"poison-a": ("x", "")})]
)
def test_a_change_in_the_queue_is_noticed(remains):
    history = make_history()
    history.hear("50.0 i poison-a d50")
    assert list(verdict_on(history, remains).violations) == ["changed"]


@pytest.mark.parametrize("plant", ["arrival", "stored", "failed", "acknowledgement"])
def test_what_nobody_issued_is_an_invention(plant):
    history, remains = make_history(), Remains()
    if plant == "arrival":
        history.arrive("60.0 event-x d b")
    elif plant == "acknowledgement":
        history.hear("60.0 a event-x")
    else:
        remains = Remains(**{plant: {"event-x": "d" if plant == "stored" else ("d", "")}})
    assert verdict_on(history, remains).violations["invented"] == ["event-x"]


def test_a_refused_event_must_not_arrive():
    history = make_history()
    history.hear("9.9 r event-p1.0.7 buffer_full")
    assert set(verdict_on(history).violations) == {"refused but sent", "acknowledged and refused"}


def test_a_repeat_that_no_fault_explains_is_a_violation():
    history = make_history()
    history.arrive("20.0 event-p1.0.7 d7 b7")
    assert list(verdict_on(history).violations) == ["repeated"]


def test_an_event_that_passes_another_is_a_violation_where_order_is_kept():
    history = make_history()
    for number, at in ((41, "50.0"), (40, "50.1")):
        history.hear(f"49.0 i event-p1.0.{number} d")
        history.arrive(f"{at} event-p1.0.{number} d b")
    assert verdict_on(history).passed
    assert list(verdict_on(history, in_order=True).violations) == ["overtaken"]


def test_every_issued_event_is_counted_in_one_place():
    history = make_history()
    for number, word in enumerate(("r event-p2.0.0 buffer_full", "n event-p2.0.1", "n event-p2.0.2")):
        history.hear(f"50.0 i event-p2.0.{number} d")
        history.hear(f"51.0 {word}")
    history.arrive("52.0 event-p2.0.2 d b")
    verdict = verdict_on(history)
    assert verdict.passed
    assert verdict.places == {"delivered": 41, "refused: buffer_full": 1, "unknown": 1}
    assert sum(verdict.places.values()) == len(history.issued)


@pytest.mark.parametrize(("reported", "found"), [(2, False), (1, True)])
def test_a_client_that_was_closed_reports_every_event_that_is_nowhere(reported, found):
    history = make_history()
    for number in range(2):
        history.hear(f"50.0 i event-p2.0.{number} d")
        history.hear(f"51.0 n event-p2.0.{number}")
    assert verdict_on(history).passed, "its producer may have been killed"
    history.hear(f"52.0 e p2 {reported}")
    assert ("vanished" in verdict_on(history).violations) == found


SLOW = [
    (Recovery(5.1, 5.2, 0.1), ["acked 5.1 s", "delivered 5.2 s"]),
    (Recovery(0.1, 5.2, 0.1), ["delivered 5.2 s"]),
    (Recovery(0.1, 0.2, 5.1), ["worked 5.1 s"]),
    (Recovery(0.1, 0.2, None), ["worked never"]),
    (Recovery(), ["acked never", "delivered never", "worked never"]),
]


@pytest.mark.parametrize(("slow", "found"), SLOW)
def test_slow_recovery_from_one_fault_is_noticed(slow, found):
    late = Window("redis-stop", 12.0, 13.0, hits=1, recovery=slow)
    violations = verdict_on(make_history(), windows=[WINDOW, late]).violations
    assert violations == {"not live": [f"{what} after redis-stop" for what in found]}


@pytest.mark.parametrize(
    ("slow", "live"),
    [
        (Recovery(0.1, 7.9, 7.9), True),
        (Recovery(5.1, 5.1, 0.1), False),
        (Recovery(0.1, 8.1, 0.1), False),
        (Recovery(0.1, 0.2, 8.1), False),
    ],
)
def test_behind_a_spill_file_deliveries_alone_may_take_as_long_as_a_dead_mover_s_lease(slow, live):
    late = Window("redis-stop", 12.0, 13.0, hits=1, recovery=slow)
    assert verdict_on(make_history(), windows=[WINDOW, late], spills=True).passed == live


@pytest.mark.parametrize(("slow", "found"), SLOW)
def test_a_queue_that_takes_or_gives_nothing_after_the_faults_is_noticed(slow, found):
    violations = verdict_on(make_history(), final=slow).violations
    assert violations == {"not live": [f"{what} after the last fault" for what in found]}


@pytest.mark.parametrize(
    ("remains", "kind"),
    [
        (Remains(backlog_seconds=None), "stuck"),
        (Remains(crashes=["p1 ended with 70"]), "crashed"),
        (Remains(notes=["queue.db.corrupt"]), "other"),
    ],
)
def test_stuck_crashed_and_damaged_are_noticed(remains, kind):
    assert list(verdict_on(make_history(), remains).violations) == [kind]


def test_a_forked_child_that_hangs_is_noticed():
    history = make_history()
    history.hear("60.0 f p1f1")
    history.hear("80.0 d p1f1")
    assert verdict_on(history).violations == {"deadlocked": ["p1f1"]}


@pytest.mark.parametrize("status", [70, -11])
def test_a_forked_child_that_crashes_is_noticed(status):
    history = make_history()
    history.hear("60.0 f p1f1")
    history.hear(f"60.1 x p1f1 {status}")
    assert verdict_on(history).violations == {"crashed": [f"p1f1 ended with {status}"]}


def test_a_run_whose_faults_did_not_hit_proves_too_little():
    floors = replace(FLOORS, of_class={"redis-kill": 4, "plane-429": 1})
    verdict = verdict_on(make_history(), floors=floors)
    assert not verdict.violations
    assert not verdict.passed
    assert len(verdict.vacuous) == 2


def test_a_run_most_of_whose_faults_missed_proves_too_little():
    missed = [Window(f"fault-{number}", 1.0, 2.0, hits=0) for number in range(2)]
    assert verdict_on(make_history(), windows=[WINDOW, *missed]).vacuous == ["only 1 of 3 faults hit"]


def test_a_run_without_faults_or_with_too_few_proves_too_little():
    calm = replace(FLOORS, of_class={})
    assert verdict_on(make_history(), floors=calm, windows=[]).vacuous == ["only 0 faults hit, not 1"]
    assert verdict_on(make_history(), floors=replace(FLOORS, faults=2)).vacuous == [
        "only 1 faults hit, not 2"
    ]


def test_a_run_whose_kills_met_nobody_at_work_proves_too_little():
    kills = [Window("kill-worker", 12.0, 12.0, hits=hits) for hits in (0, 1, 0)]
    windows, floors = [WINDOW, *kills], replace(FLOORS, kills=2)
    found = verdict_on(make_history(), windows=windows, floors=floors).vacuous
    assert found == ["only 1 kills hit a process at work, not 2"]


def test_a_run_that_did_not_use_its_spill_file_proves_too_little():
    history = make_history()
    history.hear("60.0 s p1")
    assert verdict_on(history, floors=replace(FLOORS, spills=1)).passed
    assert verdict_on(history, floors=replace(FLOORS, spills=2)).vacuous == [
        "only 1 clients used the spill file, not 2"
    ]


def test_a_run_in_which_next_to_nothing_was_acknowledged_proves_too_little():
    assert verdict_on(make_history(5)).vacuous == ["only 5 of 5 events were acknowledged"]
    history = make_history()
    for number in range(41):
        history.hear(f"60.0 i event-p2.0.{number} d")
    assert verdict_on(history).vacuous == ["only 40 of 81 events were acknowledged"]


def test_a_line_that_a_kill_cut_off_is_no_arrival():
    history = make_history()
    history.arrive("60.0 event-p1.0.7 d")
    history.arrive("")
    assert verdict_on(history).duplicates == 0


def test_the_report_puts_losses_and_duplicates_down_to_the_fault_that_began_last():
    history = make_history()
    del history.arrivals["event-p1.0.7"]
    history.arrive("21.0 event-p1.0.3 d3 b3")
    windows = [
        WINDOW,
        Window("plane-503", 20.0, 22.0, hits=2, recovery=Recovery(0.5, 1.5, 0.4)),
        Window("redis-kill", 5, 6, 1),
    ]
    verdict = verdict_on(history, windows=windows)
    rows = {row.fault: row for row in rows_of(windows, history, verdict)}
    assert (rows["plane-503"].lost, rows["plane-503"].duplicated) == (0, 1)
    assert (rows["redis-kill"].runs, rows["redis-kill"].hits, rows["redis-kill"].lost) == (2, 4, 1)
    assert rows["redis-kill"].recovery_max == pytest.approx(0.4)
    assert "| redis-kill | 2 | 4 | 1 | 0 | 0.40 | 0.40 |" in as_table(list(rows.values()))
    figures = as_json({"seed": 1}, list(rows.values()), history, verdict)
    assert figures["verdict"]["violations"]["lost"] == {"count": 1, "first": ["event-p1.0.7"]}
