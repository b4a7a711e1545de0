"""`eventspool metrics`: several queues for Prometheus, without a worker."""

from __future__ import annotations

import signal
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.harness import eventually
from eventspool import Client, ConfigError
from eventspool._cli.exporting import Named, read_names
from promtool import find_promtool


@pytest.fixture
def exporter(start):
    """Start an exporter; return its process and its address."""

    def run(*arguments):
        process = start("metrics", *arguments, "--port", "0")
        address = process.stderr.readline().split()[0]
        return process, address

    return run


def values(text):
    """Return every sample's value by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def store(url):
    with Client("k", process=False, persistence=url) as client:
        client.track("u", "Secret")
        assert client.flush(until="persisted", timeout=60).pending == 0


def ask(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_two_queues_are_exported_while_no_worker_runs(exporter, tmp_path):
    one, other = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other"))
    store(one)
    process, address = exporter("-q", f"{one}#hightouchEventsQueue", "-q", f"other={other}")
    found = values(text := ask(address))

    assert found["eventspool_queue_up", ("queue", "hightouchEventsQueue")] == 1
    assert found["eventspool_queue_jobs", ("queue", "hightouchEventsQueue"), ("state", "waiting")] == 1
    assert found["eventspool_queue_processors", ("queue", "hightouchEventsQueue")] == 0
    assert found["eventspool_queue_up", ("queue", "other")] == 0
    assert "there is no queue at" in process.stderr.readline()
    assert "Secret" not in text
    checked = subprocess.run(
        [find_promtool(), "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_queue_that_comes_later_is_read_then(exporter, tmp_path):
    url = f"sqlite:///{tmp_path}/later.db"
    process, address = exporter("-q", url)
    assert values(ask(address))["eventspool_queue_up", ("queue", "hightouchEventsQueue")] == 0
    assert not tmp_path.joinpath("later.db").exists()
    store(url)

    eventually(lambda: values(ask(address))["eventspool_queue_up", ("queue", "hightouchEventsQueue")])
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "can be read again" in process.stderr.read()


def test_it_is_alive_and_ready_while_a_queue_is_away(exporter):
    _, address = exporter("-q", "redis://127.0.0.1:1")

    for path in ("livez", "readyz"):
        assert '"ok":true' in ask(address.replace("metrics", path))


def test_once_says_what_could_not_be_read_and_exits_with_1(run):
    done = run("metrics", "--once", "-q", "redis://:secret@127.0.0.1:1#gone")

    assert (done.status, values(done.out)["eventspool_queue_up", ("queue", "gone")]) == (1, 0)
    assert "gone" in done.err
    assert "127.0.0.1:1" in done.err
    assert "secret" not in done.out + done.err


def test_a_queue_is_named_by_its_label_its_name_or_as_all():
    assert read_names(["eu=redis://:a=b@h:1/0#orders", "redis://h/0#mails", "sqlite:///x.db"], "q") == [
        Named("eu", "redis://:a=b@h:1/0", "orders"),
        Named("mails", "redis://h/0", "mails"),
        Named("q", "sqlite:///x.db", "q"),
    ]


def test_two_queues_of_one_label_are_refused():
    with pytest.raises(ConfigError, match="'q' in the metrics") as refused:
        read_names(["redis://:secret@h", "redis://h"], "q")

    assert "secret" not in str(refused.value)
