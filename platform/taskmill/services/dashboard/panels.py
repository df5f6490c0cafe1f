"""What plugins add to the dashboard: their pages, and the panels of a page or of a task, all asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import Code, NotFoundError
from taskmill.plugin import constants as pc
from taskmill.plugin.dashboard.asker import PanelAsker, Told
from taskmill.plugin.dashboard.parts import Dashboard, Page, Panel, TaskFacts
from taskmill.plugin.executors.daemon_pool import DaemonPool
from taskmill.plugin.host import PluginHost
from taskmill.services.tasks.view import TaskAttemptView, TaskDetail
from taskmill.words import Words


@dataclass(frozen=True, slots=True)
class ShownPanel:
    """A panel with its rows, or with the reason why it has none."""

    plugin: str
    title: Words
    rows: list[Told]
    problem: Words | None


class PanelService:
    """One per process; remembers which panels keep failing."""

    def __init__(self, host: PluginHost, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._host, self._clock = host, clock
        self._pool = DaemonPool(pc.PANEL_THREADS, "panel")
        self._askers: dict[tuple[str, int], PanelAsker] = {}  # 面板在插件起来之后不变，也不会被回收

    def added(self) -> dict[str, Dashboard]:
        """Return what each plugin adds, in load order."""
        return self._host.dashboards()

    async def of_task(self, task: TaskDetail, newest: TaskAttemptView | None, result: Any) -> list[ShownPanel]:
        """Return the panels for a task that have something to say, or cannot say it."""
        asked = [
            (name, panel)
            for name, added in self.added().items()
            for panel in added.task_panels
            if not panel.kinds or task.kind in panel.kinds
        ]
        shown = await self._ask(asked, _facts(task, newest, result)) if asked else []
        return [panel for panel in shown if panel.rows or panel.problem]

    async def page(self, plugin: str, name: str) -> tuple[Page, list[ShownPanel]]:
        """Return a page of a plugin with its panels; NotFoundError ROUTE_NOT_FOUND."""
        added = self.added().get(plugin, Dashboard())
        page = next((page for page in added.pages if page.name == name), None)
        if page is None:
            raise NotFoundError(Code.ROUTE_NOT_FOUND, path=f"/dashboard/plugin/{plugin}/{name}")
        return page, await self._ask([(plugin, panel) for panel in page.panels])

    async def _ask(self, asked: Sequence[tuple[str, Panel]], *facts: Any) -> list[ShownPanel]:
        answers = await asyncio.gather(*(self._asker(*each).ask(*facts) for each in asked))
        return [
            ShownPanel(plugin, panel.title, rows, problem)
            for (plugin, panel), (rows, problem) in zip(asked, answers, strict=True)
        ]

    def _asker(self, plugin: str, panel: Panel) -> PanelAsker:
        key = plugin, id(panel)
        found = self._askers.get(key)
        if found is None:
            found = self._askers[key] = PanelAsker(plugin, panel, self._pool, clock=self._clock)
        return found


def _facts(task: TaskDetail, newest: TaskAttemptView | None, result: Any) -> TaskFacts:
    error = _decoded(task.error)
    if newest is not None:  # 任务上的错误只有一种语言
        error = {"type": newest.error_type, "message": newest.message, "message_zh": newest.message_zh}
    return TaskFacts(
        id=task.id,
        kind=task.kind,
        queue=task.queue,
        state=task.state.value,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        args=_decoded(task.args),
        meta=_decoded(task.meta),
        result=_decoded(result),
        error=error,
    )


def _decoded(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
