"""A producer remembers what no replica has confirmed, so that a repeated commit stores nothing twice, but not for ever."""

from __future__ import annotations

from eventspool._backends.redis import history as history_module
from eventspool._backends.redis.history import History


def test_what_is_never_committed_again_is_forgotten_once_there_is_too_much_of_it(monkeypatch):
    monkeypatch.setattr(history_module, "_REMEMBERED", 3)
    history = History()
    for job_id in "abac":
        history.note_unconfirmed([job_id])
    assert history.find_unconfirmed("abcx") == {"a", "b", "c"}
    history.note_unconfirmed(["d"])
    assert history.find_unconfirmed("abcd") == {"a", "c", "d"}, (
        "the one that was committed last the longest ago goes"
    )


def test_what_replicas_have_confirmed_or_the_server_has_lost_is_not_unconfirmed():
    history = History()
    for number, job_id in enumerate("abc", 1):
        history.note(number, [job_id])
        history.note_unconfirmed([job_id])
    history.confirm(["a"])
    assert history.rewind(2, 1.0) == 1
    assert history.find_unconfirmed("abc") == {"b"}
