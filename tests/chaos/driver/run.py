"""One run: servers, roles and clients are started, rounds of faults go by, then everything is audited."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tests.chaos.driver import (  # noqa: F401 - 登记各自的故障
    audit_controls,
    audit_roles,
    audit_tasks,
    faults_clock,
    faults_network,
    faults_postgres,
    faults_roles,
    faults_valkey,
    gather,
)
from tests.chaos.driver import faults as _faults
from tests.chaos.driver.clients import CROWD, Load
from tests.chaos.driver.controls import STOPS
from tests.chaos.driver.cores import Meter
from tests.chaos.driver.facts import Breach, Event, Facts
from tests.chaos.driver.roles import supervise
from tests.chaos.driver.schedule import Kind, Planned, Round, rounds
from tests.chaos.driver.serving import Served, Serving
from tests.chaos.driver.stage import AWAY, Stage

START_LIMIT_S = 180.0
SERVING_LIMIT_S = 75.0
PAUSE_S = 1.0
SHORTEST_ROUND_S = 15.0  # 剩下的时间不到这么多，就不再开新的一轮


def say(words: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def table_of_kinds(stage: Stage | None, only: str = "") -> dict[str, Kind]:
    """Return the faults that this stage allows; those without are named."""
    kinds: dict[str, Kind] = {}
    for name, fault in _faults.TABLE.items():
        if only and only not in name:
            continue
        if fault.needs is not None and stage is not None and not getattr(stage, fault.needs):
            say(f"skipped: {name} (this machine has no {fault.needs}: no right to mount, or no C compiler)")
            continue
        kinds[name] = fault.kind
    return kinds


class Run:
    """A run of `seconds` seconds with one seed."""

    def __init__(self, stage: Stage, seed: int, seconds: float, only: str = "") -> None:
        self.facts = Facts(meter=Meter(os.getpid()))
        self._stage, self._seconds = stage, seconds
        self._rng = random.Random(seed)
        self._clients = random.Random(self._rng.getrandbits(64))
        self._only = only
        self._load: Load | None = None

    async def go(self) -> list[Breach]:
        """Run to the end and return the breaches."""
        stage, facts = self._stage, self.facts
        await stage.open()
        self._load = load = Load(stage, self._clients)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(load.close)
            stack.callback(self._end_roles)
            self._beside(stack, supervise(list(stage.roles.values()), facts.meter))
            await self._begin(load)
            self._beside(stack, self._watch(load))
            load.start()
            await asyncio.sleep(3)
            await self._rounds(load)
            await load.stop()
            facts.calm_s = await gather.calm(stage)
            await asyncio.sleep(3)  # 再过一次心跳与审计
            await gather.gather(stage, facts)
            (stage.folder / "rows.json").write_text(gather.dump(facts))
            await self._farewell()
        facts.answers = load.answers
        return [*audit_tasks.check(facts), *audit_controls.check(facts), *audit_roles.check(facts)]

    def _beside(self, stack: AsyncExitStack, work: object) -> None:
        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task = asyncio.create_task(work)  # type: ignore[arg-type]
        stack.push_async_callback(end)

    def _end_roles(self) -> None:
        for role in self._stage.roles.values():
            role.wanted = False
            role.send(signal.SIGCONT)
            role.kill("the end")

    async def _begin(self, load: Load) -> None:
        began = time.monotonic()
        served = await Serving(self._stage, load, began, START_LIMIT_S).measure()
        missing = [each.what for each in served if each.seconds is None]
        if missing:
            message = f"not even at the start: {missing}; logs in {self._stage.folder / 'logs'}"
            raise RuntimeError(message)
        self.facts.start_s = round(time.monotonic() - began, 1)
        load.answers.clear()
        say(f"all roles serve {self.facts.start_s} s after their start")

    async def _watch(self, load: Load) -> None:
        """看积压，也看停着的序列：有人来跳过失败的。"""
        query = "select count(*) from taskmill.tasks where state <> 'scheduled'"
        while True:
            with suppress(*AWAY):
                load.crowded = (await asyncio.wait_for(self._stage.rows(query), 5))[0][0] > CROWD
                await load.skip([row[0] for row in await asyncio.wait_for(self._stage.rows(STOPS), 5)])
            await asyncio.sleep(5)

    async def _rounds(self, load: Load) -> None:
        deadline = time.monotonic() + self._seconds
        for each in rounds(self._rng, table_of_kinds(self._stage, self._only)):
            if deadline - time.monotonic() < SHORTEST_ROUND_S:
                return
            say(str(each))
            await self._round(each)
            await self._recover(each, load)
            await asyncio.sleep(PAUSE_S)

    async def _round(self, each: Round) -> None:
        begin = time.monotonic()
        faults = [asyncio.create_task(self._fault(each, planned)) for planned in each.faults]
        if each.leaver is not None:
            await asyncio.sleep(each.leaves_after)
            role = self._stage.roles[each.leaver]
            if not role.busy and not role.ended():
                self._stage.spawn(role.leave(f"SIGTERM in round {each.number}"))
        await asyncio.gather(*faults)
        self._stage.gates.sweep()
        say(f"  over after {time.monotonic() - begin:.1f} s")

    async def _fault(self, each: Round, planned: Planned) -> None:
        fault = _faults.TABLE[planned.name]
        await asyncio.sleep(planned.after)
        event = Event(planned.name, planned.family, each.number, time.monotonic(), float("inf"), blocks=fault.blocks)
        self.facts.events.append(event)
        async with fault.context(self._stage, random.Random(planned.seed)) as word:
            event.word = word
            say(f"  {planned.name}{': ' if word else ''}{word}")
            await asyncio.sleep(planned.seconds)
        event.end = time.monotonic()

    async def _recover(self, each: Round, load: Load) -> None:
        since = time.monotonic()
        served = await Serving(self._stage, load, since, SERVING_LIMIT_S).measure()
        await self._stage.settle()
        event = self.facts.events[-1]
        self.facts.served += [(event, one) for one in served]
        slowest = max((one.seconds for one in served if one.seconds is not None), default=0.0)
        say(f"  serving again after {slowest:.1f} s")
        await self._replace([one for one in served if one.seconds is None])

    async def _replace(self, silent: list[Served]) -> None:
        """从此不再工作的角色换掉，别的故障才测得下去。"""
        silent = [one for one in silent if one.what != "due tasks"]
        for role in self._stage.roles.values():
            mine = [one for one in silent if role.name in one.roles]
            partners = 3 if role.kind == "api" else 2 if role.kind == "worker" else 1
            if len(mine) < partners or (role.kind == "worker" and len(silent) == len(self._stage.of("worker")) * 2):
                continue
            say(f"  {role.name} (pid {role.life.pid}) does not work any more and is replaced, log {role.life.log}")
            await role.leave("replaced")

    async def _farewell(self) -> None:
        """平静时请所有角色离开。"""
        for role in self._stage.roles.values():
            role.wanted = False
        await asyncio.gather(*(role.leave("SIGTERM at the end") for role in self._stage.roles.values() if not role.ended()))


def plan(seed: int, count: int, only: str = "") -> Iterator[Round]:
    """Yield the first rounds of a seed without running anything."""
    rng = random.Random(seed)
    rng.getrandbits(64)
    found = rounds(rng, table_of_kinds(None, only))
    for _ in range(count):
        yield next(found)


def folder_of(root: Path, seed: int) -> Path:
    """Return the folder of a run: logs, journals, rows and the servers' data."""
    return root / f"seed-{seed}"
