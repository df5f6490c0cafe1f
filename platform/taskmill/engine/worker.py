"""The worker role: read, claim, run, settle, heartbeat; drains on request and starts anew when its lease was lost."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

import taskmill
from taskmill import constants as c
from taskmill.engine.attempt import Attempt, Stop
from taskmill.engine.broker import TaskmillBroker
from taskmill.engine.claimer import Claimer
from taskmill.engine.executors import register_builtin
from taskmill.engine.health import Vitals, serving
from taskmill.engine.heartbeat import Heartbeat
from taskmill.engine.isolation import Isolation
from taskmill.engine.orders import Orders
from taskmill.engine.reader import Reader
from taskmill.engine.receiver import TaskmillReceiver
from taskmill.engine.settler import Settler
from taskmill.engine.slots import Slots
from taskmill.errors import Code, UnavailableError
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import By, State
from taskmill.stores.broker.tickets import BROKER_AWAY
from taskmill.stores.database import AWAY, Record
from taskmill.stores.tasks import submit as task_submit
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.why import why
from taskmill.stores.workers import worker as store
from taskmill.stores.workers.worker import Registration, Renewal

log = get_logger(__name__)
TICK_S = 0.1  # 超时与预取检查的精度


class WorkerRole:
    """One worker process (or the worker part of `taskmill dev`)."""

    def __init__(self, platform: Platform, queues: Sequence[str] = (), concurrency: int | None = None) -> None:
        settings, registry = platform.settings, platform.host.registry
        self._platform = platform
        self._registry = registry
        self._concurrency = concurrency or settings.concurrency
        self.queues = sorted(queues or settings.queues or registry.queues())
        if "async" not in registry.executors:
            register_builtin(registry, self._concurrency, settings.threads_abandoned_max)
        self._served = [f"{kind}:{version}" for kind, version in registry.tasks]
        self.broker = TaskmillBroker(settings.require_broker_url(), platform.submit, platform.database, registry)
        self.broker.add_middlewares(*platform.host.middlewares())
        self.settler = Settler(platform.database)
        self.receiver = TaskmillReceiver(
            self.broker, registry, result_max_bytes=settings.result_max_bytes, submit=self._submit
        )
        self.slots = Slots(self._concurrency, self.receiver, self.settler)
        self.orders = Orders(self.slots)
        self._isolation = Isolation(self.slots, lambda: self._ended() or self.orders.cordoned)
        self.ready = asyncio.Event()
        self.last_read: float | None = None
        self.last_turn = time.monotonic()  # 读取的循环最近一次转过来，不论读没读到
        self._tried = time.monotonic()  # 最近一次登记的尝试；心跳线程起来之前由它代表
        self._ready_now = False
        self.claimed = 0
        self._claims = 0  # 以前各编号的认领次数
        self.worker_id: UUID = new_id()
        self._cancels: frozenset[UUID] = frozenset()  # 上次续租时，归我而被要求取消的
        self._worn_out = False
        self._stop = asyncio.Event()
        self._lost = asyncio.Event()
        self._heartbeat: Heartbeat | None = None
        self._claimer: Claimer | None = None

    @property
    def statements(self) -> int:
        """Return how many claims and settles this worker has sent to PostgreSQL."""
        return self._claims + (self._claimer.claims if self._claimer else 0) + self.settler.statements

    @property
    def vitals(self) -> Vitals:
        """Return how this process is; safe to call from other threads."""
        beat, claimer = self._heartbeat, self._claimer
        return Vitals(
            turn_at=self.last_turn,
            tried_at=max(self._tried, beat.last_attempt if beat else 0.0),
            renewed_at=beat.last_renewal if beat else None,
            ready=self._ready_now,
            draining=self._stop.is_set(),
            cordoned=self.orders.cordoned,
            slots=self._concurrency,
            running=len(self.slots.running),
            claimed=self.claimed,
            settled=self.settler.settled,
            unsettled=self.settler.backlog,
            paused=len(claimer.reader.paused & set(self.queues)) if claimer else 0,
            abandoned=len(self.slots.abandoned),
        )

    async def run(self, stop: asyncio.Event, now: asyncio.Event | None = None) -> int:
        """Work until `stop` is set, then drain: finish within the grace, hand the rest back; `now` cuts the grace.

        Returns how many attempts were handed back. Raises UnavailableError WORKER_WORN_OUT after a drain of its own because
        too many threads hang, SetupError CONFIG_INVALID if the port of the health endpoint is taken.
        """
        self.broker.is_worker_process = True
        async with serving(self._platform.settings, lambda: self.vitals, lambda: self.settler.tally.counts):
            return await self._run(stop, now or asyncio.Event())

    async def _run(self, stop: asyncio.Event, now: asyncio.Event) -> int:
        await self.broker.startup()
        self.settler.start()
        ticker = asyncio.create_task(self._tick(), name="ticker")
        watcher = asyncio.create_task(self._watch(stop), name="stop-watch")
        try:
            while not self._stop.is_set():
                await self._incarnation()
            returned = await self._drain(now)
            if self._worn_out:
                raise UnavailableError(Code.WORKER_WORN_OUT, limit=self._platform.settings.threads_abandoned_max)
            return returned
        finally:
            for task in (ticker, watcher):
                task.cancel()
            await asyncio.gather(ticker, watcher, return_exceptions=True)
            await self.receiver.close()
            await self.broker.shutdown()

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stop.set()
        self.slots.free.set()

    async def _incarnation(self) -> None:
        """以一个新编号登记、续租、读取，直到停机或租约丢失。死掉的编号绝不复用。"""
        self.worker_id, self._lost = new_id(), asyncio.Event()
        settings = self._platform.settings
        if not await self._register():
            return
        reader = Reader(self._platform.tickets, str(self.worker_id), self.queues)
        self._claimer = claimer = Claimer(
            self._platform.database, self._platform.tickets, reader, self.worker_id, self._served, self._isolation.alone
        )
        self._heartbeat = Heartbeat(
            self._platform.database.url,
            self.worker_id,
            partial(self._on_renewal, self.worker_id),
            settling=self.settler.late,
            lease_s=settings.lease_s,
            period_s=settings.heartbeat_s,
        )
        self._say()
        self._heartbeat.start()
        fetchers = 2 if self._concurrency >= c.READ_MAX // 5 else 1
        tasks = [asyncio.create_task(self._fetch(claimer, fetchers), name="fetcher") for _ in range(fetchers)]
        tasks += [asyncio.create_task(self._reconcile(claimer)), asyncio.create_task(self._listen_for_hints())]
        log.info("工作进程开始领取任务", worker_id=str(self.worker_id), queues=self.queues, concurrency=self._concurrency)
        self.ready.set()
        stopped = asyncio.create_task(self._stop.wait())
        lost = asyncio.create_task(self._lost.wait())
        await asyncio.wait({stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, lost, *tasks):
            task.cancel()
        await asyncio.gather(stopped, lost, *tasks, return_exceptions=True)
        if self._lost.is_set() and not self._stop.is_set():
            await self._bury()

    async def _register(self) -> bool:
        settings = self._platform.settings
        registration = Registration(
            self.worker_id,
            socket.gethostname(),
            os.getpid(),
            taskmill.__version__,
            self.queues,
            self._served,
            self._concurrency,
            settings.pod_name or None,
            settings.pod_uid or None,
            settings.bundle or None,
        )
        self.last_turn = self._tried = time.monotonic()
        try:
            self.orders.take(*await store.register(self._platform.database.pool, registration, settings.lease_s))
            await task_submit.ensure_queues(self._platform.database.pool, self.queues)  # stager 据此建好票据流
        except AWAY as error:
            log.warning("登记失败，稍后重试", error=why(error))
            await asyncio.sleep(min(1.0, c.RECONNECT_MAX_S))
            return False
        return True

    async def _bury(self) -> None:
        """租约已失：任务已归别人，停下一切，换新编号。"""
        self._claims += self._claimer.claims if self._claimer else 0
        self.slots.forget_ready()
        count = self.slots.halt(Stop.LOST)
        await self.slots.idle(c.SHUTDOWN_GRACE_S)
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        log.warning("租约丢失，以新编号重新开始", worker_id=str(self.worker_id), stopped=count)

    def _on_renewal(self, worker_id: UUID, renewal: Renewal) -> None:
        if worker_id != self.worker_id:
            return  # 上一个编号迟到的回复
        if not renewal.alive:
            self._lost.set()
            return
        self.orders.take(renewal.order, renewal.order_no)
        self._say()
        if self._claimer is not None and self._claimer.reader.paused != renewal.paused:
            self._claimer.reader.paused = renewal.paused
            self.slots.free.set()
        self._cancels = renewal.cancels
        if renewal.cancels:
            self.slots.hand_back_ready(renewal.cancels)
            self.slots.halt(Stop.CANCEL, only=lambda attempt: attempt.row["id"] in renewal.cancels)

    async def _fetch(self, claimer: Claimer, fetchers: int) -> None:
        delay = 0.05
        while not self._ended():
            self.last_turn = time.monotonic()
            fresh = self._heartbeat is not None and self._heartbeat.fresh
            room = self.slots.room() if fresh and not self.orders.cordoned else 0
            if room <= 0 or not claimer.reader.lanes:
                await self._wait_for_room()
                continue
            try:
                await self._fetch_once(claimer, -(-room // fetchers))
                delay = 0.05
            except (*AWAY, *BROKER_AWAY) as error:
                log.warning("领取暂停：服务器不可用", error=why(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, c.RECONNECT_MAX_S)
            except Exception as error:
                log.warning("领取出错，稍后再试", error=why(error), exc_info=translate(error) is None)
                await asyncio.sleep(delay)
                delay = min(delay * 2, c.RECONNECT_MAX_S)

    async def _wait_for_room(self) -> None:
        self.slots.free.clear()
        try:
            async with asyncio.timeout(TICK_S):  # 3.11 的 wait_for 可能吞掉取消
                await self.slots.free.wait()
        except TimeoutError:
            return

    async def _fetch_once(self, claimer: Claimer, room: int) -> None:
        self.slots.reserved += room
        self.slots.reading += 1
        try:
            found = await claimer.reader.read(room)
            if not found:
                found = await claimer.reader.wait(room)
            self.last_read = time.monotonic()
            if found and self.orders.cordoned:
                await claimer.give_back(found)  # 读的时候来了命令
            elif found:
                await claimer.claim(found, self._take)
        finally:
            self.slots.reserved -= room
            self.slots.reading -= 1

    def _take(self, rows: list[Record]) -> None:
        now = time.monotonic()
        self.claimed += len(rows)
        for row in rows:
            definition = self._registry.tasks[row["kind"], row["kind_version"]]
            attempt = Attempt(row, definition, self.worker_id, now, now)
            if row["id"] in self._cancels:
                self.slots.hand_back(attempt)  # 认领的回复还在路上，取消就先到了
            else:
                self.slots.add(attempt)

    async def _reconcile(self, claimer: Claimer) -> None:
        """定期、以及提交结果不明之后，对照数据库里归我的行：不认识的交还。"""
        checked = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            if not claimer.doubtful and time.monotonic() - checked < c.RECONNECT_MAX_S + c.RECONCILE_PERIOD_S:
                continue
            if await self._return_orphans(claimer):
                checked = time.monotonic()

    async def _return_orphans(self, claimer: Claimer) -> bool:
        """认领已提交而回复没等到（断线，或停机时被打断）的行：交还，不计次数。"""
        try:
            orphans = await claimer.orphans(self.slots.known)
        except Exception as error:  # noqa: BLE001 - 对账绝不能停：丢了回复的认领全靠它
            log.warning("对账推迟", error=why(error))
            return False
        for identity, claim_no in orphans:
            self.settler.put(
                Outcome(identity, claim_no, claimer.worker_id, State.AVAILABLE, by=By.HAND_BACK, attempt_delta=-1)
            )
        if orphans:
            log.warning("交还了回复丢失的认领", count=len(orphans))
        return True

    async def _listen_for_hints(self) -> None:
        """提示只为快：真相在心跳的回复里，收不到也不会错过取消。"""
        while not self._ended():
            try:
                async with aclosing(self._platform.tickets.hints(self.worker_id)) as hints:
                    async for hinted in hints:
                        if self._ended():
                            return
                        if hinted and self._heartbeat is not None:
                            self._heartbeat.poke()
            except BROKER_AWAY:
                await asyncio.sleep(c.RECONNECT_MAX_S)

    def _ended(self) -> bool:
        """redis-py 的订阅会吞掉取消，所以循环自己也要看。"""
        return self._stop.is_set() or self._lost.is_set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.slots.tick()
            limit = self._platform.settings.threads_abandoned_max
            if (self.receiver.exhausted or len(self.slots.abandoned) >= limit) and not self._stop.is_set():
                log.error("停不下来的线程或协程太多：停止领取，结束本进程，请外面重启它", limit=limit)
                self._worn_out = True
                self._stop.set()
                self.slots.free.set()
            if self._stop.is_set() or self.slots.isolating:
                self.last_turn = time.monotonic()  # 停机、腾空时不再读取，循环还转着就算活着
            self._say()

    def _say(self) -> None:
        """备好下次续租要说的话；命令做到了、就绪变了，就马上说。"""
        if self._heartbeat is None:
            return
        if self.orders.cordoned and self.slots.ready:
            self.slots.hand_back_ready()
        said = self._heartbeat.report
        report = self.orders.report(
            began=self.ready.is_set(),
            stopping=self._stop.is_set(),
            doubtful=self._claimer is not None and self._claimer.doubtful,
        )
        self._ready_now = report.ready
        if report == said:
            return
        self._heartbeat.report = report
        if (said.ready, said.draining, said.order_seen) != (report.ready, report.draining, report.order_seen):
            self._heartbeat.poke()

    async def _drain(self, now: asyncio.Event) -> int:
        grace = self._platform.settings.drain_grace_s
        log.info("停止领取，等待在途任务", running=len(self.slots.running), ready=len(self.slots.ready), grace_s=grace)
        self._say()
        returned = self.slots.hand_back_ready()
        idle = asyncio.create_task(self.slots.idle(grace))
        hurry = asyncio.create_task(now.wait())
        await asyncio.wait({idle, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.gather(idle, hurry, return_exceptions=True)
        returned += await self._cut()
        try:
            if self._claimer is not None:
                await self._return_orphans(self._claimer)
                await self._claimer.finish()
        finally:
            left = await self.settler.stop(c.SHUTDOWN_GRACE_S)  # 已完成的结果无论如何要写下
            await self._leave()
        log.info("工作进程已停", handed_back=returned, unsettled=left)
        return returned

    async def _cut(self) -> int:
        """宽限已过：取消剩下的，交还且不计次数；停不下来的线程也照样交还，它们的结果会被栅栏挡住。"""
        count = self.slots.halt(Stop.DRAIN)
        if count and not await self.slots.idle(1.0):
            self.slots.cut()
        return count

    async def _leave(self) -> None:
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        try:
            await store.leave(self._platform.database.pool, self.worker_id, "stopped")
        except AWAY as error:
            log.warning("未能注销，租约到期后自动失效", error=why(error))

    async def _submit(self, kind: str, args: Any = None, **options: Any) -> UUID:
        request = msgspec.convert(
            {"kind": kind, "args": {} if args is None else msgspec.to_builtins(args), **options}, SubmitRequest
        )
        return (await self._platform.submit.submit(request)).id
