"""How long it takes until every role works again: probes through every api and every worker, and the loops of schedulers."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

import httpx2

from tests.chaos.driver.clients import Load
from tests.chaos.driver.expect import PROBE
from tests.chaos.driver.roles import Role
from tests.chaos.driver.stage import Stage, probe_queue

AGAIN_S = 2.0  # 多久没跑完就再投一个
POLL_S = 0.2
ANSWER_S = 5.0
LOOPS = ("stager", "cron", "rescuer", "auditor")
AGE = re.compile(r'^taskmill_loop_success_age_seconds\{loop="(\w+)"\} (\S+)$', flags=re.MULTILINE)


@dataclass(slots=True)
class Served:
    """When `what` worked again: `seconds` after `base`, None if it never did; `roles` are those it needs."""

    what: str
    roles: tuple[str, ...]
    base: float
    seconds: float | None
    fresh: bool  # 其中有进程是刚启动的


class Serving:
    """Measures once, for at most `limit` seconds, counted from `since`."""

    def __init__(self, stage: Stage, load: Load, since: float, limit: float) -> None:
        self._stage, self._load, self._since = stage, load, since
        self._until = time.monotonic() + limit

    async def measure(self) -> list[Served]:
        """Return one entry for each pair of api and worker, for each scheduler, and for due tasks."""
        apis, workers = self._stage.of("api"), self._stage.of("worker")
        pairs = [self._pair(api, worker) for api in apis for worker in workers]
        loops = [self._scheduler(scheduler) for scheduler in self._stage.of("scheduler")]
        return [*await asyncio.gather(*pairs, *loops, self._due(apis[0]))]

    def _served(self, what: str, roles: tuple[Role, ...], at: float | None) -> Served:
        began = max(role.life.started for role in roles)
        base = max(self._since, began)
        fresh = began > self._since - 30
        names = tuple(role.name for role in roles)
        return Served(what, names, base, None if at is None else max(0.0, round(at - base, 2)), fresh)

    async def _pair(self, api: Role, worker: Role) -> Served:
        at = await self._probe(api, {"queue": probe_queue(worker.name), "args": {"worker": worker.name}})
        return self._served(f"{worker.name} through {api.name}", (api, worker), at)

    async def _due(self, api: Role) -> Served:
        at = await self._probe(api, {"delay_s": 0.2})
        return self._served("due tasks", (api, *self._stage.of("scheduler")), at)

    async def _probe(self, api: Role, more: dict[str, object]) -> float | None:
        """投探针，直到有一个跑完；先前投的跑完也算。"""
        ids: list[str] = []
        task = {"kind": PROBE, "priority": 1, **more}
        while time.monotonic() < self._until:
            again = time.monotonic() + AGAIN_S
            ids += await self._submit(api.name, task)
            while time.monotonic() < again:
                for task_id in ids:
                    answer = await self._load.call(api.name, "probe-read", "GET", f"/tasks/{task_id}", seconds=ANSWER_S)
                    if answer is not None and answer.status_code == 200 and answer.json()["data"]["state"] == "completed":
                        return time.monotonic()
                await asyncio.sleep(POLL_S)
        return None

    async def _submit(self, api: str, task: dict[str, object]) -> list[str]:
        try:
            return await asyncio.wait_for(self._load.post(api, "single", [task]), ANSWER_S)
        except TimeoutError:
            return []

    async def _scheduler(self, role: Role) -> Served:
        """每个循环在故障之后都成功过一轮。"""
        at: float | None = None
        async with httpx2.AsyncClient(base_url=self._stage.urls[role.name], trust_env=False, timeout=ANSWER_S) as http:
            while time.monotonic() < self._until:
                now = time.monotonic()
                try:
                    text = (await http.get("/metrics")).text
                except httpx2.TransportError:
                    text = ""
                ages = {name: float(age) for name, age in AGE.findall(text)}
                if all(ages.get(loop, 1e9) < now - self._since for loop in LOOPS):
                    at = now
                    break
                await asyncio.sleep(POLL_S)
        return self._served(role.name, (role,), at)
