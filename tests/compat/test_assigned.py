"""Options that are assigned to the package itself, as the SDKs of the family have it, are not taken in silence."""

from __future__ import annotations

import pytest

import eventspool


@pytest.fixture
def package(monkeypatch):
    monkeypatch.setattr("eventspool._default._client", None)
    return eventspool


@pytest.mark.parametrize(
    "name", ["write_key", "host", "on_error", "send", "gzip", "persistence", "dataPlaneUrl"]
)
def test_the_first_call_says_what_to_do_instead(package, monkeypatch, name):
    monkeypatch.setattr(package, name, "secret-value", raising=False)
    for call in (lambda: package.track("user", "Event"), lambda: package.init("key")):
        with pytest.raises(
            eventspool.ConfigError, match=rf"^eventspool\.{name}: .*init.*compat\.segment"
        ) as raised:
            call()
        assert "secret-value" not in str(raised.value)


def test_other_names_may_be_put_there(package, monkeypatch):
    monkeypatch.setattr(package, "my_own_name", 1, raising=False)
    package.init("key", data_plane_url="http://127.0.0.1:9").close()
