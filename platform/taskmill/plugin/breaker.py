"""Calls what one plugin brought, such as its health check: isolated, within a time limit, and not at all while the breaker is open.

closed ──3 failures in a row──▶ open ──30 s──▶ half-open: one try ──success──▶ closed
▲                              └──failure──▶ open
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.log import get_logger
from taskmill.plugin import constants as c
from taskmill.plugin.manifest import Health
from taskmill.words import Words

log = get_logger("taskmill.plugin")
T = TypeVar("T")


class Breaker:
    """Guards one plugin. A call that raises, hangs or answers nonsense is a failure; `ok=False` of a check is an answer."""

    def __init__(
        self,
        plugin: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        timeout_s: float = c.PLUGIN_HEALTH_TIMEOUT_S,
        failing: Words = reasons.HEALTH_FAILING,
    ) -> None:
        self._plugin = plugin
        self._clock = clock
        self._timeout_s = timeout_s
        self._failing = failing
        self._failures = 0
        self._open_until = 0.0

    @property
    def open(self) -> bool:
        """Say whether checks are refused right now."""
        return self._failures >= c.PLUGIN_BREAKER_FAILURES and self._clock.monotonic() < self._open_until

    async def check(self, call: Callable[[], Any]) -> Health:
        """Return what `call`, plain or async, says; never raises except for its own cancellation."""
        rested = self.open
        health, reason = await self.ask(partial(_answer, call))
        if health is not None:
            return health
        if not rested:
            log.warning("插件健康检查失败", plugin=self._plugin, failures=self._failures, reason=str(reason))
        return Health(ok=False, detail=reason)

    async def ask(self, call: Callable[[], Awaitable[T]]) -> tuple[T | None, str | Words]:
        """Return what `call` gives, or None and why; never raises except for its own cancellation."""
        if self.open:
            return None, self._failing
        task = asyncio.ensure_future(_contained(call))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._timeout_s)
        finally:
            task.cancel()  # 超时就不再等；顽固的任务也拖不住我们
        if not done:
            return self._failed(reasons.HEALTH_SILENT(seconds=f"{self._timeout_s:g}"))
        if task.cancelled():
            return self._failed(reasons.HEALTH_CANCELLED)
        error = task.exception()
        if error is not None:
            return self._failed(f"{type(error).__name__}: {error}")
        self._failures = 0
        return task.result(), ""

    def _failed(self, reason: str | Words) -> tuple[None, str | Words]:
        self._failures += 1
        if self._failures >= c.PLUGIN_BREAKER_FAILURES:
            self._open_until = self._clock.monotonic() + c.PLUGIN_BREAKER_OPEN_S
        return None, reason


async def _contained(call: Callable[[], Awaitable[T]]) -> T:
    """`sys.exit()` 在任务里会连事件循环一起带走。"""
    try:
        return await call()
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"{type(error).__name__}: {error}"
        raise RuntimeError(message) from None


async def _answer(call: Callable[[], Any]) -> Health:
    answer = call()
    if inspect.isawaitable(answer):
        answer = await answer
    if not isinstance(answer, Health):
        message = f"taskmill_health returned {type(answer).__name__}, not Health"
        raise TypeError(message)
    return answer
