"""
Record jobs as the real SDKs store them: ``PYTHONPATH=tests python tests/cli/bull_node/record.py NAME=PACKAGE...``.

NAME is that of a file in ``recorded``, and PACKAGE is a package in ``node_modules`` or the path of a main file. The packages
of two recorded SDKs are not among those that tests install: ``events-sdk-node`` is on no registry, and version 1 of
``rudder-sdk-node`` is an old one with many packages of its own.
"""

from __future__ import annotations

import json
import sys

import redis

from eventspool._redis_server import RedisServer
from node_sdks import RECORDED, Bull, store

with RedisServer() as server, redis.Redis.from_url(server.url) as client:
    for argument in sys.argv[1:]:
        name, _, package = argument.partition("=")
        bull = Bull(client, name)
        events = store(bull, sdk=package, label=name, batches=2)
        data = [bull.data(job_id).decode() for job_id in reversed(bull.ids("wait"))]
        recording = json.dumps({"data": data, "events": events}, indent=1, sort_keys=True)
        (RECORDED / f"{name}.json").write_text(recording + "\n")
