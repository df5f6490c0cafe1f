"""The taskiq broker: tasks, middlewares and dependencies are taskiq's, delivery is ours."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
from taskiq import AckableMessage, AsyncResultBackend, BrokerMessage, TaskiqMiddleware, TaskiqResult
from taskiq.abc.broker import AsyncBroker
from taskiq.exceptions import ResultGetError
from taskiq.utils import maybe_awaitable
from taskiq_redis import RedisStreamBroker

from taskmill import keys, reasons
from taskmill.engine import constants as ec
from taskmill.errors import Code, ConflictError, SetupError
from taskmill.ids import new_id
from taskmill.plugin.registry import Registry
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.database import Database
from taskmill.stores.tasks import read as task_read
from taskmill.text.similar import did_you_mean

# kiq 的标签里，哪些是提交选项
_OPTIONS = {
    "queue": ("queue", str),
    "priority": ("priority", int),
    "delay": ("delay_s", float),
    "timeout": ("timeout_s", float),
    "max_attempts": ("max_attempts", int),
}


class TaskmillBroker(RedisStreamBroker):
    """RedisStreamBroker for its connection and configuration only.

    `kick` submits through the service (PostgreSQL first), so `kiq` is durable; reading, acknowledging, reclaiming and
    results are Taskmill's. The worker is `taskmill worker`, not `taskiq worker`.
    """

    def __init__(
        self,
        url: str,
        submit: SubmitService,
        database: Database,
        registry: Registry,
        on_broken: Callable[[TaskiqMiddleware, Exception], None] | None = None,
    ) -> None:
        super().__init__(url, consumer_group_name=keys.GROUP, consumer_id="0")
        self._on_broken = on_broken
        self._submit = submit
        self._registry = registry
        self.id_generator = lambda: str(new_id())
        self.with_result_backend(StoredResults(database))
        for definition in registry.tasks.values():
            if definition.taskiq is None:
                self.register_task(definition.function, task_name=definition.kind)
            else:
                definition.taskiq.broker = self
                self.local_task_registry[definition.kind] = definition.taskiq

    async def startup(self) -> None:
        """Run taskiq's start-up events and middlewares; consumer groups are the stager's duty.

        A middleware that fails, or takes longer than a plugin may, is told to `on_broken` and left out.
        """
        middlewares, self.middlewares = self.middlewares, []
        await AsyncBroker.startup(self)
        for each in middlewares:
            if await self._bounded(each, each.startup):
                self.middlewares.append(each)

    async def shutdown(self) -> None:
        """Run taskiq's events of the end and close; a middleware that fails then holds up nobody."""
        middlewares, self.middlewares = self.middlewares, []
        for each in reversed(middlewares):
            await self._bounded(each, each.shutdown)
        await super().shutdown()

    async def _bounded(self, middleware: TaskiqMiddleware, hook: Callable[[], Any]) -> bool:
        try:
            async with asyncio.timeout(ec.MIDDLEWARE_S):
                await maybe_awaitable(hook())
        except Exception as error:
            if self._on_broken is None:
                raise
            self._on_broken(middleware, error)
            return False
        return True

    async def kick(self, message: BrokerMessage) -> None:
        """Submit what `kiq` built; errors as in SubmitService.submit, and UNIQUE_TAKEN for every duplicate, whatever its kind says."""
        sent = self.formatter.loads(message.message)
        definition = max(
            (d for d in self._registry.tasks.values() if d.kind == sent.task_name), key=lambda d: d.version, default=None
        )
        if definition is None:
            known = did_you_mean(sent.task_name, self._registry.owners)
            raise SetupError(Code.KIND_NOT_FOUND, kind=sent.task_name, known=known)
        names = [name for name in inspect.signature(definition.function).parameters if name != definition.call.context]
        args: Any = dict(zip(names, sent.args, strict=False)) | sent.kwargs
        if definition.call.single is not None:
            args = args[definition.call.single]
        options = {field: kind(sent.labels[label]) for label, (field, kind) in _OPTIONS.items() if label in sent.labels}
        request = msgspec.convert(
            {"kind": sent.task_name, "version": definition.version, "args": msgspec.to_builtins(args), **options},
            SubmitRequest,
        )
        done = await self._submit.submit_as(sent.task_id, request)
        if done.duplicate:  # kiq 已经给了编号，换不成别的：等它的结果会永远等下去
            raise ConflictError(Code.UNIQUE_TAKEN, key=sent.task_name, id=str(done.id))

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Refuse: the stock taskiq worker would run tasks without claim and lease. Use `taskmill worker`."""
        raise SetupError(Code.USAGE, reason=reasons.OWN_WORKER)
        yield  # pragma: no cover - 让它成为异步生成器


class StoredResults(AsyncResultBackend[Any]):
    """Results as PostgreSQL has them; writing is the settler's duty."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        """Do nothing: the settler stores the result with the state, in one transaction."""

    async def is_result_ready(self, task_id: str) -> bool:
        """Say whether the task is final."""
        return await task_read.fetch_stored(self._database.pool, task_id) is not None

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:  # noqa: ARG002, FBT001, FBT002 - taskiq 的签名
        """Return the result of a final task; ResultGetError if it is not final."""
        found = await task_read.fetch_stored(self._database.pool, task_id)
        if found is None:
            raise ResultGetError
        run_s = (found.finished_at - (found.started_at or found.finished_at)).total_seconds()
        error = None if found.state == "completed" else RuntimeError(found.error or found.state)
        return TaskiqResult(
            is_err=error is not None,
            error=error,
            execution_time=run_s,
            log=None,
            return_value=None if found.result is None else msgspec.json.decode(found.result),
            labels={},
        )
