"""``eventspool dashboard token``: one token for each person."""

from __future__ import annotations

from eventspool._dashboard.tokens import TokenFile, find_token


def test_tokens_are_made_listed_and_revoked(run, tmp_path):
    env = {"EVENTSPOOL_DASHBOARD_TOKENS": str(tmp_path / "tokens.json")}
    added = run("dashboard", "token", "add", "ann", **env)
    assert added.status == 0
    token = added.out.strip()
    assert find_token([token], TokenFile(tmp_path / "tokens.json").read()).name == "ann"
    assert "not shown again" in added.err
    bob = run("dashboard", "token", "add", "bob", "--read-only", "--json", **env).json
    assert (bob["name"], bob["read_only"]) == ("bob", True)

    listed = run("dashboard", "token", "list", "--json", **env).json
    assert [(each["name"], each["read_only"]) for each in listed] == [("ann", False), ("bob", True)]
    shown = run("dashboard", "token", "list", **env).out
    assert token not in shown
    assert "look and change" in shown

    assert run("dashboard", "token", "revoke", "ann", "--json", **env).json == {
        "name": "ann",
        "revoked": True,
    }
    assert run("dashboard", "token", "revoke", "ann", **env).status in (1, 2)
    assert [each["name"] for each in run("dashboard", "token", "list", "--json", **env).json] == ["bob"]


def test_the_queue_that_is_named_is_told(run, tmp_path, failed):
    env = {"EVENTSPOOL_DASHBOARD_TOKENS": str(tmp_path / "tokens.json"), "EVENTSPOOL_ACTOR": "root", **failed}
    run("dashboard", "token", "add", "ann", "--read-only", **env)
    run("dashboard", "token", "revoke", "ann", **env)
    told = [
        (each["actor"], each["action"], each["note"])
        for each in run("queue", "trail", "--json", **failed).json
    ]
    assert told == [("root", "token revoked", "ann"), ("root", "token added", "ann, read-only")]


def test_a_token_is_shown_also_where_the_queue_cannot_be_told_of_it(run, tmp_path):
    env = {
        "EVENTSPOOL_DASHBOARD_TOKENS": str(tmp_path / "tokens.json"),
        "EVENTSPOOL_QUEUE": "redis://127.0.0.1:1",
    }
    added = run("dashboard", "token", "add", "ann", **env)
    assert find_token([added.out.strip()], TokenFile(tmp_path / "tokens.json").read()).name == "ann"
    assert added.status != 0


def test_a_dashboard_needs_a_queue_and_its_tokens_do_not(run):
    done = run("dashboard")
    assert done.status == 2
    assert "--queue" in done.err
    done = run("dashboard", "token", "list")
    assert done.status == 2
    assert "--tokens" in done.err
