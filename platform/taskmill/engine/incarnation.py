"""One incarnation of a worker: a random id and its lease, and what reads and claims under it. A dead id is never used again."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

import taskmill
from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine import hints
from taskmill.engine.attempts import blocked
from taskmill.engine.attempts.attempt import Attempt, Stop
from taskmill.engine.attempts.slots import Slots
from taskmill.engine.backoff import Backoff
from taskmill.engine.claimer import Claimer
from taskmill.engine.heartbeat import Heartbeat
from taskmill.engine.isolation import Isolation
from taskmill.engine.orders import Orders
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.reader import Reader
from taskmill.engine.reconcile import Reconcile
from taskmill.engine.settler import Settler
from taskmill.engine.troubles import Watchful
from taskmill.engine.unclaimed import Unclaimed
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.services.platform import Platform
from taskmill.states import Order
from taskmill.stores.broker.tickets import BROKER_AWAY, Entry, Lane
from taskmill.stores.database import AWAY, Connection, Record
from taskmill.stores.tasks import submit as task_submit
from taskmill.stores.why import why
from taskmill.stores.workers import worker as store
from taskmill.stores.workers.worker import Registration, Renewal

log = get_logger(__name__)


@dataclass(slots=True)
class Process:
    """What of a worker process outlives its incarnations. Times are monotonic.

    `turn_at`: the loop of reading last came round, whether it read or not; `tried_at`: the last try to register.
    """

    platform: Platform
    queues: list[str]
    concurrency: int
    settler: Settler
    slots: Slots
    orders: Orders
    isolation: Isolation
    troubles: Watchful = field(default_factory=Watchful)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)  # 读取开始过
    turn_at: float = field(default_factory=time.monotonic)
    tried_at: float = field(default_factory=time.monotonic)
    claimed: int = 0
    claims: int = 0

    @property
    def served(self) -> list[str]:
        """Return `kind:version` of every kind that runs here."""
        return [f"{kind}:{version}" for kind, version in self.platform.host.registry.tasks]

    def registration(self, worker_id: UUID) -> Registration:
        """Return what this process says of itself under a new id."""
        settings = self.platform.settings
        return Registration(
            worker_id,
            socket.gethostname(),
            os.getpid(),
            taskmill.__version__,
            self.queues,
            self.served,
            self.concurrency,
            settings.pod_name or None,
            settings.pod_uid or None,
            settings.bundle or None,
        )


class Incarnation:
    """`register`, `start`, and at the end `stop`; `lost` is set once a renewal was answered 'dead'."""

    def __init__(self, process: Process) -> None:
        platform, settings = process.platform, process.platform.settings
        self._process = process
        self.id = new_id()
        self.lost = asyncio.Event()
        self.registered = False
        self.cancels: frozenset[UUID] = frozenset()  # 上次续租时，归我而被要求取消的
        self.reader = Reader(platform.tickets, str(self.id), process.queues)
        self.claimer = Claimer(
            platform.database,
            platform.tickets,
            self.id,
            process.served,
            partial(process.isolation.alone, self._impatient),
            process.troubles.declined,
        )
        self.heartbeat = Heartbeat(
            platform.database.url,
            self.id,
            self._on_renewal,
            settling=process.settler.late,
            troubles=process.troubles.told,
            on_away=platform.database.renew,
            blocked=partial(blocked.look, asyncio.get_running_loop(), threading.get_ident(), process.slots, process.settler),
            lease_s=settings.lease_s,
            period_s=settings.heartbeat_s,
        )
        self.reconcile = Reconcile(self.claimer, process.slots, process.settler)
        self._reconciling = Looper(self.reconcile)
        self._tasks: list[asyncio.Task[None]] = []
        self.publish()

    @property
    def ended(self) -> bool:
        """Say whether nothing more is to be read or claimed: the process stops, or the lease is lost."""
        return self._process.stop.is_set() or self.lost.is_set()

    def _impatient(self) -> bool:
        return self.ended or self._process.orders.cordoned

    async def register(self) -> bool:
        """Write the row of this worker and those of its queues; False if PostgreSQL does not answer."""
        process, settings = self._process, self._process.platform.settings
        process.turn_at = process.tried_at = time.monotonic()

        async def write(connection: Connection) -> tuple[Order, int]:
            standing = await store.register(connection, process.registration(self.id), settings.lease_s)
            await task_submit.ensure_queues(connection, process.queues)  # stager 据此建好票据流
            return standing

        try:
            order, number = await process.platform.database.unit(write)
        except AWAY as error:
            log.warning("登记失败，稍后重试", error=why(error))
            return False
        process.orders.take(order, number)
        self.registered = True
        return True

    def start(self) -> None:
        """Begin to renew, read and claim."""
        process = self._process
        self.publish()
        process.slots.entitled = lambda: self.heartbeat.fresh
        self.heartbeat.start()
        fetchers = 2 if process.concurrency >= ec.FETCHERS_FROM else 1
        self._tasks = [asyncio.create_task(self._fetch(fetchers), name="fetcher") for _ in range(fetchers)]
        listening = hints.listen(process.platform.tickets, self.id, self.heartbeat.poke, lambda: self.ended)
        self._tasks.append(asyncio.create_task(listening, name="hints"))
        self._reconciling.start()
        process.began.set()
        log.info("工作进程开始领取任务", worker_id=str(self.id), queues=process.queues, concurrency=process.concurrency)

    async def end(self) -> None:
        """Wait until the process stops or the lease is lost."""
        waiting = [asyncio.create_task(self._process.stop.wait()), asyncio.create_task(self.lost.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def stop_reading(self) -> None:
        """End reading and claiming at once; the lease is renewed as before, for what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reconciling.stop(grace_s=0)

    async def give_up(self) -> None:
        """The lease is lost and all rows belong to others: stop everything that runs, for them."""
        slots = self._process.slots
        self._process.claims += self.claimer.claims
        slots.forget_ready()
        count = slots.halt(Stop.LOST)
        await slots.idle(c.SHUTDOWN_GRACE_S)
        await self.heartbeat.stop()
        log.warning("租约丢失，以新编号重新开始", worker_id=str(self.id), stopped=count)

    async def hand_over(self) -> None:
        """Give back what was read or claimed and is not held: claims without a reply, tickets without a claim."""
        try:
            await self.claimer.stop()
            await self.reconcile.hand_back()
            await self.claimer.give_back(await self.reader.own_pending())
            await self.reader.stop()
        except Exception as error:
            # 救援者与审计者会收拾，停机不能卡在这里
            log.warning("没能交还全部，由审计清理", error=why(error), exc_info=translate(error) is None)

    async def stop(self) -> None:
        """Let go of the lease."""
        await self.heartbeat.stop()
        try:
            await store.leave(self._process.platform.database.pool, self.id, "stopped")
        except AWAY as error:
            log.warning("未能注销，租约到期后自动失效", error=why(error))

    def publish(self) -> None:
        """Prepare what the next renewal says; what others wait for (an order obeyed, readiness) is said at once."""
        process = self._process
        if process.orders.cordoned and process.slots.ready:
            process.slots.hand_back_ready()
        said = self.heartbeat.report
        report = process.orders.report(
            began=process.began.is_set(), stopping=process.stop.is_set(), doubtful=self.claimer.doubtful
        )
        if self._process.platform.host.wanting():
            report = replace(report, ready=False)
        if report == said:
            return
        self.heartbeat.report = report
        if (said.ready, said.draining, said.order_seen) != (report.ready, report.draining, report.order_seen):
            self.heartbeat.poke()

    def _on_renewal(self, renewal: Renewal) -> None:
        slots = self._process.slots
        if self.lost.is_set():
            return
        if not renewal.alive:
            self.lost.set()
            return
        self._process.orders.take(renewal.order, renewal.order_no)
        self.publish()
        if self.reader.paused != renewal.paused:
            self.reader.paused = renewal.paused
            slots.free.set()
        self.cancels = renewal.cancels
        if renewal.cancels:
            slots.hand_back_ready(renewal.cancels)
            slots.halt(Stop.CANCEL, only=lambda attempt: attempt.row["id"] in renewal.cancels)

    async def _fetch(self, fetchers: int) -> None:
        process, slots, backoff, unclaimed = self._process, self._process.slots, Backoff(), Unclaimed()
        while not self.ended:
            process.turn_at = time.monotonic()
            room = slots.room() if self.heartbeat.fresh and not process.orders.cordoned else 0
            if room <= 0 or not self.reader.lanes:
                await slots.wait_for_room()
                continue
            try:
                await self._fetch_once(-(-room // fetchers), unclaimed)
                backoff.reset()
            except Exception as error:
                log.warning("领取出错，稍后再试", error=why(error), exc_info=translate(error) is None)
                unclaimed.keep_if(away=isinstance(error, AWAY))
                await backoff.wait()

    async def _fetch_once(self, room: int, unclaimed: Unclaimed) -> None:
        with self._process.slots.reserve(room):
            found = unclaimed.take() or await self._read(room)
            if found and self._process.orders.cordoned:
                await self.claimer.give_back(found)  # 读的时候来了命令
                unclaimed.clear()
            elif found:
                unclaimed.note(found)
                async with aclosing(self.claimer.claim(found)) as batches:
                    async for rows in batches:
                        self.take(rows)
                unclaimed.clear()

    async def _read(self, room: int) -> dict[Lane, list[Entry]]:
        try:
            found = await self.reader.next(room)
        except BROKER_AWAY as error:
            self._process.troubles.broker(why(error))
            raise
        self._process.troubles.broker(None)
        return found

    def take(self, rows: list[Record]) -> None:
        """Start claimed rows; one whose cancel came before the reply to the claim is given back, and so ends cancelled."""
        process, now = self._process, time.monotonic()
        process.claimed += len(rows)
        # 开始了的不再占着桶，也让出公平键的窗口：马上让它们知道
        begun = ((row["queue"], row["concurrency_key"]) for row in rows if row["rated"] or row["fair"])
        process.platform.promoter.soon(begun)
        for row in rows:
            definition = process.platform.host.registry.tasks[row["kind"], row["kind_version"]]
            attempt = Attempt(row, definition, self.id, now, now)
            if row["id"] in self.cancels:
                process.slots.hand_back(attempt)
            else:
                process.slots.add(attempt)
