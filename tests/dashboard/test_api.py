"""The endpoints, over HTTP, on a real queue."""

from __future__ import annotations

import http.client
import json

import pytest

from dashboard.site import TOKEN
from eventspool import QueueUnavailable
from eventspool._claim import ClaimTerms
from eventspool.integrations.dashboard import create_app


def test_the_overview_counts_judges_and_keeps_samples(site, enqueue, queue):
    enqueue([("A", {}), ("B", {})])
    seen = site.get("/api/overview").json

    assert seen["queue"] == "orders"
    assert seen["read_only"] is False
    assert seen["stats"]["waiting"]["events"] == 2
    assert seen["verdict"]["title"] == "No processor is running"
    assert len(seen["samples"]) == 1
    assert site.get(f"/api/overview?since={seen['samples'][-1]['at'] + 60}").json["samples"] == []


def test_jobs_are_listed_by_state_and_reason_with_the_groups(site, failed):
    listed = site.get("/api/jobs?state=failed").json

    assert {job["id"] for job in listed["jobs"]} == set(failed)
    reasons = {group["reason"]: group for group in listed["reasons"]}
    assert sum(group["events"] for group in reasons.values()) == 3
    for reason, group in reasons.items():
        some = site.get(f"/api/jobs?state=failed&reason={reason}").json["jobs"]
        assert len(some) == group["jobs"]
        assert {job["reason"] for job in some} == {reason}
    assert site.get("/api/jobs?state=waiting").json["jobs"] == []


def test_pages_follow_each_other(site, failed):
    first = site.get("/api/jobs?limit=1").json
    second = site.get(f"/api/jobs?limit=1&after={first['next']}").json

    assert {first["jobs"][0]["id"], second["jobs"][0]["id"]} == set(failed)


def test_the_events_of_a_job_are_formatted(site, failed):
    seen = site.get(f"/api/jobs/{failed[0]}").json

    assert (seen["total"], seen["from"]) == (1, 0)
    [event] = seen["events"]
    assert (event["type"], event["name"], event["user"]) == ("track", "Bad", "u1")
    assert json.loads(event["json"])["properties"] == {"a": 1}
    assert '\n  "properties": {\n    "a": 1\n' in event["json"]


def test_many_events_come_in_portions(site, enqueue, queue):
    enqueue([(f"E{number}", {}) for number in range(20)] + [("last", {})])
    ids = [job.id for job in queue.jobs("waiting")]
    total = {job_id: site.get(f"/api/jobs/{job_id}").json for job_id in ids}

    assert sum(each["total"] for each in total.values()) == 21
    assert all(len(each["events"]) <= 20 for each in total.values())
    assert site.get(f"/api/jobs/{ids[0]}?from=9999").json["events"] == []


def test_one_job_a_reason_or_all_are_retried_and_delivered(site, failed, deliver, plane, queue):
    assert site.post("/api/retry", {"ids": failed[:1]}).json == {"retried": 1}
    reason = queue.jobs("failed")[0].reason
    assert site.post("/api/retry", {"reason": reason}).json == {"retried": 1}
    assert site.post("/api/retry", {"all": True}).json == {"retried": 0}
    deliver()

    assert {event["event"] for event in plane.events} == {"Bad", "Lost", "Lost Too"}


def test_a_delayed_job_is_made_due(site, enqueue, queue, opts, plane):
    from eventspool._backends import create_backend
    from eventspool._job import Settlement, SettlementKind

    enqueue([("A", {})])
    backend = create_backend(opts)
    backend.open()
    [job] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs
    assert backend.settle("t", [Settlement(job.id, SettlementKind.RETRY, delay=3600)]) == [True]
    backend.close()
    assert site.get("/api/jobs?state=delayed").json["jobs"][0]["attempts"] == 1

    assert site.post("/api/retry", {"state": "delayed", "all": True}).json == {"retried": 1}
    assert queue.stats().waiting.jobs == 1


def test_purging_needs_the_word(site, failed, queue):
    for confirm in (None, "yes", "PURGE", True):
        assert site.post("/api/purge", {"all": True, "confirm": confirm}).status == 400
    assert queue.stats().failed.jobs == 2

    assert site.post("/api/purge", {"ids": failed[:1], "confirm": "purge"}).json == {"purged": 1}
    assert [job.id for job in queue.jobs("failed")] == failed[1:]


