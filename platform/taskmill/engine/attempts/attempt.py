"""One claimed task in a worker."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from taskmill.log import get_logger
from taskmill.plugin.context import TaskContext
from taskmill.plugin.definition import TaskDefinition
from taskmill.stores.arrays import Fence
from taskmill.stores.database import Record
from taskmill.stores.why import why

log = get_logger(__name__)


class Stop(StrEnum):
    """Why a running attempt was stopped from outside."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DRAIN = "drain"
    LOST = "lost"


@dataclass(slots=True)
class Attempt:
    """A claimed row until its outcome is settled. `expires` is a monotonic time."""

    row: Record
    definition: TaskDefinition[..., Any]
    worker_id: UUID
    claimed: float
    expires: float
    task: asyncio.Task[None] | None = None
    context: TaskContext | None = None
    stop: Stop | None = None
    halted: Stop | None = None  # 上次为何取消
    halted_at: float | None = None  # 第一次取消的时刻（单调时钟）
    calls: list[Future[Any]] | None = None  # 停不下来的调用；只有占着上限名额的尝试才记

    @property
    def key(self) -> Fence:
        """Return the fence without the worker: (id, claim_no)."""
        return self.row["id"], self.row["claim_no"]

    def halt(self, stop: Stop) -> None:
        """Ask the handler to end; the first reason stands."""
        if self.stop is None:
            self.stop = stop
        if self.context is not None:
            self.context.cancelled = True
        if self.task is not None and self.halted is not stop:
            self.halted = stop
            self.halted_at = self.halted_at or time.monotonic()
            try:
                self.task.cancel()  # 同一个理由只取消一次：反复取消会打断处理函数的清理
            except BaseException as error:  # noqa: BLE001 - 取消会转给它正等着的对象，那可能是处理函数自己的代码
                log.warning("处理函数等着的对象不让取消", task_id=str(self.row["id"]), error=why(error))
