"""Clients that submit, cancel, retry and read over the REST API, and write down what they were answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.chaos.driver import controls
from tests.chaos.driver.journal import Journal
from tests.chaos.driver.stage import QUEUES, Stage

CLIENTS = 8
TIMEOUT_S = 60.0
CROWD = 600  # 活着的任务多于这么多，客户端就歇一歇
PARKED_S = 7 * 86_400.0
FINE = {200, 201, 409, 429, 503}
# 种类与它在随便提交时的分量；会带走工作进程的只由故障提交
USUAL: dict[str, int] = {
    "chaos.short": 50, "chaos.long": 8, "chaos.tight": 10, "chaos.thread": 8, "chaos.block": 1, "chaos.flaky": 6, "chaos.fails": 4,
    "chaos.discards": 3, "chaos.snoozes": 3, "chaos.expires": 3, "chaos.generator_exit": 1, "chaos.generator_exit_await": 1,
    "chaos.generator_exit_thread": 1, "chaos.base_exception": 1, "chaos.interrupt_thread": 1, "chaos.sys_exit": 1,
    "chaos.swallows": 1, "chaos.overruns": 1, "chaos.spawns": 2, "chaos.leaks": 1, "chaos.huge_result": 1, "chaos.too_huge_result": 1,
    "chaos.unencodable": 1, "chaos.huge_args": 1, "chaos.parent": 3,
}  # fmt: skip
DOINGS = {"single": 60, "batch": 10, "delayed": 12, "cancel": 8, "retry": 4, "read": 8, "parked": 1,
          "limited": 12, "unique": 8, "limits": 1, "sequenced": 10, "dependent": 6}  # fmt: skip


@dataclass(slots=True)
class Answer:
    """One request: `status` is None if no answer came, `note` then says why, or is the body of an odd answer."""

    what: str
    api: str
    begin: float
    end: float
    status: int | None
    note: str = ""


class Load:
    """All clients of a run."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.answers: list[Answer] = []
        self.acknowledged: list[str] = []
        self.parents: list[str] = []  # 会结束的
        self.crowded = False
        self._stage, self._seeds = stage, [rng.getrandbits(64) for _ in range(CLIENTS)]
        self._watcher = random.Random(rng.getrandbits(64))
        self._journal = Journal(stage.folder / "journal" / "clients.jsonl")
        self._http = {name: self._client(name) for name in stage.urls if name.startswith("api")}
        self._tasks: list[asyncio.Task[None]] = []
        stage.submit = self.submit

    def _client(self, name: str) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {self._stage.secret}"}
        return httpx2.AsyncClient(
            base_url=f"{self._stage.urls[name]}/api/v1",
            headers=headers,
            trust_env=False,
            timeout=TIMEOUT_S,
            limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
        )

    def start(self) -> None:
        """Let the clients begin."""
        self._tasks = [asyncio.create_task(self._run(random.Random(seed))) for seed in self._seeds]

    async def stop(self) -> None:
        """Let every client end its request."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def close(self) -> None:
        """End the connections."""
        for http in self._http.values():
            await http.aclose()

    async def skip(self, task_ids: Sequence[str]) -> None:
        """Let sequences go on that these failed tasks stop, as somebody does who looks after them."""
        for task_id in task_ids:
            await self._on("skip", self._watcher.choice(sorted(self._http)), task_id)

    async def _run(self, rng: random.Random) -> None:
        while True:
            await asyncio.sleep(rng.uniform(0.05, 0.25) * (5 if self.crowded else 1))
            (doing,) = rng.choices(list(DOINGS), list(DOINGS.values()))
            api = rng.choice(sorted(self._http))
            await self._do(doing, api, rng)

    async def _do(self, doing: str, api: str, rng: random.Random) -> None:
        if doing in {"cancel", "retry", "read"}:
            if self.acknowledged:
                await self._on(doing, api, rng.choice(self.acknowledged[-500:]))
            return
        if doing == "batch":
            await self.post(api, "batch", [request(rng) for _ in range(rng.randrange(5, 40))])
            return
        if doing == "limits":
            await self.call(api, doing, "PUT", f"/queues/{controls.LIMITED}", controls.other_limits(rng))
            return
        if doing == "dependent":
            await self.post(api, "single", [controls.dependent(rng, self.parents[-100:])])
            return
        if doing in {"limited", "unique", "sequenced"}:
            await self.post(api, "single", [getattr(controls, doing)(rng)])
            return
        more: dict[str, Any] = {}
        if doing == "delayed":
            more["delay_s"] = round(rng.uniform(0.2, 6), 2)
        if doing == "parked":
            more["delay_s"] = PARKED_S
        await self.post(api, "single", [request(rng) | more])

    async def _on(self, doing: str, api: str, task_id: str) -> None:
        self._journal.write(f"{doing}-asked", id=task_id)
        if doing == "read":
            await self.call(api, "read", "GET", f"/tasks/{task_id}")
        elif (answer := await self.call(api, doing, "POST", f"/tasks/{task_id}/{doing}")) is not None:
            self._journal.write(f"{doing}-answered", id=task_id, status=answer.status_code)

    async def submit(self, tasks: Sequence[tuple[str, dict[str, Any]]], rng: random.Random) -> None:
        """Submit for a fault: at another api, and again, if one refuses."""
        wanted = [{"kind": kind, "args": args, "queue": rng.choice(QUEUES)} for kind, args in tasks]
        for api in ("api-0", "api-1", "api-0", "api-1"):
            if await asyncio.wait_for(self.post(api, "batch", wanted), TIMEOUT_S):
                return

    async def post(self, api: str, doing: str, tasks: list[dict[str, Any]]) -> list[str]:
        """Submit and return the ids that were acknowledged."""
        if any(task.get("delay_s") == PARKED_S for task in tasks):
            self._journal.write("parked-asked", id="")  # 答复可能丢失：存下的任务谁也不认得
        path, body = ("/tasks", tasks[0]) if doing == "single" else ("/tasks/batch", {"tasks": tasks})
        answer = await self.call(api, doing, "POST", path, body)
        if answer is None or answer.status_code not in {200, 201}:
            return []
        data = answer.json()["data"]
        items = [data] if doing == "single" else data["items"]
        for item, task in zip(items, tasks, strict=True):
            if item.get("duplicate"):
                self._journal.write("duplicate", id=item["id"], kind=item["kind"], key=task["unique"]["key"])
                continue
            self._journal.write(
                "ack", id=item["id"], kind=item["kind"], queue=item["queue"], api=api, parked=task.get("delay_s") == PARKED_S
            )
            self.acknowledged.append(item["id"])
            if task.get("delay_s") != PARKED_S:
                self.parents.append(item["id"])
            if task.get("depends_on"):
                self._journal.write("depends", id=item["id"], parents=task["depends_on"])
        return [item["id"] for item in items]

    async def call(
        self, api: str, what: str, method: str, path: str, body: Any = None, seconds: float = TIMEOUT_S
    ) -> httpx2.Response | None:
        """Send one request and write down how it went; None if there was no answer."""
        begin = time.monotonic()
        try:
            answer = await self._http[api].request(method, path, json=body, timeout=seconds)
        except httpx2.TransportError as error:
            self.answers.append(Answer(what, api, begin, time.monotonic(), None, type(error).__name__))
            return None
        odd = answer.status_code not in FINE or not answer.headers.get("content-type", "").startswith("application/json")
        note = answer.text[:500] if odd else ""
        self.answers.append(Answer(what, api, begin, time.monotonic(), answer.status_code, note))
        if odd:
            self._journal.write("odd-answer", what=what, api=api, path=path, status=answer.status_code, body=note)
        return answer


def request(rng: random.Random) -> dict[str, Any]:
    """Return one task of the usual mixture."""
    (kind,) = rng.choices(list(USUAL), list(USUAL.values()))
    made: dict[str, Any] = {
        "kind": kind,
        "queue": rng.choice(QUEUES),
        "priority": rng.randrange(1, 5),
        "args": _args(kind, rng),
    }
    if kind == "chaos.expires":
        made["expires_at"] = (datetime.now(UTC) + timedelta(seconds=rng.uniform(0.5, 20))).isoformat()
    return made


def _args(kind: str, rng: random.Random) -> dict[str, Any]:
    if kind in {"chaos.short", "chaos.thread"}:
        return {"ms": rng.randrange(1, 200)}
    if kind == "chaos.long":
        return {"ms": rng.randrange(1000, 5000)}
    if kind == "chaos.tight":
        return {"ms": rng.randrange(1000, 2500)}
    return {"text": "字" * 80_000} if kind == "chaos.huge_args" else {}
