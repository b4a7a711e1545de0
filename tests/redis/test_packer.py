"""Commands are written as redis-py writes them, and a signal handler that raises meanwhile cannot end the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from e2e.harness import unmeasured_environment
from eventspool._backends.redis.client import connect
from eventspool._backends.redis.packer import Packed, Packer
from eventspool._config import RedisOpts

WORDS = st.one_of(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False))


@given(st.sampled_from(["PING", "HSETNX", "SCRIPT LOAD", b"EVALSHA"]), st.lists(WORDS))
def test_it_writes_what_redis_py_writes(name, words):
    theirs = redis.connection.PythonRespSerializer(
        1 << 20, redis.connection.Encoder("utf-8", "strict", False).encode
    )
    assert b"".join(Packer().pack(name, *words)) == b"".join(theirs.pack(name, *words))


@given(st.lists(WORDS), st.lists(WORDS), st.lists(WORDS))
def test_words_that_were_written_before_stand_where_they_are_put(first, packed, last):
    assert Packer().pack("EVAL", *first, Packed(*packed), *last) == Packer().pack(
        "EVAL", *first, *packed, *last
    )


def test_what_is_no_text_becomes_the_bytes_that_it_was():
    assert b"\xff" in Packer().pack("GET", b"\xff".decode(errors="surrogateescape"))[0]


@pytest.mark.parametrize("opts", [{}, {"ssl": True}, {"url": "unix:///s?db=1"}, {"url": "rediss://h/2"}])
def test_every_connection_uses_it(opts):
    pool = connect(RedisOpts(**opts)).connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert isinstance(connection._command_packer, Packer)


INTERRUPTED = textwrap.dedent("""
    import faulthandler, os, random, signal, sys, time
    faulthandler.dump_traceback_later(60, exit=True)  # where it hangs, if it does
    sys.path.insert(0, sys.argv[2])
    from eventspool._claim import ClaimTerms
    from eventspool._contract.tools import new_job
    from redis_servers import make_backend

    class Stop(BaseException):
        pass

    def stop(*_):
        raise Stop

    signal.signal(signal.SIGALRM, stop)
    backend = make_backend(sys.argv[1].replace("db=0", "db=1"))
    backend.open()
    stopped, end = 0, time.monotonic() + 3.0
    while time.monotonic() < end:
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3), 1e-3)  # again, where one is swallowed
                while True:
                    backend.commit([new_job()])
                    backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60.0))
                    backend.wait(0.01)
                    backend.stats()
            finally:
                while True:
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                        break
                    except Stop:
                        pass
        except Stop:
            stopped += 1
        except Exception:
            pass  # what came between a command and its reply may have spoiled that of another
    print(stopped, flush=True)
    os._exit(0)  # redis-py's destructors wait for a lock of its pool, which an exception may have left locked
""")


@pytest.mark.hunt
@pytest.mark.skipif(find_spec("hiredis") is None, reason="without hiredis the driver packs in Python")
def test_calls_that_a_signal_handler_stops_do_not_end_the_process(server):
    """
    With hiredis' packer it was gone within a second.

    Where an alarm falls is chance, and one that leaves a lock of redis-py's locked says nothing about us. That each connection
    uses our own packer is what every commit tests.
    """
    import hiredis

    assert redis.connection.HIREDIS_AVAILABLE, hiredis.__version__
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, server.url, tests],
        env=unmeasured_environment(),  # coverage has a lock that the alarms leave locked
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != -signal.SIGSEGV
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
