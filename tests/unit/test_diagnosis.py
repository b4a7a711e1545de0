"""From what was observed to what is wrong, with no queue and no server."""

from __future__ import annotations

import pytest

from eventspool import Depth, QueueStats
from eventspool._backends.condition import Condition, find_worst
from eventspool._figures import Partition
from eventspool._fleet import ProcessorInfo
from eventspool._operate.diagnosis import KINDS, Observation, Severity, diagnose, find_obstacle
from eventspool._operate.diagnosis.sentences import code_of_outage, code_of_plane

SOME = Depth(2, 40, 900)
WELL = ProcessorInfo("t", host="web-1", pid=7)
HALTED = ProcessorInfo("u", host="web-2", pid=8, paused=True, last_error="https://x answered 503")
BLIND = ProcessorInfo("b", host="web-3", pid=9, unreadable="encrypted", reads_nothing=True)
FULL = Condition(refuses="full", because="the server is out of memory (OOM)")
READ_ONLY = Condition(refuses="read_only", because="it is a read-only replica (READONLY)", drains=False)
UNKNOWN = Condition(refuses="refused", because="unknown command 'HSETNX'")
UNUSED = Condition(is_used=False, others=("orders", "orders (in database 0)"))


def see(processors=(WELL,), condition=Condition(), more=None, **stats):  # noqa: B008 - it cannot be changed
    live = len(processors)
    return Observation(
        "order", "", QueueStats(processors=live, **stats), processors, (), condition, **more or {}
    )


@pytest.mark.parametrize(
    ("seen", "codes"),
    [
        (see(), []),
        (see(waiting=SOME), []),
        (see((), waiting=SOME), ["queue.processors"]),
        (see((), READ_ONLY, waiting=SOME), ["queue.read_only"]),
        (see((WELL,), FULL), ["queue.full"]),
        (see((), FULL, waiting=SOME), ["queue.full", "queue.processors"]),
        (see((HALTED,), waiting=SOME), ["plane.unavailable"]),
        (see((HALTED, WELL), waiting=SOME), ["plane.unavailable"]),
        (see(waiting=SOME, held_until=9.0, held_because="https://x answered 401"), ["plane.key"]),
        (see((BLIND,), delayed=SOME), ["encryption.wrong_key"]),
        (see((), UNUSED), ["queue.missing"]),
        (see((WELL,), Condition(clock_ahead=-9.0)), ["clock.apart"]),
        (see((WELL,), Condition(clocks={"web-9": 10_800.0})), ["clock.apart"]),
        (see(paused=True, waiting=SOME), ["queue.paused"]),
        (see((), paused=True, waiting=SOME), ["queue.paused"]),
        (see(oldest_age=400.0, waiting=SOME), ["queue.age"]),
        (see((HALTED,), oldest_age=400.0, waiting=SOME), ["plane.unavailable"]),
        (see(more={"reasons": {"rejected": SOME}}), ["queue.failed"]),
        (see(more={"reasons": {"corrupt": SOME}}), ["queue.unreadable"]),
        (see(more={"reasons": {"encrypted": SOME}}), ["encryption.wrong_key"]),
        (see(more={"max_jobs": 2}, waiting=SOME), ["queue.bounds"]),
        (see(failed=SOME), ["queue.failed"]),
        (see((WELL,), UNKNOWN), ["queue.refused"]),
        (see((WELL,), more={"outage": "the server does not answer"}), ["queue.unreachable"]),
        (see(more={"outage": "the server refuses (NOPERM)", "own": WELL}), ["queue.refused"]),
        (Observation(problem="the server cannot be reached: nothing listens there"), ["queue.unreachable"]),
        (Observation(problem="it is out of memory (OOM)"), ["queue.full"]),
    ],
)
def test_what_was_seen_leads_to_what_is_wrong(seen, codes):
    found = diagnose(seen)

    assert [each.code for each in found] == codes
    assert all(each.cause and each.remedy for each in found)


