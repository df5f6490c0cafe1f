"""Faults of the roles themselves, and handlers that take their worker with them."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator

from tests.chaos.driver.faults import fault, fill
from tests.chaos.driver.roles import Role
from tests.chaos.driver.stage import LEASE_S, Stage

FREEZE_S = (LEASE_S + 4, LEASE_S + 8)  # 租约过期，救援者也已动手


def _victim(stage: Stage, rng: random.Random, kind: str) -> Role:
    return rng.choice(stage.of(kind))


@fault("worker killed (-9)", "role", 2, 5)
async def worker_killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Kill one worker; the supervisor starts another."""
    victim = _victim(stage, rng, "worker")
    victim.kill("kill -9")
    yield victim.name


@fault("all workers killed (-9)", "role", 2, 5)
async def workers_killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Kill all workers at once."""
    for victim in stage.of("worker"):
        victim.kill("kill -9")
    yield "all"


@fault("api killed (-9)", "role", 2, 5)
async def api_killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Kill one api with requests in flight."""
    victim = _victim(stage, rng, "api")
    victim.kill("kill -9")
    yield victim.name


@fault("both schedulers killed (-9)", "role", 2, 5)
async def schedulers_killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Kill all schedulers."""
    for victim in stage.of("scheduler"):
        victim.kill("kill -9")
    yield "both"


@fault("all roles killed (-9)", "role", 2, 5, blocks=True)
async def all_killed(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The machine that they all ran on is gone."""
    for victim in stage.roles.values():
        victim.kill("kill -9")
    yield "all"


async def _frozen(victim: Role) -> AsyncIterator[str]:
    since, pid = victim.freeze(), victim.life.pid
    try:
        yield victim.name
    finally:
        if victim.life.pid == pid:
            victim.thaw(since)


@fault("worker frozen past its lease, then woken", "role", *FREEZE_S)
async def worker_frozen(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """A zombie: it wakes up with tasks that others have taken over."""
    async for word in _frozen(_victim(stage, rng, "worker")):
        yield word


@fault("api frozen, then woken", "role", 8, 15, blocks=True)
async def api_frozen(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Requests wait in a process that does not run."""
    async for word in _frozen(_victim(stage, rng, "api")):
        yield word


@fault("scheduler frozen, then woken", "role", *FREEZE_S)
async def scheduler_frozen(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """A scheduler may be frozen in the middle of a transaction."""
    async for word in _frozen(_victim(stage, rng, "scheduler")):
        yield word


@fault("one of each role restarted (SIGTERM)", "role", 3, 6)
async def restarted(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Ask one of each kind to end; the supervisor starts another."""
    victims = [_victim(stage, rng, kind) for kind in ("api", "worker", "scheduler")]
    for victim in victims:
        if not victim.busy:
            stage.spawn(victim.leave("SIGTERM"))
    yield ", ".join(victim.name for victim in victims)


@fault("tasks that end their worker", "handlers", 6, 12)
async def deadly(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """os._exit, and SystemExit in a child task, beside innocent neighbours."""
    kinds = [rng.choice(("chaos.os_exit", "chaos.exit_in_child")) for _ in range(2)]
    neighbours = [("chaos.long", {"ms": rng.randrange(1500, 4000)}) for _ in range(20)]
    await stage.submit([*neighbours, *((kind, {}) for kind in kinds)], rng)
    yield " ".join(kinds)


@fault("tasks that raise GeneratorExit and their like", "handlers", 3, 6)
async def odd_raises(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """What is raised is neither an Exception nor a cancel."""
    kinds = (
        "generator_exit",
        "generator_exit_await",
        "generator_exit_thread",
        "base_exception",
        "interrupt_thread",
        "sys_exit",
    )
    await stage.submit([(f"chaos.{rng.choice(kinds)}", {}) for _ in range(24)], rng)
    yield "24 of them"


@fault("tasks that block the loop or swallow cancels", "handlers", 4, 8)
async def stubborn(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """Workers that cannot do what they want for a while."""
    blocks = [("chaos.block", {"ms": rng.randrange(1000, 3000)}) for _ in range(6)]
    others = [(f"chaos.{kind}", {}) for kind in ("swallows", "overruns", "leaks") for _ in range(9)]
    await stage.submit([*blocks, *others], rng)
    yield "6 block, 9 swallow, 9 hold threads, 9 leave threads behind"


@fault("disk for logs full", "role", 8, 15, needs="log_disk")
async def log_disk_full(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """No role can write a line into its log files."""
    assert stage.log_disk is not None
    filler = stage.log_disk / "filler"
    await asyncio.to_thread(fill, filler)
    try:
        yield ""
    finally:
        filler.unlink()


@fault("worker told to end twice", "role", 2, 4)
async def ended_twice(stage: Stage, rng: random.Random) -> AsyncIterator[str]:
    """The second SIGTERM ends it at once."""
    victim = _victim(stage, rng, "worker")
    pid = victim.life.pid
    if not victim.busy:
        stage.spawn(victim.leave("SIGTERM twice"))
    yield victim.name
    if victim.life.pid == pid:
        victim.send(signal.SIGTERM)
