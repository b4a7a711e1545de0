"""
Produce into a queue, or consume from it, until killed: ``sharing.py produce|consume URL NAME LOG``.

Each line of LOG is one job.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from eventspool import QueueOpts
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms, new_token
from eventspool._contract.tools import new_job, retry
from eventspool._exceptions import QueueUnavailable


def main() -> None:
    role, url, name, log = sys.argv[1:]
    backend = create_backend(QueueOpts(url=url, queue_name=name, prefix="test", ordering="none"))
    with Path(log).open("a", buffering=1) as file:
        (produce if role == "produce" else consume)(backend, file)


def produce(backend, file) -> None:
    stopping = []
    backend.commit([])
    backend.open()  # so that no commit that is measured imports the driver
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    while not stopping:
        jobs = [new_job() for _ in range(4)]
        began = time.monotonic()
        left = jobs
        while left:
            try:
                result = backend.commit(left)
            except QueueUnavailable:
                continue
            left = [job for job in left if job.id in result.rejected]
        took = time.monotonic() - began
        file.write("".join(f"acked {job.id} {took:.4f} {time.time():.3f} .\n" for job in jobs))
        time.sleep(0.01)


def consume(backend, file) -> None:
    token, count = new_token(), 0
    renew_at = 0.0
    while True:
        if time.monotonic() > renew_at:
            backend.renew(token, [], visibility_timeout=2.0)
            renew_at = time.monotonic() + 2.0
        claim = backend.claim(token, ClaimTerms(limit=16, visibility_timeout=2.0))
        for job in claim.jobs:
            count += 1
            if count % 17 == 0:
                backend.settle(token, [retry(job.id)])
            else:
                file.write(f"taken {job.id} .\n")
                backend.ack([job.id])
        if not claim.jobs:
            backend.wait(0.2)


if __name__ == "__main__":
    main()
