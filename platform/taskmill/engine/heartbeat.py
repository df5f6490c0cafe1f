"""Heartbeat: a thread with a loop and a connection of its own keeps the lease while handlers block the main loop.

It proves that the main loop lives: each beat asks that loop for a sign, and the lease is renewed only while the last sign
is younger than WORKER_LIVE_S. That is when the liveness probe asks for a restart too, since nothing but a restart would
help; others may then have the tasks. A loop that is not running at all gets no renewal.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.attempts.blocked import Blocked
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.stores.database import AWAY
from taskmill.stores.why import why
from taskmill.stores.workers.troubles import Troubles
from taskmill.stores.workers.worker import LeaseConnection, Renewal, Report

log = get_logger(__name__)


class Heartbeat:
    """Renews one incarnation's lease. `on_reply` runs on the main loop with each answer.

    `last_renewal` is the monotonic time of the last success, `last_attempt` that of the last try; `report` goes with the
    next renewal and is replaced as a whole, since the thread reads it. `settling` is called in the thread for the tasks
    whose outcome waits to be written, so that they are told even while the main loop is blocked; so is `troubles`. `on_away` runs on the main
    loop after each renewal that the database did not answer: connections that idle there would find it out only when the
    next task needs them, one time limit later. `blocked` is called in the thread once the main loop has been silent for too long
    and says who keeps it: that attempt has failed, the others are given back, and the incarnation is over.
    """

    def __init__(
        self,
        database_url: str,
        worker_id: UUID,
        on_reply: Callable[[Renewal], None],
        *,
        settling: Callable[[], Sequence[UUID]] = tuple,
        troubles: Callable[[], Troubles] = Troubles,
        on_away: Callable[[], None] = lambda: None,
        blocked: Callable[[float], Blocked | None] = lambda _: None,
        lease_s: float = c.LEASE_S,
        period_s: float = c.HEARTBEAT_S,
    ) -> None:
        self.worker_id = worker_id
        self.last_renewal = time.monotonic()
        self.last_attempt = self.last_renewal
        self.last_sign = self.last_renewal  # 主循环最近一次答应
        self.report = Report()
        self._connection = LeaseConnection(database_url, worker_id, lease_s)
        self._on_reply, self._settling, self._troubles, self._on_away = on_reply, settling, troubles, on_away
        self._lease_s, self._period_s = lease_s, period_s
        self._blocked = blocked
        self._unanswered, self._blamed = 0, False
        self._main = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poke: asyncio.Event | None = None
        self._stopping = False
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="heartbeat", daemon=True)

    @property
    def fresh(self) -> bool:
        """Say whether a renewal succeeded within the lease."""
        return time.monotonic() - self.last_renewal < self._lease_s

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def poke(self) -> None:
        """Renew now instead of at the next beat."""
        if self._loop is not None and self._poke is not None:
            with suppress(RuntimeError):  # 线程已收尾，循环关了：没有下一次心跳
                self._loop.call_soon_threadsafe(self._poke.set)

    async def stop(self) -> None:
        """End the thread; the lease is left to `leave` or to run out."""
        self._stopping = True
        self.poke()
        with suppress(TimeoutError):
            async with asyncio.timeout(c.CONNECT_TIMEOUT_S):
                await self._over.wait()  # 不用默认线程池去等：处理函数可能早把它占满了

    async def _run(self) -> None:
        self._loop, self._poke = asyncio.get_running_loop(), asyncio.Event()
        while not self._stopping:
            try:
                await self._beat()
                delay = self._period_s
            except AWAY as error:
                log.warning("续租失败", worker_id=str(self.worker_id), error=why(error))
                self._tell_main(self._on_away)
                delay = min(1.0, self._period_s)
            except Exception as error:
                log.warning("续租出错", worker_id=str(self.worker_id), error=why(error), exc_info=translate(error) is None)
                delay = min(1.0, self._period_s)
            await self._pause(delay)
        self._connection.close()
        self._tell_main(self._over.set)

    def _tell_main(self, what: Callable[..., None], *given: Renewal) -> None:
        with suppress(RuntimeError):  # 主循环已关，没有人在等
            self._main.call_soon_threadsafe(what, *given)

    async def _beat(self) -> None:
        asked = self.last_attempt = time.monotonic()
        if not self._main_lives(asked):
            await self._blame(asked)
            return
        renewal = await self._connection.renew(replace(self.report, settling=self._settling(), troubles=self._troubles()))
        if renewal.alive:
            self.last_renewal = asked
        self._tell_main(self._on_reply, renewal)

    def _main_lives(self, now: float) -> bool:
        """续租之前先问主循环：停了的、太久不答的，租约就让它到期，任务好归别人。"""
        if self._main.is_closed() or not self._main.is_running():
            log.error("主循环停了，不再续租", worker_id=str(self.worker_id))
            return False
        self._main.call_soon_threadsafe(self._sign)
        if now - self.last_sign <= ec.WORKER_LIVE_S:
            return True
        log.error("主循环太久没有转，不再续租", worker_id=str(self.worker_id), silent_s=round(now - self.last_sign, 1))
        return False

    async def _blame(self, now: float) -> None:
        """接连两次问它都不答才算数：整个进程刚从冻结中醒来时，第一次还轮不到它答。"""
        self._unanswered += 1
        if self._blamed or self._unanswered < ec.BLAME_BEATS or (found := self._blocked(now - self.last_sign)) is None:
            return
        row = found.attempt.row
        log.error(
            "处理函数堵住了事件循环，它记为失败，别的任务交还", task_id=str(row["id"]), kind=row["kind"], where=found.where
        )
        await self._connection.give_up(found.outcomes, new_id(), "event loop blocked")
        self._blamed = True

    def _sign(self) -> None:
        self.last_sign, self._unanswered = time.monotonic(), 0

    async def _pause(self, seconds: float) -> None:
        assert self._poke is not None  # noqa: S101 - _run 里先建
        try:
            await asyncio.wait_for(self._poke.wait(), seconds)
        except TimeoutError:
            return
        self._poke.clear()
