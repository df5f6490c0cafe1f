"""A loop for work that may refuse to end: it is given a moment, then left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from taskmill.kube import constants as c
from taskmill.log import get_logger

log = get_logger(__name__)


def run_bounded(work: Coroutine[Any, Any, None], end_s: float = c.KUBE_WATCH_END_S) -> None:
    """Run like asyncio.run, but wait at most `end_s` for tasks that do not end: they are left with the loop."""
    # kopf 的连接断得不巧时，它的任务会一直等着再也不会来的登录。它被取消时又会取消循环里的一切，
    # 所以等它的不能是循环里的任务。
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        deadline = time.monotonic() + end_s
        while asyncio.all_tasks(loop) and time.monotonic() < deadline:
            loop.call_later(end_s / 100, loop.stop)
            loop.run_forever()
        for task in left:
            _ = task.done() and (task.cancelled() or task.exception())  # 有错的 kopf 已经记过
        if stuck := asyncio.all_tasks(loop):
            log.warning("看守迟迟不收尾，丢下它", tasks=len(stuck), wait_s=end_s)
        loop.close()
