"""Settler: outcomes in batches, one transaction each; waits in memory while PostgreSQL is away."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from uuid import UUID

from taskmill.engine import constants as c
from taskmill.engine.attempts.outcomes import UNSTORABLE, unstorable
from taskmill.engine.backoff import Backoff
from taskmill.engine.tally import Tally
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.states import State
from taskmill.stores.arrays import Fence
from taskmill.stores.database import DATA_ERRORS, LOCKED_OUT, Connection, Database
from taskmill.stores.tasks import settle as store
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.limits import Place
from taskmill.stores.tasks.order.release import LetGo
from taskmill.stores.tasks.settle import Outcome
from taskmill.stores.why import why

log = get_logger(__name__)


class Settler:
    """Two coroutines, so that one's fsync overlaps the other's work. `backlog` counts outcomes not yet committed.
    `freed` hears after the commit whose slots of limits are free, `released` what waited for those that ended, `failed` what
    failed.

    A row that a stranger has locked delays only itself: it is put aside and tried again by a third coroutine. One that is
    held (`hold`) stays running, with its slot, until `let_go`.
    """

    def __init__(
        self,
        database: Database,
        freed: Callable[[Iterable[Place]], None] | None = None,
        released: Callable[[LetGo], None] = lambda _: None,
        failed: Callable[[Iterable[Failed]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._freed, self._released, self._failed = freed, released, failed
        self._waiting: deque[Outcome] = deque()
        self._locked: list[Outcome] = []
        self._wake, self._aside = asyncio.Event(), asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.held: dict[Fence, Outcome] = {}  # 处理函数还没真正结束的
        self.unsettled: dict[Fence, float] = {}  # 何时得出结局（单调时钟）
        self.tally = Tally()
        self.settled = 0
        self.statements = 0

    @property
    def backlog(self) -> int:
        """Return how many outcomes wait for their commit, but for those held."""
        return len(self.unsettled) - len(self.held)

    def late(self) -> list[UUID]:
        """Return the tasks whose outcome has waited for SETTLING_S or longer; safe to call from other threads."""
        before = time.monotonic() - c.SETTLING_S
        return [key[0] for key, since in self.unsettled.copy().items() if since <= before]

    def start(self) -> None:
        """Begin to settle."""
        self._tasks = [asyncio.create_task(self._run(new_id()), name="settler") for _ in range(c.SETTLERS)]
        self._tasks.append(asyncio.create_task(self._run_locked(new_id()), name="settler-locked"))

    def put(self, outcome: Outcome) -> None:
        """Take an outcome; it is written within milliseconds while PostgreSQL answers."""
        self._waiting.append(outcome)
        self.unsettled[outcome.id, outcome.claim_no] = time.monotonic()
        self._wake.set()

    def unwritten(self) -> list[Outcome]:
        """Return the outcomes that no transaction has yet; safe to call from other threads while the loop stands still."""
        return [*self._waiting, *self._locked, *self.held.values()]

    def hold(self, outcome: Outcome) -> None:
        """Keep an outcome until `let_go` or the end of this process: what the handler started still runs."""
        key = outcome.id, outcome.claim_no
        self.held[key] = outcome
        self.unsettled[key] = time.monotonic()

    def let_go(self, key: Fence) -> None:
        """Write the outcome that is held under this fence, if there is one."""
        if (outcome := self.held.pop(key, None)) is not None:
            self.put(outcome)

    async def stop(self, grace_s: float) -> int:
        """Write what waits, for at most `grace_s` seconds; returns how many could not be written."""
        for key in list(self.held):
            self.let_go(key)  # 停不下来的线程与本进程同归于尽
        self._stopping = True
        self._wake.set()
        deadline = time.monotonic() + grace_s
        late: set[asyncio.Task[None]] = set()
        for tasks, wake in ((self._tasks[: c.SETTLERS], self._wake), (self._tasks[c.SETTLERS :], self._aside)):
            wake.set()  # 先等会搁置别人的，再等收拾搁置的
            if tasks:
                late |= (await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic())))[1]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=c.SETTLE_CUT_S)
        return self.backlog

    async def _run(self, writer: UUID) -> None:
        while True:
            await self._wake.wait()
            if not self._stopping:
                await asyncio.sleep(c.SETTLE_DELAY_S)
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), c.SETTLE_MAX))]
            if not self._waiting and not self._stopping:
                self._wake.clear()
            if batch:
                await self._settle(batch, writer)
            elif self._stopping:
                return

    async def _run_locked(self, writer: UUID) -> None:
        """别人锁着的行：过一会儿再试，锁得住哪些就写哪些。"""
        while True:
            await self._aside.wait()
            if not self._locked:
                return  # 停机，而且没有搁置的
            await asyncio.sleep(c.SETTLE_LOCKED_RETRY_S)
            batch, self._locked = self._locked, []
            if not self._stopping:
                self._aside.clear()
            await self._settle(batch, writer, wary=True)

    async def _settle(self, batch: list[Outcome], writer: UUID, *, wary: bool = False) -> None:
        if not wary and store.alone(batch):
            batch, wary = await self._end(batch, writer)
        if batch:
            await self._transact(batch, writer, wary=wary)

    async def _transact(self, batch: list[Outcome], writer: UUID, *, wary: bool) -> None:
        backoff = Backoff()
        while True:
            try:
                held, done, let_go, failed = await self._database.unit(partial(self._write, batch, writer, wary=wary))
            except DATA_ERRORS as error:
                await self._bisect(batch, writer, error)
                return
            except LOCKED_OUT as error:
                if not wary:
                    wary = True  # 陌生人锁着其中的行：改为只写锁得住的
                    continue
                log.warning("结算等不到表锁，稍后重试", count=len(batch), error=str(error))
            except Exception as error:
                # 提交结果未知也照样重来：每次尝试的栅栏只匹配一次
                log.warning("结算未写入，稍后重试", count=len(batch), error=why(error), exc_info=translate(error) is None)
            else:
                self.statements += 1
                self._finish(batch, held, done)
                if let_go.ids:
                    self._released(let_go)
                if failed:
                    self._failed(failed)
                return
            await backoff.wait()

    async def _end(self, batch: list[Outcome], writer: UUID) -> tuple[list[Outcome], bool]:
        """一条语句，不用事务：多数结局没有别的事随之而来。返回剩下的，没写成的也在其中；以及要不要绕开别人锁着的。"""
        try:
            ended = await self._database.unit(lambda connection: store.finish_alone(connection, batch, writer), single=True)
        except LOCKED_OUT:
            return batch, True
        except Exception as error:  # noqa: BLE001 - 事务里再试一次，那里分得清是什么错
            log.debug("一条语句没写成，改用事务", count=len(batch), error=why(error))
            return batch, False
        self.statements += 1
        done = [outcome for outcome in batch if outcome.id in ended]
        self._finish(done, set(), {outcome.id: outcome.state for outcome in done})
        return [outcome for outcome in batch if outcome.id not in ended], False

    async def _write(
        self,
        batch: list[Outcome],
        writer: UUID,
        connection: Connection,
        *,
        wary: bool,
    ) -> tuple[set[UUID], dict[UUID, State], LetGo, list[Failed]]:
        """返回被别人锁着因而没写的，写了而且栅栏相符的，因此放行的，与算作失败的。"""
        await store.hurry(connection)
        held = await store.locked(connection, [outcome.id for outcome in batch]) if wary else set[UUID]()
        free = [outcome for outcome in batch if outcome.id not in held]
        let_go, failed = LetGo(), list[Failed]()
        done = await store.settle(connection, free, writer, let_go, failed, wary=wary) if free else {}
        return held, done, let_go, failed

    def _finish(self, batch: list[Outcome], held: set[UUID], done: Mapping[UUID, State]) -> None:
        if held:
            self._put_aside([outcome for outcome in batch if outcome.id in held])
            log.debug("行被别人锁着，结果搁置", count=len(held))
            batch = [outcome for outcome in batch if outcome.id not in held]
        for outcome in batch:
            self.unsettled.pop((outcome.id, outcome.claim_no), None)
        self.settled += len(done)
        self.tally.note(batch, done)
        if self._freed is not None and (places := {outcome.place for outcome in batch if outcome.place is not None}):
            self._freed(places)
        if len(done) < len(batch):
            log.warning("结果作废：租约已失或任务已改", count=len(batch) - len(done))

    def _put_aside(self, outcomes: list[Outcome]) -> None:
        self._locked += outcomes
        self._aside.set()

    async def _bisect(self, batch: list[Outcome], writer: UUID, error: Exception) -> None:
        """数据错误只可能来自某一行：二分找到它，让它成为失败的尝试，别的照常结算。"""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._settle(batch[:middle], writer)
            await self._settle(batch[middle:], writer)
            return
        bad = batch[0]
        if bad.error_type == UNSTORABLE:
            # 替代的错误也存不进去：不是数据的问题（表上有人加了约束……）。搁置，一再重试，别的照常
            log.error("替代的结果也无法保存，搁置重试", task_id=str(bad.id), error=why(error))
            self._put_aside(batch)
            return
        log.error("结果无法保存，改记为失败", task_id=str(bad.id), error=why(error))
        await self._settle([unstorable(bad, error)], writer)
