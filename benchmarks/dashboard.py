# ruff: noqa: INP001  单个脚本，不是包
"""The dashboard on a large database with sessions open: `python -m benchmarks.dashboard`.

Each session has its stream of events and is on some page: that page asks for itself about once a second, as it does while things
change, with the ETag that it has; every few seconds somebody opens the next page. One task a second is submitted meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import asyncpg

from benchmarks.fill import arguments, fill, sizes_of
from benchmarks.stand import Prober, Role, Stand, bar, percentiles, run

BAR_MS = 200.0
REFRESHES = 3  # 看几次之后换一页
COLD_S = 5.0  # 所有人在同一刻打开头一页，模板、计划、缓存都是冷的：另算
SAMPLES = """
select (select fingerprint from taskmill.failures order by n desc limit 1) as largest,
       (select fingerprint from taskmill.failures order by last_at desc limit 1) as newest,
       (select id::text from taskmill.tasks where state = 'available' order by id desc limit 1) as waiting,
       (select id::text from taskmill.task_history where state = 'discarded' order by id desc limit 1) as failed
"""
PAGES = {
    "overview": "",
    "overview, 24 h": "?hours=24",
    "overview, 7 days": "?hours=168",
    "tasks": "tasks",
    "tasks: failed": "tasks?q=state:discarded",
    "tasks: of a queue, waiting": "tasks?q=state:available+queue:queue-003",
    "tasks: of a kind": "tasks?q=kind:shop.kind_007",
    "tasks: failed lately": "tasks?q=state:discarded+finished:>1h",
    "tasks: of a tag": "tasks?q=tag:tag-7",
    "task that waits": "tasks/{waiting}",
    "task that failed": "tasks/{failed}",
    "failures": "failures",
    "failures of a queue": "failures?queue=queue-003",
    "group, the largest": "failures/{largest}",
    "group, the newest": "failures/{newest}",
    "queues": "queues",
    "queue, the largest": "queues/queue-000",
    "queue, 7 days": "queues/queue-000?hours=168",
    "schedules": "schedules",
    "workers": "workers",
    "plugins": "plugins",
    "system": "system",
}


class Session:
    """One browser: its cookie, its stream, the page that it is on."""

    def __init__(self, http: aiohttp.ClientSession, root: str, chance: random.Random) -> None:
        self.http, self.root, self.chance = http, root, chance
        self.took: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.cold: list[float] = []
        self.cold_until = time.perf_counter() + COLD_S
        self.late: list[tuple[float, str, float]] = []  # 何时、哪一页、多少毫秒：慢的挤在一处，就是有事挡着

    async def log_in(self, key: str) -> None:
        """Log in as a form does; RuntimeError if that is refused."""
        async with self.http.post(f"{self.root}login", data={"api_key": key, "next": ""}) as answer:
            await answer.read()
            if answer.status != 200:  # noqa: PLR2004 - HTTP
                raise RuntimeError(answer.status, await answer.text())

    async def listen(self, stop: asyncio.Event) -> None:
        """Hold the stream of events open."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.http.get(f"{self.root}events", timeout=timeout) as answer:
            reading = asyncio.ensure_future(answer.content.read())
            await stop.wait()
            reading.cancel()

    async def look(self, pages: list[tuple[str, str]], stop: asyncio.Event) -> None:
        """Open page after page, each refreshed a few times, in an order of its own."""
        while not stop.is_set():
            self.chance.shuffle(pages)
            for name, path in pages:
                tag = await self._ask(name, "page", path)
                for _ in range(REFRESHES):
                    await asyncio.sleep(self.chance.uniform(0.8, 1.2))
                    if stop.is_set():
                        return
                    tag = await self._ask(name, "fragment", path, **{"HX-Request": "true", "If-None-Match": tag})

    async def _ask(self, name: str, form: str, path: str, **headers: str) -> str:
        began = time.perf_counter()
        async with self.http.get(self.root + path, headers=headers) as answer:
            text = await answer.read()
            took = 1000 * (time.perf_counter() - began)
            if began < self.cold_until:
                self.cold.append(took)
            else:
                self.took[name, form].append(took)
            if took > BAR_MS:
                self.late.append((began, f"{name}: {form}", took))
            if answer.status not in {200, 304} or (answer.status == 200 and b"<h1" not in text):  # noqa: PLR2004 - HTTP
                message = f"{path}: {answer.status}: {text[:300]!r}"
                raise RuntimeError(message)
            return answer.headers["ETag"]


