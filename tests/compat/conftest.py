"""A face, and a client of it, of each SDK in turn."""

from __future__ import annotations

import importlib

import pytest

from compat.programs_of_peers import MODULES


@pytest.fixture(params=MODULES)
def face(request, monkeypatch):
    """A face as after its first import."""
    monkeypatch.delenv("EVENTSPOOL_DATA_PLANE_URL", raising=False)
    monkeypatch.delenv("EVENTSPOOL_WRITE_KEY", raising=False)
    face = importlib.import_module(f"eventspool.compat.{request.param}")
    before = dict(vars(face))
    yield face
    if face.default_client is not None:
        face.default_client.client.close()
    face.default_client = None
    vars(face).clear()
    vars(face).update(before)


@pytest.fixture
def client(face, eventspool_dataplane):
    """A client of a face."""
    client = face.Client("key", host=eventspool_dataplane.url)
    yield client
    client.client.close()
