"""The demo of `taskmill dev --demo`: a handful of real tasks through the REST API, shown until they finish."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx2
from rich.live import Live
from rich.table import Table

from taskmill import constants as c
from taskmill.dev import constants as dc
from taskmill.states import FINAL, State
from taskmill.text.printable import printable
from taskmill.words import Words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from taskmill.dev.demo_servers import DemoServers
    from taskmill.dev.screen import Screen

Task = dict[str, Any]

# shell 插件只认绝对路径；各系统放的地方不同
SHELL_ALLOW = "TASKMILL_PLUGIN_SHELL_ALLOW"
COMMANDS = {name: shutil.which(name) or f"/bin/{name}" for name in ("echo", "uname")}

TITLE = Words("演示任务", "demo tasks")
COLUMNS = (Words("编号", "id"), Words("类型", "kind"), Words("状态", "state"), Words("尝试", "attempt"))
CAPTION = Words(
    "邮件提交了两次，是同一个任务（唯一）；两个 /slow 请求同键，一次只跑一个（上限）",
    "the mail was asked for twice and is one task (unique); the two requests of /slow run one at a time (limit)",
)
HELD = Words("上限挡着", "held")
AT_LIMIT = "_AT_LIMIT"
LIMITED: Final = {"queue": c.QUEUE_DEFAULT, "field": "max_running_per_key"}
CUT_SHORT = Words("演示中断：{error}", "the demo was cut short: {error}")
STYLES = {State.COMPLETED: "green", State.RUNNING: "cyan", State.RETRYABLE: "yellow", State.DISCARDED: "red"}


def plugin_settings(servers: DemoServers) -> dict[str, str]:
    """Return the variables that let the shipped plugins reach the demo's servers and run one harmless command."""
    return {
        "TASKMILL_PLUGIN_HTTP_ALLOW_PRIVATE": "true",
        "TASKMILL_PLUGIN_EMAIL_HOST": "127.0.0.1",
        "TASKMILL_PLUGIN_EMAIL_PORT": str(servers.smtp_port),
        "TASKMILL_PLUGIN_EMAIL_TLS": "none",
        "TASKMILL_PLUGIN_EMAIL_SENDER": "demo@taskmill.example",
        SHELL_ALLOW: ",".join(COMMANDS.values()),
    }


def with_own(name: str, ours: str, theirs: str | None) -> str:
    """Return the value of a variable: what a person set wins; commands that the person allows are joined by the demo's two."""
    if theirs is None:
        return ours
    if name != SHELL_ALLOW:
        return theirs
    try:
        return json.dumps([*json.loads(theirs), *ours.split(",")])
    except ValueError:  # 不是 JSON，就是逗号隔开的
        return f"{theirs},{ours}"


def requests(servers: DemoServers) -> list[Task]:
    """Return the bodies that are submitted."""
    text = f"Sent by a task at {datetime.now(UTC):%H:%M:%S.%f}.\n"  # 每次演示是自己的一封信
    mail = {"to": ["you@taskmill.example"], "subject": "你好 Taskmill", "text": text}
    # 第二次提交时第一封也许已经发出：只有带期限的唯一才与快慢无关
    once = {"kind": "email.send", "args": mail, "unique": {"period_s": dc.DEMO_TIMEOUT_S}}
    slow = {
        "kind": "http.request",
        "args": {"method": "GET", "url": f"{servers.http_url}/slow"},
        "queue": LIMITED["queue"],
        "concurrency_key": "demo",
    }
    return [
        {"kind": "http.request", "args": {"method": "GET", "url": f"{servers.http_url}/hello"}},
        {"kind": "http.request", "args": {"method": "POST", "url": f"{servers.http_url}/hello", "json": {"n": 1}}},
        {"kind": "http.request", "args": {"method": "GET", "url": f"{servers.http_url}/flaky"}},
        once,
        once,
        slow,
        slow,
        {"kind": "shell.run", "args": {"argv": [COMMANDS["echo"], "hello from a task"]}},
        {"kind": "shell.run", "args": {"argv": [COMMANDS["uname"], "-s"]}, "delay_s": 1},
    ]


class Demo:
    """Submits the tasks and watches them. `run` tells whether all of them completed."""

    def __init__(self, api_url: str, token: str, servers: DemoServers, screen: Screen) -> None:
        self.servers = servers
        self.screen = screen
        self.console = screen.console
        self.client = httpx2.AsyncClient(
            base_url=f"{api_url}{c.API_PREFIX}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )

    async def run(self) -> bool:
        """Submit, show until all are final or DEMO_TIMEOUT_S is over, and check that the mail arrived."""
        async with self.client:
            try:
                async with self._limit():
                    return await self._watch()
            except httpx2.HTTPError as error:
                self.screen.say(CUT_SHORT(error=printable(str(error))))
                return False

    async def _watch(self) -> bool:
        submitted = [await self._call("POST", "/tasks", json=body) for body in requests(self.servers)]
        tasks = [task for task in submitted if not task["duplicate"]]
        deadline = time.monotonic() + dc.DEMO_TIMEOUT_S
        # 更新期间 rich 接管标准输出与标准错误，别的输出都落在表格上方
        with Live(self._table(tasks), console=self.console, auto_refresh=False) as live:
            while not _all_final(tasks) and time.monotonic() < deadline:
                await asyncio.sleep(dc.DEMO_POLL_S)
                tasks = [await self._call("GET", f"/tasks/{task['id']}") for task in tasks]
                live.update(self._table(tasks), refresh=self.console.is_terminal)
        if not self.console.is_terminal:
            self.console.line()  # rich 只在终端里换行
        self.screen.say(CAPTION)
        once = len(submitted) - len(tasks) == 1 and len(self.servers.mails) == 1
        return once and all(task["state"] == State.COMPLETED for task in tasks)

    @asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        """有一个上限可看；结束时放回原样，人自己设的不动。"""
        path, field = f"/queues/{LIMITED['queue']}", LIMITED["field"]
        before = (await self._call("PUT", path, json={}))[field]
        if before is None:
            await self._call("PUT", path, json={field: 1})
        try:
            yield
        finally:
            if before is None:
                await self._call("PUT", path, json={field: None})

    def _state(self, task: Task) -> str:
        held = any(reason["code"].endswith(AT_LIMIT) for reason in task.get("waiting") or ())
        return self.screen.choose(HELD) if held else task["state"]

    def _table(self, tasks: list[Task]) -> Table:
        table = Table(title=self.screen.choose(TITLE), title_justify="left")
        for column in COLUMNS:
            table.add_column(self.screen.choose(column), no_wrap=True)
        for task in tasks:
            style = STYLES.get(State(task["state"]), "")
            shown = self._state(task)
            table.add_row(task["id"], task["kind"], f"[{style}]{shown}[/]" if style else shown, str(task.get("attempt", 0)))
        return table

    async def _call(self, method: str, path: str, **facts: Any) -> Task:
        """返回信封里的数据；出错时先照印服务器的话，再抛 httpx2.HTTPStatusError。"""
        answer = await self.client.request(method, path, **facts)
        if answer.is_error:
            self.console.print(printable(answer.text, "\n"), markup=False)
        answer.raise_for_status()
        data: Task = answer.json()["data"]
        return data


def _all_final(tasks: list[Task]) -> bool:
    return all(task["state"] in FINAL for task in tasks)
