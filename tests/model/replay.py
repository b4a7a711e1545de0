"""Tell one seed's story, step by step: ``PYTHONPATH=tests .venv/bin/python -m model.replay SEED``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .scenario import Scenario

_STEPS = ("commit", "claim", "ack", "settle", "renew", "leave")


def replay(seed: int) -> None:
    """Play *seed* and print what is asked of the queue and of the data plane, and the answers."""
    scenario = Scenario(seed)
    simulation, backend, plane = scenario.simulation, scenario.backend, scenario.plane
    print(f"seed {seed}: durable {scenario.durable}, fifo {scenario.fifo}")
    print(scenario.jobs, *plane.outages, f"queue away {backend.away}", sep="\n")

    def say(*words: object) -> None:
        print(f"{simulation.now + simulation.elapsed * simulation.sending:9.3f}", *words)

    def telling(name: str, method):
        def call(*args, **options):
            try:
                answer = method(*args, **options)
            except Exception as error:
                say(name, *map(_brief, args), "->", error)
                raise
            say(name, *map(_brief, args), "->", _brief(answer))
            return answer

        return call

    for name in _STEPS:
        setattr(backend, name, telling(name, getattr(backend, name)))
    send = plane.send

    def tell_request(process, events, moment):
        result, seconds = send(process, events, moment)
        say("request of", process.dispatcher.token, events, "->", result.describe(), f"after {seconds:.3f} s")
        return result, seconds

    plane.send = tell_request
    scenario.play()
    print("all is well")


def _brief(value: object) -> object:
    jobs = getattr(value, "jobs", None)
    if jobs is not None:
        return [(job.id[-4:], job.attempts) for job in jobs] or f"wait {value.wait}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_brief(each) for each in value]
    job_id = getattr(value, "id", getattr(value, "job_id", value))
    kind = getattr(value, "kind", None)
    text = job_id[-4:] if isinstance(job_id, str) and len(job_id) == 28 else job_id
    return f"{text} {kind.value} in {value.delay:.3f}" if kind else text


if __name__ == "__main__":
    replay(int(sys.argv[1]))
