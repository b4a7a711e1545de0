"""Which stores keep the order per user, and which jobs are made for it."""

from __future__ import annotations

import pytest

from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._config import Ordering, QueueOpts
from eventspool._exceptions import ConfigError
from eventspool._job import created_at_from_id, lanes_of, new_job_id
from eventspool._routing import ALL_LANES


def test_a_file_refuses_it_by_name(tmp_path):
    opts = QueueOpts(url=f"sqlite:///{tmp_path}/events.db", ordering="per_user")
    with pytest.raises(ConfigError, match="SQLite file cannot keep ordering='per_user'"):
        create_backend(opts)


def test_memory_refuses_it_by_name():
    with pytest.raises(ConfigError, match="memory cannot keep ordering='per_user'"):
        MemoryBackend(ordering=Ordering.PER_USER)


@pytest.mark.parametrize("lanes", [1, 0x8000, 0x0F0F, ALL_LANES])
def test_an_id_names_the_lanes_of_its_job(lanes):
    made = new_job_id(lanes)
    assert lanes_of(made) == lanes
    assert created_at_from_id(made) > 0


@pytest.mark.parametrize("end", ["", "-", "-0000", "-12", "-12345", "-xyz1", "+0001", "-0x01", "-1_23"])
def test_an_id_that_names_no_lanes_touches_all(end):
    assert lanes_of(new_job_id() + end) == ALL_LANES