async def _submits(http: aiohttp.ClientSession, api: Role, stop: asyncio.Event, key: str) -> int:
    """每秒一个任务：有变化，页面才有得刷新。"""
    made = 0
    headers = {"Authorization": f"Bearer {key}"}
    while not stop.is_set():
        body = {"kind": "shop.kind_000", "queue": "queue-003"}
        async with http.post(f"http://127.0.0.1:{api.port}/api/v1/tasks", json=body, headers=headers) as answer:
            made += answer.status in {200, 201}
        await asyncio.sleep(1)
    return made


async def _looked(
    stand: Stand, api: Role, options: argparse.Namespace, seen: dict[str, Any]
) -> dict[tuple[str, str], list[float]]:
    connection = await asyncpg.connect(stand.database_url)
    facts = dict(await connection.fetchrow(SAMPLES))
    await connection.close()
    pages = [(name, path.format(**facts)) for name, path in PAGES.items()]
    root, stop = f"http://127.0.0.1:{api.port}/dashboard/", asyncio.Event()
    async with AsyncExitStack() as stack:
        sessions = list[Session]()
        for number in range(options.sessions):
            http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
            sessions.append(Session(await stack.enter_async_context(http), root, random.Random(number)))  # noqa: S311
            await sessions[-1].log_in(stand.key)
        plain = await stack.enter_async_context(aiohttp.ClientSession())
        submits = asyncio.create_task(_submits(plain, api, stop, stand.key))
        streams = [asyncio.create_task(each.listen(stop)) for each in sessions]
        cpu, began, looked = api.cpu_s(), time.monotonic(), time.perf_counter()
        asyncio.get_running_loop().call_later(options.seconds, stop.set)
        await asyncio.gather(*(each.look(list(pages), stop) for each in sessions))
        seen["API, of a core, %"] = round(100 * (api.cpu_s() - cpu) / (time.monotonic() - began))
        seen["API, RSS, MB"] = round(api.rss_mb())
        seen["tasks submitted meanwhile"] = await submits
        await asyncio.gather(*streams)
    seen[f"the first {COLD_S:.0f} s, everybody at once, ms"] = percentiles(
        [took for session in sessions for took in session.cold]
    )
    late = sorted(each for session in sessions for each in session.late)
    seen["over the bar, at which second"] = [f"{at - looked:.1f} {page} {took:.0f} ms" for at, page, took in late]
    return _together(sessions)


def _together(sessions: list[Session]) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for session in sessions:
        for place, values in session.took.items():
            found[place] += values
    return found


def measure(stand: Stand, options: argparse.Namespace) -> dict[str, Any]:
    """Fill, start the API, look at all pages for a while."""
    sizes = sizes_of(options)
    seen: dict[str, Any] = {"filled in, s": asyncio.run(fill(stand.database_url, sizes, sys.stderr.write))}
    with stand.api() as api:
        prober = Prober(api.probe_port)
        took = asyncio.run(_looked(stand, api, options, seen))
        seen["/healthz of the API meanwhile"] = prober.end()
    bars = [
        bar(f"{name}: {form}, p95 of {len(values)}", percentiles(values)["p95"], BAR_MS, "ms")
        for (name, form), values in sorted(took.items(), key=lambda each: list(PAGES).index(each[0][0]))
    ]
    seen["medians, ms"] = {f"{name}: {form}": percentiles(values)["median"] for (name, form), values in took.items()}
    seen["slowest, ms"] = {f"{name}: {form}": percentiles(values)["max"] for (name, form), values in took.items()}
    subject = (
        f"Dashboard with {options.sessions} sessions open on {sizes.live:,} live and {sizes.finished:,} finished tasks, "
        f"{sizes.queues} queues, {sizes.kinds} kinds"
    )
    return {"subject": subject, "bars": bars, "seen": seen}


if __name__ == "__main__":
    found = argparse.ArgumentParser(description=__doc__)
    arguments(found)
    found.add_argument("--sessions", type=int, default=20)
    found.add_argument("--seconds", type=float, default=120)
    sys.exit(run("dashboard", measure, found))
