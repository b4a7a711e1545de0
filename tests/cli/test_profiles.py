"""Profiles: options by a name, in a file, behind the command line and the environment."""

from __future__ import annotations

import pytest

EVENT = b'{"type":"track","userId":"u","event":"A"}\n'
CONFIG = """
profile = "near"
[profiles.near]
queue = "sqlite:///near.db"
multi = true
[profiles.far]
queue = "sqlite:///far.db"
queue_name = "other"
write_key_file = "key"
"""


@pytest.fixture
def config(tmp_path, run):
    for name in ("near", "far"):
        status = run("send", "-", "--enqueue-only", "-q", f"sqlite:///{name}.db", data=EVENT).status
        assert status == 0
    file = tmp_path / "home" / "eventspool" / "config.toml"
    file.parent.mkdir(parents=True)
    (file.parent / "key").write_text("secret\n")  # a relative path is meant from the file's folder
    file.write_text(CONFIG)
    file.chmod(0o600)
    return file


def queue_of(run, *arguments, **env):
    done = run(*arguments, "queue", "status", "--json", **env)
    return done.json["queue_name"] if done.status == 0 else done


def test_the_option_goes_before_the_environment_and_that_before_the_profile(run, config, tmp_path):
    home = {"XDG_CONFIG_HOME": str(config.parent.parent)}
    assert queue_of(run, **home) == "hightouchEventsQueue"
    assert queue_of(run, "--profile", "far", **home) == "other"
    assert queue_of(run, EVENTSPOOL_PROFILE="far", **home) == "other"
    assert queue_of(run, "--profile", "far", EVENTSPOOL_QUEUE_NAME="mine", **home) == "mine"
    assert queue_of(run, "--config", str(config), "--profile", "far") == "other"
    assert queue_of(run, EVENTSPOOL_CONFIG=str(config), EVENTSPOOL_PROFILE="far") == "other"
    done = run("--profile", "far", "queue", "status", "--queue-name", "given", "--json", **home)
    assert done.json["queue_name"] == "given"


def test_a_command_sends_with_a_profile_alone(run, config, plane, tmp_path):
    (tmp_path / "key").write_text("canary-write-key\n")
    config.write_text(f'[profiles.p]\nwrite_key_file = "{tmp_path}/key"\ndata_plane_url = "{plane.url}"\n')
    done = run("--config", str(config), "--profile", "p", "send", "-", "--json", data=EVENT)
    assert (done.status, done.json["delivered"]) == (0, 1), done


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ('[profiles.p]\nqueu = "x"', ("--profile", "p"), "did you mean 'queue'?"),
        ("[profiles.prod]", ("--profile", "prd"), "did you mean 'prod'?"),
        ("[profile.prod]", ("--profile", "prod"), "has no profile 'prod'"),
        ("[profils.p]", ("--profile", "p"), "did you mean 'profiles'?"),
        ("[profiles.p]\npartitions = true", ("--profile", "p"), "must be a whole number"),
        ("[profiles.p]\nqueue = secret", ("--profile", "p"), "is no TOML (at line 2"),
        ('[profiles.p]\nwrite_key_file = "none"', ("--profile", "p"), "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_told_and_its_values_are_not(run, tmp_path, text, arguments, said):
    file = tmp_path / "c.toml"
    file.write_text(text)
    done = run("--config", str(file), *arguments, "queue", "status", "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "config"), done
    assert said in done.err
    assert "secret" not in done.err


def test_a_missing_file_or_profile_is_told(run):
    assert "cannot be read" in run("--config", "no.toml", "queue", "status").err
    assert "there is no profile 'x'" in run("--profile", "x", "queue", "status", XDG_CONFIG_HOME="/none").err


def test_a_secret_that_others_can_read_is_told(run, config):
    config.write_text('[profiles.p]\nqueue = "sqlite:///near.db"\nwrite_key = "k"\n')
    config.chmod(0o644)
    command = ("--config", str(config), "--profile", "p", "queue", "status")
    assert "chmod 600" in run(*command).err
    config.chmod(0o600)
    assert run(*command).err.count("chmod") == 0
