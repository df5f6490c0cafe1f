"""The one loop that drives every periodic duty: try, log, wait with jitter, back off while a server is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.stores.broker.tickets import BROKER_AWAY
from taskmill.stores.database import AWAY
from taskmill.stores.why import why

log = get_logger(__name__)


class Loop(Protocol):
    """A periodic duty. `run_once` returns what it did; a count `more` > 0 asks to run again at once."""

    name: str
    period_s: float

    async def run_once(self) -> Mapping[str, int]:
        """Do the duty once."""
        ...


class Looper:
    """Runs one Loop until stopped. `last_success` is a monotonic time, None before the first; `last_turn` counts failures too.

    `done` sums what the rounds say they did.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.last_success: float | None = None
        self.last_turn = time.monotonic()
        self.failures = 0
        self.done: Counter[str] = Counter()
        self._stopping = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to loop in a task of its own."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"loop-{self.loop.name}")

    def wake(self) -> None:
        """Begin the next round now; one that backs off after a failure waits on."""
        if not self.failures:
            self._woken.set()

    async def stop(self, grace_s: float = c.SHUTDOWN_GRACE_S) -> bool:
        """End after the current round; one that takes longer than `grace_s` is cut off. Says whether it ended by itself."""
        self._stopping = True
        self._woken.set()
        if self._task is None:
            return True
        if (await asyncio.wait({self._task}, timeout=grace_s))[0]:
            return True
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=ec.CUT_S)
        return False

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()  # 在一轮之前：这一轮里来的叫醒，它也许没看到
            delay = await self._round()
            self.last_turn = time.monotonic()
            if self._stopping:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):  # wait_for 每轮多一个任务
                    await self._woken.wait()

    async def _round(self) -> float:
        try:
            counts = await self.loop.run_once()
        except (*AWAY, *BROKER_AWAY) as error:
            self.failures += 1
            log.warning("循环暂停：服务器不可用", loop=self.loop.name, error=why(error), failures=self.failures)
        except Exception as error:
            self.failures += 1
            log.log(
                logging.WARNING if (known := translate(error)) else logging.ERROR,
                "循环出错，稍后再试",
                loop=self.loop.name,
                failures=self.failures,
                error=why(error),
                exc_info=known is None,
            )
        else:
            self.failures = 0
            self.last_success = time.monotonic()
            self.done.update({key: value for key, value in counts.items() if key != "more"})
            done = {key: value for key, value in counts.items() if value}
            if done:
                log.debug("循环完成一轮", loop=self.loop.name, **done)
            return 0.0 if counts.get("more") else self.loop.period_s * random.uniform(0.8, 1.2)  # noqa: S311 - 抖动
        return min(ec.RECONNECT_MAX_S, self.loop.period_s * 2 ** min(self.failures, 5))  # 周期会变，不能一开始就定下