def test_each_processor_without_a_key_is_named():
    [one] = diagnose(see((BLIND,), delayed=SOME))
    [both] = diagnose(see((BLIND, BLIND), delayed=SOME))

    assert "the processor web-3:9 opens" in one.cause
    assert "the processors web-3:9, web-3:9 opens" in both.cause


def test_a_partition_that_is_away_is_named_and_nobody_is_sent_for_workers():
    away = Partition(0, 1, Depth(), Depth(), away=True, node="10.0.0.7:6379")
    [found] = diagnose(Observation("q", stats=QueueStats(waiting=SOME), partitions=(away,)))

    assert (found.code, "10.0.0.7:6379" in found.cause) == ("queue.partitions", True)


@pytest.mark.parametrize(
    ("seen", "is_ready"),
    [
        (see((), FULL), True),
        (see((), READ_ONLY), False),
        (see((), UNUSED), True),
        (see((), more={"own": ProcessorInfo("", paused=True, last_error="https://x answered 429")}), True),
        (see((), more={"own": ProcessorInfo("", paused=True, last_error="https://x answered 503")}), False),
        (
            see((), more={"own": ProcessorInfo("", paused=True, last_error="https://x did not resolve")}),
            False,
        ),
        (see((), more={"own": BLIND}), False),
        (see((), more={"own": ProcessorInfo("", unreadable="encrypted")}), True),
        (see((), more={"own": WELL}, failed=SOME), True),
    ],
)
def test_a_worker_is_ready_when_it_can_claim_and_settle(seen, is_ready):
    assert (find_obstacle(diagnose(seen)) is None) is is_ready


def test_the_gravest_comes_first():
    seen = see((HALTED,), Condition(clock_ahead=99.0), waiting=SOME, more={"reasons": {"rejected": SOME}})

    assert [each.code for each in diagnose(seen)] == ["plane.unavailable", "clock.apart", "queue.failed"]
    assert diagnose(seen)[0].severity is Severity.ERROR


def test_the_queues_that_are_there_are_named():
    [found] = diagnose(see((), UNUSED))

    assert "'order'" in found.cause
    assert "orders (in database 0)" in found.cause


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (("https://x answered 401",), "plane.key"),
        (("the data plane answered 403",), "plane.key"),
        (("https://x answered 429",), "plane.throttled"),
        (("https://x answered 503",), "plane.unavailable"),
        (("https://x (through the proxy p:1) answered 503",), "plane.unavailable"),
        (("the proxy p:3128 answered 407",), "plane.proxy"),
        (("the proxy p:3128 refused the connection",), "plane.proxy"),
        (("https://x did not resolve", "unreachable"), "plane.dns"),
        (("the certificate of https://x was not accepted: certificate has expired",), "plane.tls_failed"),
        (("TLS with https://x failed: wrong version number",), "plane.tls_failed"),
        (("https://x did not answer in time",), "plane.timeout"),
        (("https://x refused the connection",), "plane.reachable"),
        (("https://x was not reachable (ENETUNREACH)",), "plane.reachable"),
        (("words of another version", "throttled"), "plane.throttled"),
        (("the queue was away", "", {"401": 1}), "plane.key"),
        (("the queue was away", "", {"200": 4, "429": 1}), "plane.unavailable"),
        (("",), "plane.unavailable"),
    ],
)
def test_a_processors_words_say_what_the_data_plane_does(told, code):
    assert code_of_plane(*told) == code
    assert code in KINDS


def test_the_servers_own_word_says_what_the_queue_does():
    assert code_of_outage("it cannot save to disk and refuses writes (MISCONF)") == "queue.saving"
    assert code_of_outage("the SQLite queue's disk is full") == "queue.full"
    assert (
        code_of_outage("cannot be reached: there is no address for that host name (DNS)")
        == "queue.unreachable"
    )


def test_the_worst_partition_counts_and_one_that_was_used_is_enough():
    worst = find_worst([Condition(is_used=False, clock_ahead=1.0), FULL, READ_ONLY])

    assert (worst.refuses, worst.drains, worst.is_used, worst.clock_ahead) == ("read_only", False, True, 1.0)
