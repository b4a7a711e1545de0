"""
Redis dies, stands still, or says no.

The evidence is what the server itself counts as errors given, or what the proxy on the way saw the clients do meanwhile. The
harness comes past the proxy, and asks only what no fault answers with an error that is counted.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from torture.faults import fault
from torture.processes import state_of
from torture.redis_process import PRODUCER_PASSWORD

if TYPE_CHECKING:
    import random

    from torture.faults import Course
    from torture.world import World

_REDIS = ("redis",)


@fault("redis-kill", "redis", (0.3, 1.2), backends=_REDIS)
def kill(world: World, dice: random.Random) -> Course:
    """SIGKILL. Everything acknowledged is in the append-only file."""
    before = world.seen("redis", "unreached")
    world.redis.kill()
    yield
    hits = world.seen("redis", "unreached") - before
    world.redis.start()
    return hits


@fault("redis-restart", "redis", (0.3, 1.2), backends=_REDIS)
def restart(world: World, dice: random.Random) -> Course:
    """SIGTERM, as a deployment does it."""
    before = world.seen("redis", "unreached")
    world.redis.shut_down()
    yield
    hits = world.seen("redis", "unreached") - before
    world.redis.start()
    return hits


@fault("redis-loading", "redis", (1.0, 1.5), backends=_REDIS, possible=lambda world: world.redis.can_be_slow)
def loading(world: World, dice: random.Random) -> Course:
    """Killed, and slow to load its file: LOADING."""
    world.redis.kill()
    world.redis.start(slowly=True)
    before = world.redis.errors("LOADING")  # the start itself is answered so
    yield
    hits = world.redis.errors("LOADING") - before
    world.redis.hurry()
    world.redis.await_loaded()
    return hits


@fault("redis-stop", "redis", (0.5, 2.5), backends=_REDIS)
def stop(world: World, dice: random.Random) -> Course:
    """SIGSTOP: the kernel still takes what is sent, and it is executed late."""
    os.kill(world.redis.pid, signal.SIGSTOP)
    before = world.seen("redis", "requests")
    yield
    hits = world.seen("redis", "requests") - before if state_of(world.redis.pid) == "T" else 0
    os.kill(world.redis.pid, signal.SIGCONT)
    return hits


@fault("redis-pause", "redis", (0.5, 2.0), backends=_REDIS)
def pause(world: World, dice: random.Random) -> Course:
    """CLIENT PAUSE: writes, until told otherwise, or all commands, for a time: even its end would have to wait."""
    admin = world.redis.admin
    everything = dice.random() < 0.5
    admin.execute_command("CLIENT", "PAUSE", dice.randint(500, 2000), "ALL" if everything else "WRITE")
    before = world.seen("redis", "requests")
    paused = (
        not world.redis.answers()
        if everything
        else admin.info("clients").get("paused_actions", "write") == "write"
    )
    yield
    hits = world.seen("redis", "requests") - before if paused else 0
    if everything:
        world.redis.await_loaded()
    else:
        admin.execute_command("CLIENT", "UNPAUSE")
    return hits


@fault("redis-oom", "redis", backends=_REDIS)
def out_of_memory(world: World, dice: random.Random) -> Course:
    """Full, with noeviction."""
    before = world.redis.errors("OOM")
    world.redis.configure(maxmemory_policy="noeviction", maxmemory=1)
    yield
    world.redis.configure(maxmemory=0)
    return world.redis.errors("OOM") - before


@fault("redis-readonly", "redis", backends=_REDIS)
def read_only(world: World, dice: random.Random) -> Course:
    """A replica of a master that cannot be reached."""
    before = world.redis.errors("READONLY")
    world.redis.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    world.redis.admin.execute_command("REPLICAOF", "NO", "ONE")
    return world.redis.errors("READONLY") - before


@fault("redis-noreplicas", "redis", backends=_REDIS)
def no_replicas(world: World, dice: random.Random) -> Course:
    """A master that refuses writes for want of replicas."""
    before = world.redis.errors("NOREPLICAS")
    world.redis.configure(min_replicas_to_write=1)
    yield
    world.redis.configure(min_replicas_to_write=0)
    return world.redis.errors("NOREPLICAS") - before


@fault("redis-noauth", "redis", backends=_REDIS)
def no_auth(world: World, dice: random.Random) -> Course:
    """A password is required all at once, of the workers, who have none."""
    before = world.redis.errors("NOAUTH")
    world.redis.configure(requirepass="changed")
    world.redis.disconnect()
    yield
    world.redis.configure(requirepass="")
    return world.redis.errors("NOAUTH") - before


@fault("redis-wrongpass", "redis", backends=_REDIS)
def wrong_password(world: World, dice: random.Random) -> Course:
    """The producers' password is changed under them."""
    before = world.redis.errors("WRONGPASS")
    world.redis.allow("resetpass", ">changed")
    yield
    world.redis.allow("resetpass", f">{PRODUCER_PASSWORD}")
    return world.redis.errors("WRONGPASS") - before


@fault("redis-noperm", "redis", backends=_REDIS)
def no_permission(world: World, dice: random.Random) -> Course:
    """The producers' user may run no scripts any more."""
    before = world.redis.errors("NOPERM")
    world.redis.allow("-eval", "-evalsha")
    yield
    world.redis.allow("allcommands")
    return world.redis.errors("NOPERM") - before


@fault("redis-noscript", "redis", backends=_REDIS)
def no_script(world: World, dice: random.Random) -> Course:
    """The server forgets every script."""
    before = world.redis.errors("NOSCRIPT")
    world.redis.admin.script_flush()
    yield
    return world.redis.errors("NOSCRIPT") - before


@fault("redis-disconnect", "redis", backends=_REDIS)
def disconnect(world: World, dice: random.Random) -> Course:
    """The server closes every client's connection."""
    hits = world.redis.disconnect()
    yield
    return hits + world.redis.disconnect()
