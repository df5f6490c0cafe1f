"""The worker role: one process that runs tasks. Incarnations read and claim for it; it runs, settles and drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from uuid import UUID

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.attempts.attempt import Stop
from taskmill.engine.attempts.receiver import TaskmillReceiver
from taskmill.engine.attempts.slots import Slots
from taskmill.engine.backoff import Backoff
from taskmill.engine.broker import TaskmillBroker
from taskmill.engine.health import HealthApp, Vitals, serving
from taskmill.engine.incarnation import Incarnation, Process
from taskmill.engine.isolation import Isolation
from taskmill.engine.orders import Orders
from taskmill.engine.settler import Settler
from taskmill.engine.troubles import Watchful
from taskmill.errors import Code, UnavailableError
from taskmill.log import get_logger
from taskmill.services.platform import Platform

log = get_logger(__name__)


class WorkerRole:
    """One worker process (or the worker part of `taskmill dev`). To be made in the event loop that runs it."""

    def __init__(self, platform: Platform, queues: Sequence[str] = (), concurrency: int | None = None) -> None:
        settings, registry = platform.settings, platform.host.registry
        self._platform = platform
        self.broker = TaskmillBroker(
            settings.require_broker_url(), platform.submit, platform.database, registry, platform.host.fail_middleware
        )
        self.broker.add_middlewares(*platform.host.middlewares())
        self.settler = Settler(platform.database, platform.promoter.soon, platform.releaser.released, platform.failures.note)
        self.receiver = TaskmillReceiver(
            self.broker, registry, result_max_bytes=settings.result_max_bytes, submit=platform.submit.submit_kind
        )
        self.slots = Slots(concurrency or settings.concurrency, self.receiver, self.settler)
        self.orders = Orders(self.slots)
        self.process = Process(
            platform,
            sorted(queues or settings.queues or registry.queues()),
            self.slots.concurrency,
            self.settler,
            self.slots,
            self.orders,
            Isolation(self.slots),
            Watchful(platform.host.failures),
        )
        self.incarnation = Incarnation(self.process)
        self._worn_out = False

    @property
    def queues(self) -> list[str]:
        """Return the queues that are read, sorted."""
        return self.process.queues

    @property
    def ready(self) -> asyncio.Event:
        """Return the event that is set once reading has begun."""
        return self.process.began

    @property
    def claimed(self) -> int:
        """Return how many rows were claimed."""
        return self.process.claimed

    @property
    def worker_id(self) -> UUID:
        """Return the id of the present incarnation."""
        return self.incarnation.id

    @property
    def statements(self) -> int:
        """Return how many claims and settles this worker has sent to PostgreSQL."""
        return self.process.claims + self.incarnation.claimer.claims + self.settler.statements

    @property
    def vitals(self) -> Vitals:
        """Return how this process is; safe to call from other threads."""
        process, incarnation = self.process, self.incarnation
        beat = incarnation.heartbeat
        return Vitals(
            turn_at=process.turn_at,
            tried_at=max(process.tried_at, beat.last_attempt),
            renewed_at=beat.last_renewal if incarnation.registered else None,
            ready=beat.report.ready,
            draining=process.stop.is_set(),
            cordoned=self.orders.cordoned,
            slots=self.slots.concurrency,
            running=len(self.slots.running),
            claimed=process.claimed,
            settled=self.settler.settled,
            unsettled=self.settler.backlog,
            paused=len(incarnation.reader.paused & set(process.queues)),
            abandoned=len(self.slots.abandoned),
            wanting=self._platform.host.wanting(),
        )

    async def run(self, stop: asyncio.Event, now: asyncio.Event | None = None, health: HealthApp | None = None) -> int:
        """Work until `stop` is set, then drain: finish within the grace, hand the rest back; `now` cuts the grace.

        `health` answers for the process already; without, an endpoint is opened for the run.
        Returns how many attempts were handed back. Raises UnavailableError WORKER_WORN_OUT after a drain of its own because
        too many threads hang, SetupError CONFIG_INVALID if the port of the health endpoint is taken.
        """
        self.broker.is_worker_process = True
        async with nullcontext(health) if health else serving(self._platform.settings) as answering:
            answering.attend(lambda: self.vitals, lambda: self.settler.tally.counts)
            return await self._run(stop, now or asyncio.Event())

    async def _run(self, stop: asyncio.Event, now: asyncio.Event) -> int:
        await self.broker.startup()
        self.settler.start()
        beside = [
            asyncio.create_task(self._tick(), name="ticker"),
            asyncio.create_task(self._watch(stop), name="stop-watch"),
        ]
        try:
            await self._live()
            returned = await self._drain(now)
            if self._worn_out:
                raise UnavailableError(Code.WORKER_WORN_OUT, limit=self._platform.settings.threads_abandoned_max)
            return returned
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self.receiver.stop()
            await self.broker.shutdown()

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stop()

    def _stop(self) -> None:
        self.process.stop.set()
        self.slots.free.set()

    async def _live(self) -> None:
        """一个编号接一个编号地干活，直到停机。"""
        backoff = Backoff()
        while not self.process.stop.is_set():
            incarnation = self.incarnation = Incarnation(self.process)
            if not await incarnation.register():
                await backoff.wait()
                continue
            backoff.reset()
            incarnation.start()
            await incarnation.end()
            await incarnation.stop_reading()
            if not self.process.stop.is_set():
                await incarnation.give_up()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(ec.TICK_S)
            try:
                self._look()
            except Exception:
                log.exception("例行检查出错，接着再来")  # 它停了，就再没有谁管超时

    def _look(self) -> None:
        self.slots.tick()
        stopping, limit = self.process.stop.is_set(), self._platform.settings.threads_abandoned_max
        if stopping or self.slots.isolating:
            self.process.turn_at = time.monotonic()  # 停机、腾空时不再读取，循环还转着就算活着
        self.incarnation.publish()
        if (self.receiver.exhausted or len(self.slots.abandoned) >= limit) and not stopping:
            log.error("停不下来的线程或协程太多：停止领取，结束本进程，请外面重启它", limit=limit)
            self._worn_out = True
            self._stop()

    async def _drain(self, now: asyncio.Event) -> int:
        grace, slots, incarnation = self._platform.settings.drain_grace_s, self.slots, self.incarnation
        log.info("停止领取，等待在途任务", running=len(slots.running), ready=len(slots.ready), grace_s=grace)
        incarnation.publish()
        returned = slots.hand_back_ready()
        waiting = [asyncio.create_task(work) for work in (slots.idle(grace), now.wait(), incarnation.lost.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        returned += await self._cut(Stop.LOST if incarnation.lost.is_set() else Stop.DRAIN)
        try:
            if incarnation.registered and not incarnation.lost.is_set():  # 租约丢了就什么也不写
                await incarnation.hand_over()
        finally:
            left = await self.settler.stop(c.SHUTDOWN_GRACE_S)  # 已完成的结果无论如何要写下
            await incarnation.stop()
        log.info("工作进程已停", handed_back=returned, unsettled=left)
        return returned

    async def _cut(self, stop: Stop) -> int:
        """取消剩下的：宽限已过，交还且不计次数；租约丢了，它们已归别人。停不下来的也照样放手，栅栏会挡住它们的结果。"""
        count = self.slots.halt(stop)
        if count and not await self.slots.idle(ec.CUT_S):
            self.slots.cut()
        return count if stop is Stop.DRAIN else 0