def test_what_failed_since_it_was_counted_is_not_purged(site, fail, queue):
    fail("rejected", b'{"n":1}', b'{"n":2}')
    seen = site.get("/api/chosen?state=failed&reason=rejected").json
    assert (len(seen["ids"]), seen["events"]) == (2, 2)
    later = fail("rejected", b'{"n":3}')

    for unseen in ({"all": True}, {"reason": "rejected"}):
        refused = site.post("/api/purge", {**unseen, "confirm": "purge"})
        assert (refused.status, "ids" in refused.json["error"]) == (400, True)
    assert queue.stats().failed.jobs == 3
    assert site.post("/api/purge", {"ids": seen["ids"], "confirm": "purge"}).json == {"purged": 2}
    assert [job.id for job in queue.jobs("failed")] == later


def test_what_a_purge_is_about_is_named_by_state_and_reason(site, fail, enqueue):
    ids = [*fail("rejected", b"{}"), *fail("max_attempts", *[b"{}"] * 600)]
    enqueue([("A", {})])

    assert site.get("/api/chosen?reason=rejected").json == {"ids": ids[:1], "events": 1}
    assert set(site.get("/api/chosen?state=failed").json["ids"]) == set(ids)
    assert site.get("/api/chosen?state=waiting").json["events"] == 1
    assert site.get("/api/chosen?reason=absent").json == {"ids": [], "events": 0}


def test_exactly_the_jobs_named_are_exported_and_their_events_counted(site, fail):
    ids = fail("rejected", b'{"n":1}', b'{"n":2}')
    fail("rejected", b'{"n":3}')
    many = [*ids, *(f"gone-{number:030}" for number in range(5000))]  # more than an address can hold
    answer = site.post("/api/export", {"ids": many})

    assert sorted(answer.text.splitlines()) == ['{"n":1}', '{"n":2}']
    assert answer.headers["eventspool-events"] == "2"
    assert site.post("/api/export", {}).status == 400


def test_the_export_is_a_file_of_the_events(site, failed):
    whole = site.get("/api/export?state=failed")
    one = site.get(f"/api/export?state=failed&id={failed[0]}")

    assert whole.headers["content-type"].startswith("application/x-ndjson")
    assert whole.headers["content-disposition"].startswith('attachment; filename="failed-')
    assert sorted(json.loads(text)["event"] for text in whole.text.splitlines()) == [
        "Bad",
        "Lost",
        "Lost Too",
    ]
    assert [json.loads(text)["event"] for text in one.text.splitlines()] == ["Bad"]


def test_an_export_leaves_no_file_behind_even_when_it_is_broken_off(site, failed, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.request("GET", "/api/export?state=failed", headers=site.headers)
    assert connection.getresponse().read(1)
    connection.close()
    assert site.get("/api/export?state=nonsense").status == 400

    assert list(folder.iterdir()) == []


def test_pause_and_resume_reach_the_queue(site, queue):
    assert site.post("/api/pause").json == {"paused": True}
    assert queue.stats().paused
    assert site.get("/api/overview").json["verdict"]["title"] == "Delivery is paused"
    assert site.post("/api/resume").json == {"paused": False}
    assert not queue.stats().paused


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/retry", {}),
        ("/api/retry", {"ids": [], "all": True}),
        ("/api/retry", {"ids": "abc"}),
        ("/api/retry", {"ids": [7]}),
        ("/api/retry", {"reason": 7}),
        ("/api/retry", {"all": 1}),
        ("/api/retry", {"state": "waiting", "all": True}),
        ("/api/retry", {"state": "leased", "all": True}),
        ("/api/retry", {"state": "delayed", "reason": "rejected"}),
        ("/api/purge", {"confirm": "purge"}),
        ("/api/purge", {"confirm": "purge", "all": True, "state": "leased"}),
        ("/api/purge", {"confirm": "purge", "all": True, "state": ["failed"]}),
        ("/api/faults", {"rules": "status=503"}),
        ("/api/faults", {"rules": [{"status": 503}]}),
        ("/api/retry", []),
        ("/api/retry", "text"),
    ],
)
def test_a_wrong_request_says_what_is_wrong_and_changes_nothing(site, failed, queue, path, body):
    answer = site.post(path, body)

    assert answer.status == 400, answer
    assert answer.json["error"]
    assert queue.stats().failed.jobs == 2


@pytest.mark.parametrize(
    "path", ["/api/jobs?state=x", "/api/jobs?limit=x", "/api/overview?since=nan", "/api/jobs/x?from=-1"]
)
def test_a_wrong_parameter_is_a_400(site, path):
    assert site.get(path).status == 400


def test_a_body_that_is_too_large_too_deep_or_no_json_is_a_400(site):
    for body in ('{"ids": [' + '"x",' * 300_000 + '"x"]}', "[" * 100_000, "{", "\x00"):
        assert site.ask("POST", "/api/retry", body).status == 400


