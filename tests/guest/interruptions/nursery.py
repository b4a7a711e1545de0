"""
Forks rounds, several at a time, and ends those that hang: ``python -m guest.interruptions.nursery REDIS SLOTS``.

It reads a task as a line of JSON and writes a line with its outcome. It imports all that rounds need, so that they begin
at once, and starts no thread, so that forking is safe.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import pkgutil
import re
import selectors
import signal
import sys
import tempfile
import time
import warnings
from importlib import import_module
from typing import IO, Any

import eventspool

_LIGHT = set(sys.modules)
"""What ``import eventspool`` imports."""
_LEFT_OUT = re.compile(
    r"eventspool\.(_cli|_dashboard|_demo|_doctor|_contract|_metrics|integrations|testing|__main__)"
)
PATIENCE = "INTERRUPTIONS_PATIENCE"
"""An environment variable: the seconds until a round is taken to hang."""
_PATIENCE = float(os.environ.get(PATIENCE, "100"))


def _import_all() -> None:
    for module in pkgutil.walk_packages(eventspool.__path__, "eventspool."):
        if not _LEFT_OUT.match(module.name):
            import_module(module.name)
    import_module("redis")
    import_module("guest.interruptions.rounds")
    import_module("guest.interruptions.sabotage").install()


def _forget_modules() -> None:
    """Have our modules imported again, but for those that the import of the package needs, and the data plane."""
    for name in sorted(set(sys.modules) - _LIGHT):
        if name.startswith("eventspool.") and not name.startswith(
            ("eventspool._dataplane", "eventspool.testing")
        ):
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if parent in sys.modules and hasattr(sys.modules[parent], child):
                delattr(sys.modules[parent], child)


def _play_in_child(order: dict[str, Any], redis_url: str, output: int, errors: int) -> None:
    """Play what is ordered, and write the outcome to the descriptor *output*. Never returns."""
    from guest.interruptions import rounds

    try:
        os.dup2(errors, 2)
        faulthandler.enable()
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        role, name = order["role"], order["scenario"]
        if rounds.scenario_of(role, name).is_cold:
            _forget_modules()
        order.pop("again", None)
        if order.pop("record", False):
            outcome = rounds.record(role, name, order["backend"], redis_url, trace=order["trace"])
        else:
            outcome = rounds.play(rounds.Task.of(order), redis_url)
        with os.fdopen(output, "w") as file:
            json.dump(outcome, file)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(3)
    os._exit(0)


class _Round:
    def __init__(self, order: dict[str, Any], redis_url: str) -> None:
        self.order = order
        self.began = time.monotonic()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the round
        self.output, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _play_in_child(dict(order), redis_url, writing, self._errors.fileno())
        os.close(writing)
        self._said = b""

    def read(self) -> bool:
        """Read what there is. Return whether it was the last."""
        said = os.read(self.output, 1 << 16)
        self._said += said
        return not said

    def finish(self) -> dict[str, Any]:
        """Return the outcome."""
        os.close(self.output)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace")
        self._errors.close()
        took = time.monotonic() - self.began
        with contextlib.suppress(ValueError):
            return {**json.loads(self._said), "took": took, "order": self.order}
        words = f"signal {-status}" if status < 0 else f"exit status {status}"
        if "Timeout (" in errors:
            words = "it hangs: " + _summary(errors)
        else:
            words += ": " + errors[-1500:]
        return {
            "status": "failed",
            "problems": [words],
            "took": took,
            "order": self.order,
            "stderr": errors[-6000:],
        }


def _summary(dump: str) -> str:
    """Return the innermost lines of each thread of a dump of stacks, those of the caller first."""
    threads = []
    for block in dump.split("\n\n"):
        frames = re.findall(r'File "([^"]+)", line (\d+) in (\S+)', block)
        named = [f"{file.rpartition('/')[2]}:{line} {name}" for file, line, name in frames]
        if named:
            threads.append(" < ".join(named[:4]))
    return " | ".join(reversed(threads))


def main(redis_url: str, slots: int) -> None:
    """Play tasks from standard input until it ends."""
    warnings.simplefilter("ignore")
    _import_all()
    gc.collect()
    gc.freeze()
    orders: list[dict[str, Any]] = []
    rounds: dict[int, _Round] = {}
    ended, unread = False, b""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while not ended or orders or rounds:
            for key, _ in selector.select(1.0):
                if key.fd == 0:
                    read = os.read(0, 1 << 16)
                    *lines, unread = (unread + read).split(b"\n")
                    orders += [json.loads(line) for line in lines]
                    if not read:
                        ended = True
                        selector.unregister(0)
                elif rounds[key.fd].read():
                    selector.unregister(key.fd)
                    print(json.dumps(rounds.pop(key.fd).finish()), flush=True)
            for round_ in rounds.values():
                if time.monotonic() - round_.began > _PATIENCE + 10:
                    os.kill(round_.pid, signal.SIGKILL)
            while orders and len(rounds) < slots:
                round_ = _Round(orders.pop(0), redis_url)
                rounds[round_.output] = round_
                selector.register(round_.output, selectors.EVENT_READ)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