def test_a_job_that_is_gone_is_a_409_in_words(site):
    answer = site.get("/api/jobs/nothing")

    assert answer.status == 409
    assert "there is no job" in answer.json["error"]


def test_what_was_done_is_said_to_be_done_also_where_the_queue_answers_no_more(serve):
    class Quick:
        name = ""
        retried = 0

        def partitions(self):
            return []

        def stats(self):
            raise QueueUnavailable("Redis does not answer")

        def retry_failed(self, ids, reason):
            self.retried += 1
            return 2

    queue = Quick()
    site = serve(create_app(queue, token=TOKEN))
    answer = site.post("/api/retry", {"all": True})

    assert (answer.status, answer.text, queue.retried) == (200, '{"retried":2}', 1)


def test_a_queue_that_cannot_be_reached_is_a_503_and_comes_back(serve):
    from eventspool import QueueStats
    from eventspool._backends.condition import Condition

    class Flaky:
        name = ""
        _opts = None
        down = True

        def stats(self):
            if self.down:
                raise QueueUnavailable("Redis does not answer")
            return QueueStats()

        def partitions(self):
            return []

        def processors(self):
            return []

        def condition(self):
            return Condition()

    queue = Flaky()
    site = serve(create_app(queue, token=TOKEN))
    down = site.get("/api/overview")
    assert (down.status, down.json) == (503, {"error": "Redis does not answer"})
    queue.down = False

    assert site.get("/api/overview").status == 200


def test_the_inbox_shows_what_arrived_newest_first_and_searches_all_of_it(site, enqueue, deliver):
    enqueue([("First", {"note": "needle in a haystack"})], [("Second", {})])
    deliver()
    seen = site.get("/api/inbox").json

    assert {event["name"] for event in seen["events"]} == {"First", "Second"}
    assert all(event["tries"] == 1 and event["arrived_at"] for event in seen["events"])
    assert [event["name"] for event in site.get("/api/inbox?search=NEEDLE").json["events"]] == ["First"]
    assert site.get("/api/inbox?search=absent").json["events"] == []


def test_the_life_of_an_event_names_every_request_that_carried_it(site, enqueue, deliver, plane):
    plane.script("status=503,next=1")
    enqueue([("Order", {"total": 1})])
    deliver()
    [event] = site.get("/api/inbox").json["events"]
    assert event["tries"] == 2
    whole = site.get(f"/api/event?id={event['key']}").json

    assert [(step["what"], step.get("status"), step.get("recorded")) for step in whole["life"]] == [
        ("tracked", None, None),
        ("sent", "503", False),
        ("sent", "200", True),
    ]
    assert whole["life"][1]["fault"] == "status=503,next=1"
    assert json.loads(whole["json"])["properties"] == {"total": 1}
    assert whole["curl"].startswith("curl ")
    assert "client.track(" in whole["python"]


def test_faults_are_set_and_a_wrong_one_is_explained(site, plane):
    assert site.post("/api/faults", {"rules": ["status=503"]}).status == 200
    assert site.get("/api/inbox").json["stats"]["faults"] == {"status=503": 0}
    wrong = site.post("/api/faults", {"rules": ["stauts=503"]})
    assert wrong.status == 502
    assert "did you mean 'status'" in wrong.json["error"]
    assert site.post("/api/faults", {"rules": []}).status == 200

    assert site.get("/api/inbox").json["stats"]["faults"] == {}


def test_a_data_plane_that_is_gone_is_a_502(site, plane):
    plane.stop()

    assert site.get("/api/inbox").status == 502


def test_without_a_data_plane_the_page_of_events_is_told_so(serve, queue):
    site = serve(create_app(queue, token=TOKEN))

    assert site.get("/api/overview").json["dataplane"] is None
    assert site.get("/api/inbox").status == 400


def test_a_read_only_dashboard_shows_everything_and_changes_nothing(serve, queue, plane, failed):
    site = serve(create_app(queue, token=TOKEN, read_only=True, dataplane=plane.url))
    bodies = {
        "/api/retry": {"all": True},
        "/api/purge": {"all": True, "confirm": "purge"},
        "/api/pause": {},
        "/api/resume": {},
        "/api/faults": {"rules": ["status=503"]},
    }
    for path, body in bodies.items():
        assert site.post(path, body).status == 403, path

    assert queue.stats().failed.jobs == 2
    assert not queue.stats().paused
    assert plane.stats().faults == {}
    for path in (
        "/api/overview",
        "/api/jobs",
        f"/api/jobs/{failed[0]}",
        "/api/export?state=failed",
        "/api/inbox",
    ):
        assert site.get(path).status == 200, path
